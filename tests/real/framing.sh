#!/usr/bin/env bash
# A table of requests that two parsers may read in two ways, sent through the gateway to nginx, Node
# and Python, which tell what they saw: never two requests out of one.
#
#   tests/real/framing.sh
#
# Under a minute. Prints one line for each payload and ends with `N passed, N failed`.

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"
need nginx nginx-light
must_have cargo node python3

python=$(python_packages edge "$here/edge/requirements.txt")
build
echo "$(nginx -v 2>&1 | sed 's/.*: //'), Node $(node --version), $(python3 --version)"
perform edge/framing.py "$folder/portcullis"
