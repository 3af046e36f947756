#!/usr/bin/env bash
# Key stores and trust stores as Java's keytool and OpenSSL write them: each is shown to clients, or
# refused with words that say why.
#
#   tests/real/keystores.sh
#
# A minute. Prints one line for each case and ends with `N passed, N failed`.

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"
need keytool default-jre-headless java default-jre-headless openssl openssl
must_have cargo python3

build
echo "keytool of $(java -version 2>&1 | head -1), $(openssl version)"
perform edge/keystores.py "$folder/portcullis"
