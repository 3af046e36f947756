#!/usr/bin/env bash
# The gateway against a real Keycloak: introspection with each way to prove a client, and the grants
# for a token of the gateway's own, with rotated refresh tokens. Everything listens on loopback.
#
#   tests/real/keycloak.sh
#
# Takes some minutes and half a gigabyte, so .ci/run leaves it out. Keycloak comes from Maven Central
# and stays in the target folder. Prints one line for each case and ends with `N passed, N failed`;
# the exit code says the same. What is missing and cannot be installed is a failure.

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"

# Since 26.6.2 Keycloak tells a client only of tokens whose audience it is in (CVE-2026-37979).
version=26.7.3
sha256=77657f30b7e90d70f727712ce1c967f430fd6a5e9f458d32d8c6df0635345f47
getter=org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy
cache=$target/keycloak

need nginx nginx-light java openjdk-17-jre-headless mvn maven openssl openssl python3 python3
must_have cargo

mkdir -p "$cache"
# Beside the cache, so that the server's files can be linked rather than copied.
rmdir "$folder"
folder=$(mktemp -d "$cache/run.XXXXXX")
build

archive=$cache/keycloak-quarkus-dist-$version.tar.gz
if [[ ! -e $archive ]]; then
  mvn -q -B --strict-checksums "$getter" -DoutputDirectory="$folder" \
    -Dartifact="org.keycloak:keycloak-quarkus-dist:$version:tar.gz"
  mv "$folder/${archive##*/}" "$archive"
fi
echo "$sha256  $archive" | sha256sum --check --quiet

# Built once: otherwise every start would take half a minute more.
built=$cache/keycloak-$version
if [[ ! -e $built ]]; then
  mkdir "$folder/new"
  tar --extract --file "$archive" --directory "$folder/new" --strip-components 1 --no-same-owner
  "$folder/new/bin/kc.sh" build --db=dev-file >"$folder/build.log" ||
    { cat "$folder/build.log" >&2; exit 1; }
  mv "$folder/new" "$built"
fi
cp --archive --link "$built" "$folder/keycloak"

perform keycloak "$folder/portcullis" "$folder/keycloak"
