#!/usr/bin/env bash
# What is watched of the gateway, by those who watch: Prometheus with the rules that are shipped and every
# expression of the dashboard, the protobuf classes of OpenTelemetry, goaccess, and Chromium on the status page.
#
#   tests/real/watching.sh
#
# Under a minute. Prints one line for each case and ends with `N passed, N failed`.

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"
need nginx nginx-light prometheus prometheus promtool prometheus goaccess goaccess chromium chromium
must_have cargo python3

python=$(python_packages watching "$here/watching/requirements.txt")
build
echo "$(prometheus --version 2>&1 | head -1), $(goaccess --version | head -1), $(chromium --version)"
perform watching "$folder/portcullis" "$PWD/deploy"
