//! What one decision of a rate limit costs, beside the library that others would take.
//!
//! `cargo bench --bench limits`

use std::{
    hint::black_box,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use divan::{AllocProfiler, Bencher};
use portcullis::{
    domain::{By, Rate, RateLimit},
    limits::{Key, Limiter},
    metrics::Metrics,
};

#[global_allocator]
static ALLOCATOR: AllocProfiler<mimalloc::MiMalloc> = AllocProfiler::new(mimalloc::MiMalloc);

const KEYS: u128 = 10_000;

fn main() {
    divan::main();
}

fn limiter() -> Limiter {
    let metrics = Metrics::new().expect("metrics");
    let limiter = Limiter::new(
        RateLimit {
            name: "bench".into(),
            rate: Rate {
                requests: NonZeroU32::new(1_000).expect("not zero"),
                per: Duration::from_secs(1),
                burst: NonZeroU32::new(1_000).expect("not zero"),
            },
            by: By::Address,
        },
        &metrics,
    );
    let now = Instant::now();
    for key in 0..KEYS {
        limiter.take(Key::Number(key), now);
    }
    limiter
}

/// One of many addresses that are known already.
#[divan::bench]
fn ours_by_address(bencher: Bencher<'_, '_>) {
    let (limiter, now, mut key) = (limiter(), Instant::now(), 0);
    bencher.bench_local(move || {
        key = (key + 7_919) % KEYS;
        limiter.take(black_box(Key::Number(key)), now)
    });
}

/// A client's name.
#[divan::bench]
fn ours_by_client(bencher: Bencher<'_, '_>) {
    let (limiter, now) = (limiter(), Instant::now());
    bencher.bench_local(move || limiter.take(black_box(Key::Text("web-shop")), now));
}

/// An address that nobody has seen, in a map that is full.
#[divan::bench]
fn ours_by_new_address(bencher: Bencher<'_, '_>) {
    let (limiter, now, mut key) = (limiter(), Instant::now(), KEYS);
    for key in 0..200_000 {
        limiter.take(Key::Number(key), now);
    }
    bencher.bench_local(move || {
        key += 1_000_003;
        limiter.take(black_box(Key::Number(key)), now)
    });
}

/// The same as `ours_by_address`.
#[divan::bench]
fn governor_by_address(bencher: Bencher<'_, '_>) {
    let quota = governor::Quota::per_second(NonZeroU32::new(1_000).expect("not zero"));
    let limiter = governor::RateLimiter::keyed(quota);
    for key in 0..KEYS {
        let _ = limiter.check_key(&key);
    }
    let mut key = 0;
    bencher.bench_local(move || {
        key = (key + 7_919) % KEYS;
        limiter.check_key(black_box(&key)).is_ok()
    });
}
