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

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"
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
must_have cargo python3

build "$profile"
echo "$("$folder/portcullis" --version), $profile build, $(nproc) cores," \
  "load average $(cut -d' ' -f1 /proc/loadavg)"
RATE=$rate SECONDS_OF_LOAD=$seconds perform soak "$folder/portcullis"
