#!/usr/bin/env bash
# JWTs as PyJWT makes them, with the keys of pyca/cryptography: every algorithm, what is not to be let through, and keys that change.
#
#   tests/real/jwt.sh
#
# Half a minute. Prints one line for each case and ends with `N passed, N failed`.

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"
must_have cargo python3

python=$(python_packages jwt "$here/edge/jwt-requirements.txt")
build
perform edge/jwt_suite.py "$folder/portcullis"
