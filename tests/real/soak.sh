#!/usr/bin/env bash
# Load with all-new tokens on a gateway whose own token lives two seconds: does any client, or any
# percentile, notice the renewals? Everything listens on loopback; the load is bounded in count and
# time.
#
#   tests/real/soak.sh [--quick] [--rate N] [--debug]
#
# 60 s of 1,000 requests/s; `--quick`: 15 s. `--debug` takes the debug build instead of the release
# build. Prints figures and one line for each check, and ends with `N passed, N failed`; the exit
# code says the same.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
seconds=60
rate=1000
profile=release
while (($#)); do
  case $1 in
    --quick) seconds=15 ;;
    --rate) rate=${2:?a number}; shift ;;
    --debug) profile=debug ;;
    *) echo "usage: tests/real/soak.sh [--quick] [--rate N] [--debug]" >&2; exit 2 ;;
  esac
  shift
done
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

for command in cargo python3; do
  command -v "$command" >/dev/null || { echo "$command is missing" >&2; exit 1; }
done
if [[ $profile == release ]]; then cargo build --release --bin portcullis; else cargo build; fi
target=$(cargo metadata --format-version 1 --no-deps |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
cp "$target/$profile/portcullis" "$folder/portcullis"

echo "$("$folder/portcullis" --version), $profile build, $(nproc) cores," \
  "load average $(cut -d' ' -f1 /proc/loadavg)"
mkdir "$folder/run"
# In the background and waited for, so that a signal is not left waiting for its end.
python3 -B "$here/soak" "$folder/portcullis" "$folder/run" "$rate" "$seconds" &
suite=$!
wait "$suite"
