#!/usr/bin/env bash
# The gateway against Ory Hydra, which a small Go module beside this file builds from the module
# proxy. Too heavy for every run of CI: the first build takes some minutes. Everything listens on
# loopback and writes below one temporary folder; what is built stays in cargo's target folder.
#
#   tests/real/hydra.sh
#
# Prints one line for each case and ends with `N passed, N failed`; the exit code says the same.

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"
need nginx nginx-light gcc gcc
must_have cargo gcc go python3

hydra=$target/hydra/hydra
# The tag brings SQLite, which is C.
(cd "$here/hydra" && CGO_ENABLED=1 go build -tags sqlite,sqlite_omit_load_extension -o "$hydra" .)
build
echo "Ory Hydra $(cd "$here/hydra" && go list -m -f '{{.Version}}' github.com/ory/hydra/v2)," \
  "$(nginx -v 2>&1 | sed 's/.*: //'), $("$folder/portcullis" --version)"
perform hydra "$folder/portcullis" "$hydra"
