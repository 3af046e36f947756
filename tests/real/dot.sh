#!/usr/bin/env bash
# The gateway against django-oauth-toolkit, whose introspection takes a bearer token with the scope
# `introspection`, or Basic. Everything listens on loopback and writes below one temporary folder;
# its packages stay in cargo's target folder.
#
#   tests/real/dot.sh
#
# Prints one line for each case and ends with `N passed, N failed`; the exit code says the same.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
folder=$(mktemp -d)
suite=

finish() {
  trap - EXIT
  if [[ -n $suite ]] && kill -TERM "$suite" 2>/dev/null; then
    wait "$suite" || true
  fi
  rm -rf "$folder"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck source=.ci/need.sh
source .ci/need.sh
need nginx nginx-light
for command in cargo python3; do
  command -v "$command" >/dev/null || { echo "$command is missing" >&2; exit 1; }
done

target=$(cargo metadata --format-version 1 --no-deps |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
python3 -m venv "$target/dot"
"$target/dot/bin/pip" install --quiet --disable-pip-version-check -r "$here/dot/requirements.txt"
cargo build
# A copy of its own: the suite tests one program, even when somebody builds meanwhile.
cp "$target/debug/portcullis" "$folder/portcullis"

echo "$(grep -iE '^django' "$here/dot/requirements.txt" | tr '\n' ' ')" \
  "$("$folder/portcullis" --version)"
mkdir "$folder/run"
# In the background and waited for, so that a signal is not left waiting for its end.
python3 -B "$here/dot" "$folder/portcullis" "$target/dot/bin/python" "$folder/run" &
suite=$!
wait "$suite"
