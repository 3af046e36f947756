#!/usr/bin/env bash
# The gateway against servers that others wrote: oidc-provider as key manager, nginx as upstream,
# Prometheus as reader of its metrics. Everything listens on loopback and writes below one temporary
# folder.
#
#   tests/real/run.sh
#
# Prints one line for each case and ends with `N passed, N failed`; the exit code says the same. What
# is missing and cannot be installed is a failure: a suite that did not run has not passed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
target=${CARGO_TARGET_DIR:-target}
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
need nginx nginx-light prometheus prometheus promtool prometheus
for command in cargo node npm openssl python3; do
  command -v "$command" >/dev/null || { echo "$command is missing" >&2; exit 1; }
done

cargo build
# A copy of its own: the suite tests one program, even when somebody builds meanwhile.
cp "$target/debug/portcullis" "$folder/portcullis"
npm ci --prefix "$here/oidc-provider" --no-audit --no-fund --loglevel=error

mkdir "$folder/run"
# In the background and waited for, so that a signal is not left waiting for its end.
python3 -B "$here/suite" "$folder/portcullis" "$folder/run" &
suite=$!
wait "$suite"
