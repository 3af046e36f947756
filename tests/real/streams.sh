#!/usr/bin/env bash
# What streams is never gathered: 1 GiB up and down, an upload that nobody reads, 1,000 streams of
# events, 10,000 idle TLS connections, with the gateway's memory.
#
#   tests/real/streams.sh [--release]
#
# The release build is what the figures are of. Needs 11,000 open files (ulimit -n). Some minutes.
# Prints figures and one line for each case, and ends with `N passed, N failed`.

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"
profile "$@"
need curl curl openssl openssl
must_have cargo python3

build "$profile"
echo "$(curl --version | cut -d' ' -f1,2 | head -1), $profile build, $(nproc) cores"
perform edge/streams.py "$folder/portcullis"
