#!/usr/bin/env bash
# Subscriptions from an API Manager: all its answers at the front door, an API Manager that is away, slow,
# or talks nonsense; with --large a million subscriptions.
#
#   tests/real/subscriptions.sh [--release] [--large]
#
# The API Manager is tests/real/api_manager. Prints one line for each case and ends with
# `N passed, N failed`.

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"
suite_file=edge/subscriptions.py
profile=debug
for option in "$@"; do
  case $option in
    --release) profile=release ;;
    --large) suite_file=edge/subscriptions_large.py ;;
    *) echo "usage: $0 [--release] [--large]" >&2; exit 2 ;;
  esac
done
need nginx nginx-light openssl openssl
must_have cargo python3

build "$profile"
perform "$suite_file" "$folder/portcullis"
