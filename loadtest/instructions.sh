#!/usr/bin/env bash
# Counts the instructions of one whole request under callgrind: bare proxy, gateway on a hit. The
# build has debug information, so that costs are told by source file; it lives in a folder of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v valgrind >/dev/null; then
  echo "valgrind is missing: installing it" >&2
  apt-get update -qq && apt-get install -y -qq valgrind >/dev/null
fi
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target/instructions}" CARGO_PROFILE_RELEASE_DEBUG=1
cargo build --release --bin portcullis --example bare_proxy --example peers
exec python3 -B loadtest/instructions.py
