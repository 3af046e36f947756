#!/usr/bin/env bash
# Nobody notices what an operator does: 100 reloads, an upstream that is killed, five ends with another
# gateway beside, five upgrades of the running process, under load of HTTP/1.1 and HTTP/2.
#
#   tests/real/life.sh [--release] [--rate N]
#
# 2,000 requests/s and the release build are what the figures are of; the debug build gets 300. Some
# minutes. Prints figures and one line for each case, and ends with `N passed, N failed`.

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"
profile "$@"
need openssl openssl
must_have cargo node python3

build "$profile"
echo "Node $(node --version), $profile build, $(nproc) cores, load average $(cut -d' ' -f1 /proc/loadavg)"
export RATE=${rate:-$([[ $profile == release ]] && echo 2000 || echo 300)}
perform edge/life.py "$folder/portcullis"
