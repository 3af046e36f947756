//! What is counted for tiers. A request counts for several of them, or, if one refuses it, for none.

use std::{
    hash::{BuildHasher, RandomState},
    time::Instant,
};

use super::{Bucket, Key, Standing, Store, window::Window};
use crate::domain::{Tier, TierKind, UnixSeconds};

/// Subscriptions, or users of applications, that are remembered: of each some sixty bytes.
const MAX_KEYS: usize = 1 << 20;

/// The counts of all tiers; they live through reloads and changes of policies.
pub struct TierCounts {
    /// By [`TierKind::index`].
    kinds: [Counts; 4],
    epoch: Instant,
    hashers: [RandomState; 2],
}

struct Counts {
    windows: Store,
    buckets: Store,
}

/// Something that a request counts for.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub kind: TierKind,
    /// Whose count it is: see [`TierCounts::key`].
    pub key: u128,
    pub tier: Tier,
}

/// When a request came, on both clocks.
#[derive(Clone, Copy)]
pub struct At {
    pub instant: Instant,
    pub unix: UnixSeconds,
}

impl Default for TierCounts {
    fn default() -> Self {
        let counts = |_| Counts {
            windows: Store::new(MAX_KEYS),
            buckets: Store::new(MAX_KEYS),
        };
        Self {
            kinds: TierKind::ALL.map(counts),
            epoch: Instant::now(),
            hashers: [RandomState::new(), RandomState::new()],
        }
    }
}

impl TierCounts {
    /// A digest under a key of this process, so that nobody can have two things counted as one.
    pub fn key(&self, of: impl std::hash::Hash) -> u128 {
        let [high, low] = [0, 1].map(|half: usize| self.hashers[half].hash_one(&of));
        u128::from(high) << 64 | u128::from(low)
    }

    /// Counts a request for all of these.
    ///
    /// # Errors
    /// The first that has none left, and how it stands; then it counts for none of them.
    pub fn take(&self, claims: &[Option<Claim>], at: At) -> Result<(), (TierKind, Standing)> {
        for (position, claim) in claims.iter().enumerate() {
            let Some(claim) = claim else { continue };
            if let Err(standing) = self.take_one(claim, at) {
                self.give_back(&claims[..position], at);
                return Err((claim.kind, standing));
            }
        }
        Ok(())
    }

    /// A request that was taken at this time shall not have counted.
    pub fn give_back(&self, claims: &[Option<Claim>], at: At) {
        for claim in claims.iter().flatten() {
            if let Some(window) = window(claim) {
                self.give_back_window(claim, window, at);
            }
            if let Some(rate) = &claim.tier.rate {
                let buckets = &self.kinds[claim.kind.index()].buckets;
                let bucket = Bucket::new(rate);
                buckets.change(Key::Number(claim.key), |state| bucket.give_back(state));
            }
        }
    }

    fn take_one(&self, claim: &Claim, at: At) -> Result<(), Standing> {
        let counts = &self.kinds[claim.kind.index()];
        let key = Key::Number(claim.key);
        let window = window(claim);
        if let Some(window) = window {
            let take = |state: &mut u64| window.take(state, at.unix);
            refused(counts.windows.change(key, take))?;
        }
        let Some(rate) = &claim.tier.rate else {
            return Ok(());
        };
        let bucket = Bucket::new(rate);
        let take = |state: &mut u64| bucket.take(state, self.nanos(at.instant));
        refused(counts.buckets.change(key, take)).inspect_err(|_| {
            if let Some(window) = window {
                self.give_back_window(claim, window, at);
            }
        })
    }

    fn give_back_window(&self, claim: &Claim, window: Window, at: At) {
        let windows = &self.kinds[claim.kind.index()].windows;
        windows.change(Key::Number(claim.key), |state| {
            window.give_back(state, at.unix);
        });
    }

    /// Since a moment before all requests.
    fn nanos(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch).as_nanos() + 1;
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

fn window(claim: &Claim) -> Option<Window> {
    claim.tier.quota.as_ref().and_then(Window::new)
}

fn refused(standing: Standing) -> Result<(), Standing> {
    match standing.allowed {
        true => Ok(()),
        false => Err(standing),
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use super::*;
    use crate::domain::{Quota, Rate};

    fn quota(requests: u64) -> Tier {
        Tier {
            quota: Some(Quota {
                requests,
                per: Duration::from_secs(3600),
            }),
            rate: None,
        }
    }

    fn rate(requests: u32) -> Tier {
        let requests = NonZeroU32::new(requests).unwrap();
        Tier {
            quota: None,
            rate: Some(Rate {
                requests,
                per: Duration::from_secs(3600),
                burst: requests,
            }),
        }
    }

    fn claim(kind: TierKind, key: u128, tier: Tier) -> Option<Claim> {
        Some(Claim { kind, key, tier })
    }

    fn at() -> At {
        At {
            instant: Instant::now(),
            unix: 1_800_000_000,
        }
    }

    /// How many of ten requests pass.
    fn passed(counts: &TierCounts, claims: &[Option<Claim>]) -> usize {
        let at = at();
        (0..10).filter(|_| counts.take(claims, at).is_ok()).count()
    }

    #[test]
    fn what_one_refuses_counts_for_none() {
        let counts = TierCounts::default();
        for plenty in [quota(7), rate(7)] {
            let key = counts.key("many");
            for (few, number) in [(quota(3), 1), (rate(3), 2)] {
                let claims = [
                    claim(TierKind::Api, key, plenty),
                    None,
                    claim(TierKind::Application, number, few),
                ];
                let refused = counts.key(("few", number));
                assert_ne!(refused, key);
                assert_eq!(passed(&counts, &claims), 3);
                let at = at();
                let (kind, standing) = counts.take(&claims, at).unwrap_err();
                assert_eq!(kind, TierKind::Application);
                assert!(standing.wait > Duration::ZERO);
                counts.give_back(&[claim(TierKind::Application, number, few)], at);
                assert_eq!(passed(&counts, &claims), 1);
                // Give that one and the three back for the next round.
                for _ in 0..3 {
                    counts.give_back(&claims, at);
                }
                counts.give_back(&[claim(TierKind::Api, key, plenty)], at);
            }
            assert_eq!(passed(&counts, &[claim(TierKind::Api, key, plenty)]), 7);
        }
    }

    #[test]
    fn quota_and_rate_of_one_tier_are_both_asked() {
        let counts = TierCounts::default();
        let both = Tier {
            rate: rate(2).rate,
            ..quota(5)
        };
        let claims = [claim(TierKind::Subscription, 1, both)];
        assert_eq!(passed(&counts, &claims), 2);
        // The rate refused the others, and the quota has three left.
        let claims = [claim(TierKind::Subscription, 1, quota(5))];
        assert_eq!(passed(&counts, &claims), 3);
    }

    #[test]
    fn kinds_and_keys_count_apart() {
        let counts = TierCounts::default();
        for kind in TierKind::ALL {
            for key in [1, 2] {
                assert_eq!(passed(&counts, &[claim(kind, key, quota(2))]), 2);
            }
        }
        assert_eq!(passed(&counts, &[]), 10);
        assert_eq!(
            passed(&counts, &[claim(TierKind::Api, 1, Tier::default())]),
            10
        );
        assert_ne!(counts.key((1, "a")), counts.key((2, "a")));
    }

    #[test]
    fn many_threads_get_no_more_than_one() {
        let counts = TierCounts::default();
        let claims = [
            claim(TierKind::Api, 1, quota(100)),
            claim(TierKind::Subscription, 1, rate(60)),
        ];
        let at = at();
        let taken: usize = std::thread::scope(|scope| {
            let take = || {
                (0..100)
                    .filter(|_| counts.take(&claims, at).is_ok())
                    .count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(taken, 60);
        assert_eq!(
            (0..100)
                .filter(|_| counts
                    .take(&[claim(TierKind::Api, 1, quota(100))], at)
                    .is_ok())
                .count(),
            40
        );
    }
}
