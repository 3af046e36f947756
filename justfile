# Short names for what people do here. `just` alone lists them. Nothing needs just: each line can be
# typed by hand.

default:
    @just --list

# Format the code
fmt:
    cargo fmt

# What review would only repeat: format, clippy, documentation
lint:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# Unit and integration tests
test:
    cargo test

# The gateway against oidc-provider, nginx and Prometheus
real:
    tests/real/run.sh

# Everything that must be green before a change goes in
ci:
    .ci/run

# Micro benches of the hot path and the token cache
bench:
    cargo bench

# Load tests: the gateway beside a bare Pingora proxy
load *arguments:
    loadtest/run.sh {{ arguments }}

# Licences, sources, duplicates and known vulnerabilities of what we depend on (needs cargo-deny)
deny:
    cargo deny check
