#!/usr/bin/env bash
# HTTP/2, with TLS and without: h2spec (all sections), nghttp, h2load.
#
#   tests/real/h2.sh [--release]
#
# Two minutes. Prints scores and one line for each
# part, and ends with `N passed, N failed`. h2spec comes from the Go module proxy.

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"
profile "$@"
need nginx nginx-light h2load nghttp2-client openssl openssl
must_have cargo go python3

h2spec_version=v2.2.1+incompatible
GOBIN=$target/h2spec go install "github.com/summerwind/h2spec/cmd/h2spec@$h2spec_version"
build "$profile"
echo "h2spec $h2spec_version, $(h2load --version), $profile build"
perform edge/h2.py "$folder/portcullis" "$target/h2spec/h2spec"
