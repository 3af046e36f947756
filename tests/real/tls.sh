#!/usr/bin/env bash
# TLS towards clients: testssl.sh (protocols, suites, known holes), openssl for names, ALPN, client
# certificates, renegotiation, and a certificate that is replaced.
#
#   tests/real/tls.sh [--release]
#
# Some minutes, most of them testssl.sh's. Prints one line for each case and ends with
# `N passed, N failed`.

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"
profile "$@"
need nginx nginx-light testssl testssl.sh openssl openssl
must_have cargo python3

build "$profile"
echo "$(testssl --version 2>/dev/null | grep -o 'testssl.sh *[0-9.]*' | head -1), $(openssl version), $profile build"
perform edge/tls.py "$folder/portcullis"
