#!/usr/bin/env bash
# The gateway against servers that others wrote: oidc-provider as key manager, nginx as upstream,
# Prometheus as reader of its metrics. Everything listens on loopback and writes below one temporary
# folder.
#
#   tests/real/run.sh
#
# Prints one line for each case and ends with `N passed, N failed`; the exit code says the same. What
# is missing and cannot be installed is a failure: a suite that did not run has not passed.

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"
need nginx nginx-light prometheus prometheus promtool prometheus
must_have cargo node npm openssl python3

build
npm ci --prefix "$here/oidc-provider" --no-audit --no-fund --loglevel=error
perform suite "$folder/portcullis"
