#!/bin/sh
# Runs each fuzz target (or those that are named) for FUZZ_SECONDS seconds, 10 by default. Ends with
# another code than 0 when one of them crashes; its input is then in fuzz/artifacts/.
set -eu
cd "$(dirname "$0")"

seconds=${FUZZ_SECONDS:-10}
targets=${*:-extract introspection_answer jwt request_path route trace_context response_cache cache_file proxy_protocol keystore microgateway policies openapi clients api_manager_rows events broker_url config}

if ! cargo +nightly --version >/dev/null 2>&1; then
    rustup toolchain install nightly --profile minimal
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
    cargo install cargo-fuzz --locked
fi

failed=
for target in $targets; do
    case $target in
        config) size=4096 ;;
        *) size=16384 ;;
    esac
    mkdir -p "corpus/$target"
    echo "== $target: $seconds s"
    # What is found goes into corpus/, which is not part of the repository; seeds/ is.
    cargo +nightly fuzz run --fuzz-dir . "$target" "corpus/$target" "seeds/$target" -- \
        -dict="dicts/$target.dict" -max_total_time="$seconds" -max_len="$size" \
        -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 || failed="$failed $target"
done
if [ -n "$failed" ]; then
    echo "crashed:$failed" >&2
    exit 1
fi
