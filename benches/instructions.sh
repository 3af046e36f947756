#!/usr/bin/env bash
# Instructions of the hit path alone (token, digest, look-up, policy), and of finding a route among 10 and
# 10,000, by callgrind: a run with few rounds is subtracted from one with many, so that start and end fall out.
set -euo pipefail
cd "$(dirname "$0")/.."

few=10000 many=60000
bench=$(cargo bench --bench hot_path --no-run --message-format=json |
  sed -n 's/.*"executable":"\([^"]*hot_path[^"]*\)".*/\1/p')
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Instructions of a run with $1 rounds, and those of SHA-256 in it: callgrind does not know the
# processor's own instructions for that, so it counts the slow way, which no recent machine takes.
count() {
  valgrind --tool=callgrind --callgrind-out-file="$folder/$1" "$bench" --count "$1" 2>/dev/null
  callgrind_annotate --threshold=100 "$folder/$1" | tr -d ',' |
    awk '/PROGRAM TOTALS/ {all = $1} /sha256_block_data_order_/ {sha += $1} END {print all, sha + 0}'
}
read -r few_all few_sha <<<"$(count "$few")"
read -r many_all many_sha <<<"$(count "$many")"
awk -v n=$((many - few)) -v all=$((many_all - few_all)) -v sha=$((many_sha - few_sha)) 'BEGIN {
  printf "hit path: %.0f instructions, of which SHA-256 without instructions of its own: %.0f\n",
    all / n, sha / n
}'

# Instructions of a run with $2 look-ups among $1 routes.
look_ups() {
  valgrind --tool=callgrind --callgrind-out-file="$folder/routes" "$bench" --look-up "$1" "$2" 2>/dev/null
  callgrind_annotate --threshold=1 "$folder/routes" | tr -d ',' | awk '/PROGRAM TOTALS/ {print $1}'
}
for routes in 10 10000; do
  awk -v n=$((many - few)) -v routes="$routes" -v few="$(look_ups "$routes" "$few")" \
    -v many="$(look_ups "$routes" "$many")" \
    'BEGIN { printf "a route among %d: %.0f instructions\n", routes, (many - few) / n }'
done
