#!/usr/bin/env bash
# The gateway against django-oauth-toolkit, whose introspection takes a bearer token with the scope
# `introspection`, or Basic. Everything listens on loopback and writes below one temporary folder;
# its packages stay in cargo's target folder.
#
#   tests/real/dot.sh
#
# Prints one line for each case and ends with `N passed, N failed`; the exit code says the same.

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"
need nginx nginx-light
must_have cargo python3

packages=$(python_packages dot "$here/dot/requirements.txt")
build
echo "$(grep -iE '^django' "$here/dot/requirements.txt" | tr '\n' ' ')" \
  "$("$folder/portcullis" --version)"
perform dot "$folder/portcullis" "$packages"
