#!/usr/bin/env bash
# Slow headers, slow bodies, slow readers, by slowhttptest: they are ended, and others are served
# meanwhile.
#
#   tests/real/slow.sh [--release]
#
# Three minutes. Prints one line for each attack and ends with `N passed, N failed`.

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"
profile "$@"
need nginx nginx-light slowhttptest slowhttptest
must_have cargo python3

build "$profile"
echo "$(slowhttptest -h 2>&1 | head -1), $profile build"
perform edge/slow.py "$folder/portcullis"
