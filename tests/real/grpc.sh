#!/usr/bin/env bash
# gRPC through the gateway with client and server of grpcio: unary, streams, trailers, deadlines,
# refusals as gRPC status.
#
#   tests/real/grpc.sh
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
echo "$(grep grpcio "$here/edge/requirements.txt"), $profile build"
perform edge/grpc_suite.py "$folder/portcullis"
