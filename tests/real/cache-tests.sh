#!/usr/bin/env bash
# The response cache against the tests of https://cache-tests.fyi: their client asks their server
# through the gateway. Everything listens on loopback and writes below one temporary folder; the
# suite stays in cargo's target folder.
#
#   tests/real/cache-tests.sh [TEST]
#
# Prints the score by group and what did not pass; fails below the score in
# `cache-tests/floor.json`. With the id of a test: runs that one and prints what was said.

# shellcheck source=tests/real/head.sh
source "$(dirname "${BASH_SOURCE[0]}")/head.sh"
must_have cargo curl git node npm python3

commit=b55b8bda3dbb8c927c04e85bd8d496a8caa3e4ba
repository=${CACHE_TESTS_REPOSITORY:-https://github.com/http-tests/cache-tests}
suite_folder=$target/cache-tests/suite
parts=$here/cache-tests

fetch() {
  [[ -d $suite_folder ]] || git clone --quiet "$repository" "$suite_folder"
  git -C "$suite_folder" checkout --quiet "$commit"
  npm install --prefix "$target/cache-tests" --no-audit --no-fund --loglevel=error undici@7.4.0
}

# Three ports that are free right now.
free_ports() {
  python3 -c '
import socket
sockets = [socket.socket() for _ in range(3)]
for one in sockets: one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))'
}

# wait_for URL: until somebody answers there.
wait_for() {
  for _ in $(seq 200); do
    curl --silent --output /dev/null "$1" && return
    sleep 0.05
  done
  echo "nobody answers at $1" >&2
  exit 1
}

children=()
stop() {
  kill -TERM "${children[@]}" 2>/dev/null || true
  wait "${children[@]}" 2>/dev/null || true
  finish
}
trap stop EXIT

fetch
build
read -r gateway admin origin < <(free_ports)
sed "s/{gateway}/$gateway/; s/{admin}/$admin/; s/{origin}/$origin/" \
  "$parts/gateway.toml" > "$folder/gateway.toml"
(
  cd "$suite_folder"
  export npm_config_protocol=http npm_config_port=$origin npm_config_pidfile=$folder/origin.pid
  exec node --no-warnings --import "$parts/loopback.mjs" test-engine/server/server.mjs
) > "$folder/origin.log" 2>&1 &
children+=($!)
"$folder/portcullis" run "$folder/gateway.toml" 2> "$folder/gateway.log" &
children+=($!)
wait_for "http://127.0.0.1:$origin/"
wait_for "http://127.0.0.1:$admin/readyz"

cd "$suite_folder"
export npm_config_base=http://127.0.0.1:$gateway npm_config_id=${1:-} npm_package_config_id=
node --no-warnings test-engine/cli.mjs > "$folder/results.json"
if [[ -n ${1:-} ]]; then
  cat "$folder/results.json"
  exit
fi
"$folder/portcullis" --version
node --no-warnings "$parts/score.mjs" "$suite_folder" "$folder/results.json" "$parts/floor.json"
