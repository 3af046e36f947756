#!/usr/bin/env bash
# Builds everything, runs every case on loopback, prints a table and writes loadtest/report/.
#
#   loadtest/run.sh            about seven minutes
#   loadtest/run.sh --quick    about ninety seconds
#
# Exit code 0: every case ended with the answers it should. Budgets that are missed are shown, and
# fail the run only with --strict, since CPU time on a shared machine is no proof.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v wrk >/dev/null; then
  echo "wrk is missing: installing it" >&2
  apt-get update -qq && apt-get install -y -qq wrk >/dev/null
fi
cargo build --release --bin portcullis --example bare_proxy --example peers
exec python3 -B loadtest/run.py "$@"
