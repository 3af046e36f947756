#!/usr/bin/env bash
# WebSockets through the gateway with client and server of Python's websockets: messages, ends, and
# handshakes that are refused.
#
#   tests/real/websocket.sh
#
# Under a minute. Prints one line for each case and ends with `N passed, N failed`. Its packages stay
# in cargo's target folder.

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"
profile "$@"
need openssl openssl
must_have cargo python3

python=$(python_packages edge "$here/edge/requirements.txt")
build "$profile"
echo "$(grep websockets "$here/edge/requirements.txt"), $profile build"
perform edge/websocket.py "$folder/portcullis"
