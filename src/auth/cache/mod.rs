//! The token cache: what the key manager said, kept for a short time.
//!
//! Keyed by the whole digest, bounded by entries and by bytes, in shards of which each has its own
//! lock. Active answers live in two queues (S3-FIFO: a small one that new tokens pass through, a
//! main one for those that come again), so that a burst of tokens seen once cannot push out the hot
//! ones. Inactive answers have a segment of their own, so that a flood of random tokens never
//! touches an active one. Facts are kept, never decisions: policy is checked on every request.

mod shard;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use prometheus::IntGauge;

use crate::{
    config::TokenCacheSettings,
    domain::{Grant, TokenKey},
    metrics::{Metrics, TokenCacheMetrics},
};
pub use shard::ENTRY_OVERHEAD;
use shard::{Evicted, Shard, Totals};

const MAX_SHARDS: usize = 64;
/// Below this, a shard's bound would be too coarse.
const MIN_ENTRIES_PER_SHARD: usize = 256;
const MAX_INACTIVE_ENTRIES: usize = 16_384;
/// How long an answer past its end is used before the key manager is asked once more.
const STALE_PAUSE: Duration = Duration::from_secs(10);

/// What the cache knows of a token.
#[derive(Debug)]
pub enum Lookup {
    /// With the life that is left.
    Active(Arc<Grant>, Duration),
    /// Its time is over; it is used again for a moment, because the key manager could not be asked.
    Stale(Arc<Grant>),
    Inactive,
    /// It was there, and its time is over.
    Expired,
    Miss,
}

/// See the module.
pub struct TokenCache {
    shards: Box<[Mutex<Shard>]>,
    metrics: Arc<Metrics>,
}

impl TokenCache {
    pub fn new(settings: &TokenCacheSettings, metrics: Arc<Metrics>) -> Self {
        let shards = (settings.max_entries / MIN_ENTRIES_PER_SHARD).clamp(1, MAX_SHARDS);
        let capacity = i64::try_from(settings.max_entries).unwrap_or(i64::MAX);
        metrics.token_cache.capacity_entries.set(capacity);
        // A power of two, so that a shard is chosen by a mask.
        let shards = 1 << shards.ilog2();
        let shard = || {
            Mutex::new(Shard::new(
                (settings.max_entries / shards).max(1),
                settings.max_bytes / shards,
                (settings.max_entries.min(MAX_INACTIVE_ENTRIES) / shards).max(1),
                u16::try_from(settings.stale_if_error.as_secs()).unwrap_or(u16::MAX),
            ))
        };
        Self {
            shards: (0..shards).map(|_| shard()).collect(),
            metrics,
        }
    }

    /// Looks a token up at the time `now`. Takes one lock, allocates nothing.
    pub fn lookup(&self, key: &TokenKey, now: Instant) -> Lookup {
        let found = self.shard(key).lock().lookup(key, now);
        let metrics = &self.metrics.token_cache;
        match &found {
            Lookup::Active(_, left) => {
                metrics.hit.inc();
                metrics.remaining_ttl.observe(left.as_secs_f64());
            }
            Lookup::Stale(_) => metrics.stale.inc(),
            Lookup::Inactive => metrics.hit_negative.inc(),
            Lookup::Expired => metrics.expired.inc(),
            Lookup::Miss => metrics.miss.inc(),
        }
        found
    }

    /// An active answer, without counting the look-up.
    pub fn peek(&self, key: &TokenKey, now: Instant) -> Option<Arc<Grant>> {
        match self.shard(key).lock().lookup(key, now) {
            Lookup::Active(grant, _) => Some(grant),
            _ => None,
        }
    }

    /// An active answer past its end, where the key manager could not be asked. For a moment it is used
    /// without asking again, so that not everybody waits in vain.
    pub fn revive(&self, key: &TokenKey, now: Instant) -> Option<Arc<Grant>> {
        let pause = u16::try_from(STALE_PAUSE.as_secs()).unwrap_or(u16::MAX);
        self.shard(key).lock().revive(key, pause, now)
    }

    /// Keeps an active answer until `expires`.
    pub fn insert_active(&self, key: TokenKey, grant: Arc<Grant>, expires: Instant, now: Instant) {
        let metrics = &self.metrics.token_cache;
        metrics.inserted_active.inc();
        self.change(&key, |shard| shard.insert_active(key, grant, expires, now));
    }

    /// Remembers until `expires` that a token is not active.
    pub fn insert_inactive(&self, key: TokenKey, expires: Instant, now: Instant) {
        let metrics = &self.metrics.token_cache;
        metrics.inserted_inactive.inc();
        self.change(&key, |shard| shard.insert_inactive(key, expires, now));
    }

    /// Forgets what is known of a token.
    pub fn remove(&self, key: &TokenKey) {
        self.change(key, |shard| {
            shard.remove_active(key);
            shard.remove_inactive(key);
        });
    }

    /// Answers that are kept: active, inactive.
    pub fn len(&self) -> (usize, usize) {
        self.shards
            .iter()
            .fold((0, 0), |(active, inactive), shard| {
                let totals = shard.lock().totals();
                (active + totals.active, inactive + totals.inactive)
            })
    }

    fn change(&self, key: &TokenKey, change: impl FnOnce(&mut Shard)) {
        let mut shard = self.shard(key).lock();
        let before = shard.totals();
        change(&mut shard);
        let (after, evicted) = (shard.totals(), shard.take_evicted());
        drop(shard);
        self.metrics.token_cache.follow(before, after, evicted);
    }

    fn shard(&self, key: &TokenKey) -> &Mutex<Shard> {
        // The index hashes by the low bits, so the shard is chosen by high ones.
        let high = usize::try_from(key.prefix() >> 48).unwrap_or(0);
        &self.shards[high & (self.shards.len() - 1)]
    }
}

/// What it held is no longer there, whoever else counts into the same metrics.
impl Drop for TokenCache {
    fn drop(&mut self) {
        for shard in &self.shards {
            let before = shard.lock().totals();
            let (after, evicted) = (Totals::default(), Evicted::default());
            self.metrics.token_cache.follow(before, after, evicted);
        }
    }
}

impl TokenCacheMetrics {
    fn follow(&self, before: Totals, after: Totals, evicted: Evicted) {
        let change = |gauge: &IntGauge, before: usize, after: usize| {
            let signed = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
            if before != after {
                gauge.add(signed(after) - signed(before));
            }
        };
        change(&self.active_entries, before.active, after.active);
        change(&self.inactive_entries, before.inactive, after.inactive);
        change(&self.bytes, before.bytes, after.bytes);
        self.evicted_expired.inc_by(evicted.expired);
        self.evicted_capacity.inc_by(evicted.capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Verdict;

    fn cache(max_entries: usize, max_bytes: usize) -> TokenCache {
        let settings = TokenCacheSettings {
            max_entries,
            max_bytes,
            ..TokenCacheSettings::default()
        };
        TokenCache::new(&settings, Arc::new(Metrics::new().unwrap()))
    }

    fn key(number: u64) -> TokenKey {
        // Spread as digests are.
        let mut bytes = [7; 32];
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bytes[..8].copy_from_slice(&(spread ^ (spread >> 29)).to_le_bytes());
        bytes[8..16].copy_from_slice(&number.to_le_bytes());
        TokenKey::from_bytes(bytes)
    }

    fn grant(json: &str) -> Arc<Grant> {
        match Verdict::parse(json.as_bytes(), &Arc::default()) {
            Ok(Verdict::Active(grant)) => grant,
            other => panic!("{other:?}"),
        }
    }

    fn is_hit(cache: &TokenCache, number: u64, now: Instant) -> bool {
        matches!(cache.lookup(&key(number), now), Lookup::Active(..))
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn an_answer_is_kept_until_its_time_and_not_longer() {
        let cache = cache(100, 1 << 20);
        let now = Instant::now();
        assert!(matches!(cache.lookup(&key(1), now), Lookup::Miss));
        cache.insert_active(
            key(1),
            grant(r#"{"active":true,"sub":"a"}"#),
            now + LONG,
            now,
        );
        let Lookup::Active(found, left) = cache.lookup(&key(1), now + LONG / 2) else {
            panic!("must be there");
        };
        assert_eq!(found.claims().text("sub"), Some("a"));
        assert_eq!(left, LONG / 2);
        assert!(matches!(cache.lookup(&key(1), now + LONG), Lookup::Expired));
        assert!(matches!(cache.lookup(&key(2), now), Lookup::Miss));
    }

    #[test]
    fn an_answer_past_its_end_is_revived_for_a_while_and_not_longer() {
        let settings = TokenCacheSettings {
            stale_if_error: LONG,
            ..TokenCacheSettings::default()
        };
        let cache = TokenCache::new(&settings, Arc::new(Metrics::new().unwrap()));
        let now = Instant::now();
        let answer = grant(r#"{"active":true}"#);
        cache.insert_active(key(1), Arc::clone(&answer), now + LONG, now);
        let is_stale = |now| matches!(cache.lookup(&key(1), now), Lookup::Stale(_));
        let is_expired = |now| matches!(cache.lookup(&key(1), now), Lookup::Expired);
        // Until its end it is as good as ever, whoever asks.
        assert!(cache.revive(&key(1), now).is_some());
        assert!(is_hit(&cache, 1, now));
        let end = now + LONG;
        assert!(is_expired(end) && cache.revive(&key(1), end).is_some());
        assert!(is_stale(end + STALE_PAUSE / 2) && is_expired(end + STALE_PAUSE));
        // All pauses together are no longer than it may be.
        let mut moment = end;
        while cache.revive(&key(1), moment).is_some() {
            moment += STALE_PAUSE;
        }
        assert!(moment > end + LONG / 2 && moment <= end + LONG);
        assert!(is_expired(moment));
        // A new answer counts from its own end, and a no is a no.
        cache.insert_active(key(1), answer, moment + LONG, moment);
        assert!(is_hit(&cache, 1, moment));
        assert!(cache.revive(&key(1), moment + LONG).is_some());
        cache.insert_inactive(key(1), moment + LONG, moment);
        assert!(cache.revive(&key(1), moment).is_none());
        assert!(cache.revive(&key(2), moment).is_none());
    }

    #[test]
    fn what_may_be_revived_is_kept_for_as_long() {
        for (stale_if_error, kept) in [(Duration::ZERO, 1), (LONG, 101)] {
            let settings = TokenCacheSettings {
                stale_if_error,
                ..TokenCacheSettings::default()
            };
            let cache = TokenCache::new(&settings, Arc::new(Metrics::new().unwrap()));
            let now = Instant::now();
            for number in 0..100 {
                let answer = grant(r#"{"active":true}"#);
                cache.insert_active(key(number), answer, now + LONG, now);
            }
            let later = now + LONG;
            // One in each shard, so that each drops what is over.
            for number in 1_000..2_000 {
                cache.insert_active(
                    key(number),
                    grant(r#"{"active":true}"#),
                    later + LONG,
                    later,
                );
                cache.remove(&key(number));
            }
            cache.insert_active(key(5_000), grant(r#"{"active":true}"#), later + LONG, later);
            assert_eq!(cache.len().0, kept, "{stale_if_error:?}");
        }
    }

    #[test]
    fn keys_are_compared_in_full() {
        let cache = cache(100, 1 << 20);
        let now = Instant::now();
        let mut one = [9; 32];
        let mut other = [9; 32];
        one[31] = 1;
        other[31] = 2;
        let (one, other) = (TokenKey::from_bytes(one), TokenKey::from_bytes(other));
        assert_eq!(one.prefix(), other.prefix());
        cache.insert_active(one, grant(r#"{"active":true}"#), now + LONG, now);
        assert!(matches!(cache.lookup(&other, now), Lookup::Miss));
    }

    #[test]
    fn a_newer_answer_replaces_the_older_whichever_they_are() {
        let cache = cache(100, 1 << 20);
        let now = Instant::now();
        cache.insert_active(key(1), grant(r#"{"active":true}"#), now + LONG, now);
        cache.insert_inactive(key(1), now + LONG, now);
        assert!(matches!(cache.lookup(&key(1), now), Lookup::Inactive));
        cache.insert_active(key(1), grant(r#"{"active":true}"#), now + LONG, now);
        assert!(is_hit(&cache, 1, now));
        assert_eq!(cache.len(), (1, 0));
        cache.remove(&key(1));
        assert_eq!(cache.len(), (0, 0));
    }

    #[test]
    fn a_flood_of_inactive_tokens_touches_no_active_one() {
        let cache = cache(1_000, 8 << 20);
        let now = Instant::now();
        for number in 0..500 {
            cache.insert_active(key(number), grant(r#"{"active":true}"#), now + LONG, now);
        }
        for number in 1_000..101_000 {
            cache.insert_inactive(key(number), now + LONG, now);
        }
        let (active, inactive) = cache.len();
        assert_eq!(active, 500);
        assert!(inactive <= 1_000, "{inactive}");
        assert!((0..500).all(|number| is_hit(&cache, number, now)));
    }

    #[test]
    fn a_scan_of_active_tokens_leaves_the_hot_ones() {
        let cache = cache(256, 8 << 20);
        let now = Instant::now();
        let answer = grant(r#"{"active":true}"#);
        for number in 0..100 {
            cache.insert_active(key(number), Arc::clone(&answer), now + LONG, now);
            assert!(is_hit(&cache, number, now));
        }
        for number in 1_000..20_000 {
            cache.insert_active(key(number), Arc::clone(&answer), now + LONG, now);
            if number % 10 == 0 {
                is_hit(&cache, number / 10 % 100, now);
            }
        }
        let kept = (0..100)
            .filter(|number| is_hit(&cache, *number, now))
            .count();
        assert!(kept >= 95, "{kept} of 100 hot tokens are left");
        assert!(cache.len().0 <= 256);
    }

    #[test]
    fn entries_and_bytes_are_bounded_whatever_comes() {
        let now = Instant::now();
        let big = grant(&format!(r#"{{"active":true,"x":"{}"}}"#, "a".repeat(8_000)));
        let cache = cache(10_000, 1 << 20);
        for number in 0..3_000 {
            cache.insert_active(key(number), Arc::clone(&big), now + LONG, now);
        }
        let metrics = &cache.metrics.token_cache;
        assert!(metrics.bytes.get() <= 1 << 20, "{}", metrics.bytes.get());
        assert!(metrics.active_entries.get() > 50);
        assert_eq!(
            usize::try_from(metrics.active_entries.get()).unwrap(),
            cache.len().0
        );
        assert!(metrics.evicted_capacity.get() > 2_000);
    }

    #[test]
    fn expired_answers_make_room_by_themselves() {
        let cache = cache(200, 1 << 20);
        let now = Instant::now();
        let answer = grant(r#"{"active":true}"#);
        for number in 0..150 {
            cache.insert_active(key(number), Arc::clone(&answer), now + LONG, now);
        }
        let later = now + 2 * LONG;
        cache.insert_active(key(999), Arc::clone(&answer), later + LONG, later);
        assert_eq!(cache.len().0, 1);
        assert_eq!(cache.metrics.token_cache.evicted_expired.get(), 150);
        assert_eq!(cache.metrics.token_cache.evicted_capacity.get(), 0);
    }

    #[test]
    fn an_entry_costs_no_more_than_its_budget() {
        assert!(
            ENTRY_OVERHEAD + size_of::<Grant>() <= 256,
            "{ENTRY_OVERHEAD} + {}",
            size_of::<Grant>()
        );
    }
}
