#!/usr/bin/env bash
# Pages in a real browser that call the gateway from other origins: which calls Chromium lets them
# make, and what it lets them read.
#
#   tests/real/browser.sh
#
# Under a minute. Prints one line for each case and ends with `N passed, N failed`.

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"
profile "$@"
need chromium chromium
must_have cargo python3

build "$profile"
echo "$(chromium --version 2>/dev/null), $profile build"
perform edge/browser.py "$folder/portcullis"
