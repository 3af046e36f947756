#!/usr/bin/env bash
# Counts the instructions of one whole request under callgrind, of the bare proxy and the gateway: on a
# hit, and on a route without a token. The build has debug information, so that costs are told by source
# file; it lives in a folder of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=.ci/need.sh
source .ci/need.sh
need valgrind valgrind h2load nghttp2-client openssl openssl python3 python3
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target/instructions}" CARGO_PROFILE_RELEASE_DEBUG=1
cargo build --release --bin portcullis --example bare_proxy --example peers
exec python3 -B loadtest/instructions.py
