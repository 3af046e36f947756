//! How often somebody may ask.
//!
//! Limits are exact and of this process: no sketch, which would let one caller pay for another, and
//! no shared counter, which would put another server on the request path. Written here and not taken
//! from a library because the ones that are kept well are unbounded in the number of their keys, and
//! must be swept by a task; this one is bounded and needs none.

mod bucket;
mod store;
mod tiers;
mod window;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

pub use bucket::{Bucket, Standing};
pub use store::{Key, Store};
pub use tiers::{At, Claim, TierCounts};

use crate::{
    domain::{By, RateLimit},
    metrics::{Metrics, RateLimitMetrics},
};

/// Keys that one limit remembers, a few MiB of them.
const MAX_KEYS: usize = 65_536;

/// One limit with all who have met it.
pub struct Limiter {
    pub limit: RateLimit,
    /// `RateLimit-Policy`, which never changes.
    pub policy: String,
    bucket: Bucket,
    store: Store,
    epoch: Instant,
    metrics: Arc<RateLimitMetrics>,
}

impl Limiter {
    pub fn new(limit: RateLimit, metrics: &Metrics) -> Self {
        let per = limit.rate.per.as_secs().max(1);
        Self {
            policy: format!("\"{}\";q={};w={per}", limit.name, limit.rate.requests.get()),
            bucket: Bucket::new(&limit.rate),
            store: Store::new(MAX_KEYS),
            epoch: Instant::now(),
            metrics: metrics.rate_limit(&limit.name),
            limit,
        }
    }

    /// A request of `key` at `now`.
    pub fn take(&self, key: Key<'_>, now: Instant) -> Standing {
        // Past the epoch by a century at the most.
        let since = now.saturating_duration_since(self.epoch) + Duration::from_nanos(1);
        let now = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let standing = self
            .store
            .change(key, |arrival| self.bucket.take(arrival, now));
        match standing.allowed {
            true => self.metrics.allowed.inc(),
            false => self.metrics.limited.inc(),
        }
        standing
    }

    /// A request of `key` that was allowed shall not have been one.
    pub fn give_back(&self, key: Key<'_>) {
        self.store
            .change(key, |arrival| self.bucket.give_back(arrival));
    }

    pub fn by(&self) -> By {
        self.limit.by
    }
}

/// The limiters of a configuration. Those that the one before had with the same words stay, with all
/// that they remember.
#[derive(Clone, Default)]
pub struct Limiters(Vec<Arc<Limiter>>);

impl Limiters {
    pub fn new(limits: &[RateLimit], before: Option<&Self>, metrics: &Metrics) -> Self {
        let known: HashMap<&str, &Arc<Limiter>> = before
            .iter()
            .flat_map(|limiters| &limiters.0)
            .map(|limiter| (&*limiter.limit.name, limiter))
            .collect();
        let limiter = |limit: &RateLimit| match known.get(&*limit.name) {
            Some(known) if known.limit == *limit => Arc::clone(known),
            _ => Arc::new(Limiter::new(limit.clone(), metrics)),
        };
        Self(limits.iter().map(limiter).collect())
    }

    /// By the position in the settings.
    pub fn get(&self, position: usize) -> &Limiter {
        &self.0[position]
    }
}

/// An address as a key: an IPv6 host may have a whole /64 to itself.
pub fn address_key(address: IpAddr) -> Key<'static> {
    const NETWORK: u32 = 64;
    Key::Number(match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        // No network is that of an IPv4 address, whose numbers have 32 bits.
        IpAddr::V6(address) => (u128::from(address) >> NETWORK << NETWORK) | 1 << 63,
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::domain::Rate;

    fn limit(requests: u32) -> RateLimit {
        RateLimit {
            name: "test".into(),
            rate: Rate {
                requests: NonZeroU32::new(requests).unwrap(),
                per: Duration::from_secs(60),
                burst: NonZeroU32::new(requests).unwrap(),
            },
            by: By::Address,
        }
    }

    #[test]
    fn many_threads_get_no_more_than_one() {
        let metrics = Metrics::new().unwrap();
        let limiter = Limiter::new(limit(1_000), &metrics);
        let now = Instant::now();
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        (0..1_000)
                            .filter(|_| limiter.take(Key::Text("a"), now).allowed)
                            .count()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(taken, 1_000);
    }

    #[test]
    fn what_stays_the_same_remembers() {
        let metrics = Metrics::new().unwrap();
        let before = Limiters::new(&[limit(1)], None, &metrics);
        let now = Instant::now();
        assert!(before.get(0).take(Key::Text("a"), now).allowed);
        let same = Limiters::new(&[limit(1)], Some(&before), &metrics);
        assert!(!same.get(0).take(Key::Text("a"), now).allowed);
        let other = Limiters::new(&[limit(2)], Some(&before), &metrics);
        assert!(other.get(0).take(Key::Text("a"), now).allowed);
    }

    #[test]
    fn hosts_of_one_network_are_one() {
        let key = |text: &str| address_key(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_ne!(key("0.0.0.1"), key("::1"));
    }
}
