#!/usr/bin/env bash
# The gateway against Ory Hydra, which a small Go module beside this file builds from the module
# proxy. Too heavy for every run of CI: the first build takes some minutes. Everything listens on
# loopback and writes below one temporary folder; what is built stays in cargo's target folder.
#
#   tests/real/hydra.sh
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
need nginx nginx-light gcc gcc
for command in cargo gcc go python3; do
  command -v "$command" >/dev/null || { echo "$command is missing" >&2; exit 1; }
done

target=$(cargo metadata --format-version 1 --no-deps |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
hydra=$target/hydra/hydra
# The tag brings SQLite, which is C.
(cd "$here/hydra" && CGO_ENABLED=1 go build -tags sqlite,sqlite_omit_load_extension -o "$hydra" .)
cargo build
# A copy of its own: the suite tests one program, even when somebody builds meanwhile.
cp "$target/debug/portcullis" "$folder/portcullis"

echo "Ory Hydra $(cd "$here/hydra" && go list -m -f '{{.Version}}' github.com/ory/hydra/v2)," \
  "$(nginx -v 2>&1 | sed 's/.*: //'), $("$folder/portcullis" --version)"
mkdir "$folder/run"
# In the background and waited for, so that a signal is not left waiting for its end.
python3 -B "$here/hydra" "$folder/portcullis" "$hydra" "$folder/run" &
suite=$!
wait "$suite"
