//! The token cache: what the key manager said, kept for a short time.
//!
//! Keyed by the whole digest, bounded by entries and by bytes, in shards of which each has its own
//! lock. Active answers live in two queues (S3-FIFO: a small one that new tokens pass through, a
//! main one for those that come again), so that a burst of tokens seen once cannot push out the hot
//! ones. Inactive answers have a segment of their own, so that a flood of random tokens never
//! touches an active one. Facts are kept, never decisions: policy is checked on every request.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{BuildHasherDefault, Hash, Hasher},
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

const MAX_SHARDS: usize = 64;
/// Below this, a shard's bound would be too coarse.
const MIN_ENTRIES_PER_SHARD: usize = 256;
const MAX_INACTIVE_ENTRIES: usize = 16_384;
/// Times that a token may come again before it is taken for hot enough.
const MAX_FREQUENCY: u8 = 3;
/// One in so many entries may be new.
const SMALL_SHARE: usize = 10;

/// What an active answer costs beside its grant: slot, index, queue, reference counts.
pub const ENTRY_OVERHEAD: usize = size_of::<Slot>() + 2 * (size_of::<TokenKey>() + 16) + 24;

/// What the cache knows of a token.
#[derive(Debug)]
pub enum Lookup {
    /// With the life that is left.
    Active(Arc<Grant>, Duration),
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
        // A power of two, so that a shard is chosen by a mask.
        let shards = 1 << shards.ilog2();
        let shard = Shard {
            max_entries: (settings.max_entries / shards).max(1),
            max_bytes: settings.max_bytes / shards,
            max_inactive: (settings.max_entries.min(MAX_INACTIVE_ENTRIES) / shards).max(1),
            ..Shard::default()
        };
        Self {
            shards: (0..shards).map(|_| Mutex::new(shard.empty())).collect(),
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
            shard.inactive.remove(key);
        });
    }

    /// Answers that are kept: active, inactive.
    pub fn len(&self) -> (usize, usize) {
        self.shards
            .iter()
            .fold((0, 0), |(active, inactive), shard| {
                let shard = shard.lock();
                (active + shard.index.len(), inactive + shard.inactive.len())
            })
    }

    fn change(&self, key: &TokenKey, change: impl FnOnce(&mut Shard)) {
        let mut shard = self.shard(key).lock();
        let before = shard.totals();
        change(&mut shard);
        let (after, evicted) = (shard.totals(), std::mem::take(&mut shard.evicted));
        drop(shard);
        self.metrics.token_cache.follow(before, after, evicted);
    }

    fn shard(&self, key: &TokenKey) -> &Mutex<Shard> {
        // The index hashes by the low bits, so the shard is chosen by high ones.
        let high = usize::try_from(key.prefix() >> 48).unwrap_or(0);
        &self.shards[high & (self.shards.len() - 1)]
    }
}

/// What a shard holds: active and inactive answers, bytes.
type Totals = (usize, usize, usize);

/// Active answers that had to go.
#[derive(Default)]
struct Evicted {
    expired: u64,
    capacity: u64,
}

impl TokenCacheMetrics {
    fn follow(&self, before: Totals, after: Totals, evicted: Evicted) {
        let change = |gauge: &IntGauge, before: usize, after: usize| {
            let signed = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
            if before != after {
                gauge.add(signed(after) - signed(before));
            }
        };
        change(&self.active_entries, before.0, after.0);
        change(&self.inactive_entries, before.1, after.1);
        change(&self.bytes, before.2, after.2);
        self.evicted_expired.inc_by(evicted.expired);
        self.evicted_capacity.inc_by(evicted.capacity);
    }
}

type Index<V> = HashMap<TokenKey, V, BuildHasherDefault<PrefixHasher>>;

#[derive(Default)]
struct Shard {
    max_entries: usize,
    max_bytes: usize,
    max_inactive: usize,
    index: Index<u32>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    small: VecDeque<u32>,
    main: VecDeque<u32>,
    ghosts: Ghosts,
    bytes: usize,
    inactive: Index<Instant>,
    inactive_queue: VecDeque<TokenKey>,
    evicted: Evicted,
}

struct Slot {
    key: TokenKey,
    grant: Arc<Grant>,
    expires: Instant,
    bytes: u32,
    frequency: u8,
}

#[derive(Clone, Copy)]
enum Queue {
    Small,
    Main,
}

impl Shard {
    fn empty(&self) -> Self {
        Self {
            max_entries: self.max_entries,
            max_bytes: self.max_bytes,
            max_inactive: self.max_inactive,
            ..Self::default()
        }
    }

    fn totals(&self) -> Totals {
        let inactive_bytes = self.inactive.len() * (2 * size_of::<TokenKey>() + 32);
        (
            self.index.len(),
            self.inactive.len(),
            self.bytes + inactive_bytes,
        )
    }

    fn lookup(&mut self, key: &TokenKey, now: Instant) -> Lookup {
        if let Some(position) = self.index.get(key)
            && let Some(slot) = &mut self.slots[*position as usize]
        {
            let left = slot.expires.saturating_duration_since(now);
            if left.is_zero() {
                // Its place is kept: most likely the same token is asked about right now.
                return Lookup::Expired;
            }
            slot.frequency = (slot.frequency + 1).min(MAX_FREQUENCY);
            return Lookup::Active(Arc::clone(&slot.grant), left);
        }
        match self.inactive.get(key) {
            Some(expires) if *expires > now => Lookup::Inactive,
            Some(_) => Lookup::Expired,
            None => Lookup::Miss,
        }
    }

    fn insert_active(&mut self, key: TokenKey, grant: Arc<Grant>, expires: Instant, now: Instant) {
        self.inactive.remove(&key);
        let size = grant.size() + ENTRY_OVERHEAD;
        let Ok(bytes) = u32::try_from(size) else {
            return;
        };
        if size > self.max_bytes {
            self.remove_active(&key);
            return;
        }
        if let Some(position) = self.index.get(&key)
            && let Some(slot) = &mut self.slots[*position as usize]
        {
            self.bytes = self.bytes - slot.bytes as usize + size;
            slot.grant = grant;
            slot.expires = expires;
            slot.bytes = bytes;
        } else {
            let queue = match self.ghosts.take(&key) {
                true => Queue::Main,
                false => Queue::Small,
            };
            let position = self.new_slot(Slot {
                key,
                grant,
                expires,
                bytes,
                frequency: 0,
            });
            self.bytes += size;
            self.index.insert(key, position);
            self.queue(queue).push_back(position);
        }
        self.drop_expired_heads(now);
        while self.small.len() + self.main.len() > self.max_entries || self.bytes > self.max_bytes {
            self.evict(now);
        }
    }

    fn insert_inactive(&mut self, key: TokenKey, expires: Instant, now: Instant) {
        self.remove_active(&key);
        if self.inactive.insert(key, expires).is_none() {
            self.inactive_queue.push_back(key);
        }
        while let Some(oldest) = self.inactive_queue.front() {
            let expired = self
                .inactive
                .get(oldest)
                .is_none_or(|expires| *expires <= now);
            if !expired && self.inactive_queue.len() <= self.max_inactive {
                break;
            }
            if let Some(oldest) = self.inactive_queue.pop_front() {
                self.inactive.remove(&oldest);
            }
        }
    }

    /// Takes an answer out; its position stays in its queue, empty, until its turn comes.
    fn remove_active(&mut self, key: &TokenKey) {
        if let Some(position) = self.index.remove(key)
            && let Some(slot) = self.slots[position as usize].take()
        {
            self.bytes -= slot.bytes as usize;
        }
    }

    fn queue(&mut self, queue: Queue) -> &mut VecDeque<u32> {
        match queue {
            Queue::Small => &mut self.small,
            Queue::Main => &mut self.main,
        }
    }

    fn new_slot(&mut self, slot: Slot) -> u32 {
        match self.free.pop() {
            Some(position) => {
                self.slots[position as usize] = Some(slot);
                position
            }
            None => {
                self.slots.push(Some(slot));
                // A shard has far fewer than 2^32 entries: `max_entries` is bounded by the config.
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        }
    }

    /// The oldest of each queue goes when its time is over: most that nobody asks for again leave
    /// this way, before they count against the bounds.
    fn drop_expired_heads(&mut self, now: Instant) {
        for queue in [Queue::Small, Queue::Main] {
            while let Some(position) = self.queue(queue).front().copied() {
                let over = match &self.slots[position as usize] {
                    Some(slot) => slot.expires <= now,
                    None => true,
                };
                if !over {
                    break;
                }
                self.queue(queue).pop_front();
                self.release(position, now);
            }
        }
    }

    /// Makes one step towards room: S3-FIFO (Yang et al., SOSP 2023).
    fn evict(&mut self, now: Instant) {
        let small_is_full = self.small.len() * SMALL_SHARE >= self.max_entries;
        let queue = match (small_is_full, self.small.is_empty(), self.main.is_empty()) {
            (true, false, _) | (false, false, true) => Queue::Small,
            (_, _, false) => Queue::Main,
            // Nothing is left to evict: `max_bytes` is larger than any one entry.
            (_, true, true) => return,
        };
        let Some(position) = self.queue(queue).pop_front() else {
            return;
        };
        match (&mut self.slots[position as usize], queue) {
            (Some(slot), Queue::Small) if slot.frequency > 0 => {
                slot.frequency = 0;
                self.main.push_back(position);
            }
            (Some(slot), Queue::Main) if slot.frequency > 0 => {
                slot.frequency -= 1;
                self.main.push_back(position);
            }
            (Some(slot), Queue::Small) => {
                self.ghosts.add(&slot.key, self.max_entries);
                self.release(position, now);
            }
            _ => self.release(position, now),
        }
    }

    /// Frees a position that no queue holds any more.
    fn release(&mut self, position: u32, now: Instant) {
        if let Some(slot) = self.slots[position as usize].take() {
            self.index.remove(&slot.key);
            self.bytes -= slot.bytes as usize;
            match slot.expires <= now {
                true => self.evicted.expired += 1,
                false => self.evicted.capacity += 1,
            }
        }
        self.free.push(position);
    }
}

/// Digests of tokens that left the small queue unasked. One that comes back was evicted too early
/// and goes straight to the main queue. Eight bytes of a digest are enough: a mistake costs a place
/// in a queue, nothing else.
#[derive(Default)]
struct Ghosts {
    known: HashSet<u64, BuildHasherDefault<PrefixHasher>>,
    queue: VecDeque<u64>,
}

impl Ghosts {
    fn add(&mut self, key: &TokenKey, capacity: usize) {
        if self.known.insert(key.prefix()) {
            self.queue.push_back(key.prefix());
        }
        while self.queue.len() > capacity {
            if let Some(oldest) = self.queue.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    fn take(&mut self, key: &TokenKey) -> bool {
        // It stays in the queue until its turn comes, where it does no harm.
        self.known.remove(&key.prefix())
    }
}

/// A digest is random already: its first bytes are the hash.
#[derive(Default)]
struct PrefixHasher(u64);

impl Hasher for PrefixHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only `u64`s are hashed here; anything else would still be correct, only slower.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, prefix: u64) {
        self.0 = prefix;
    }
}

const _: fn() = || {
    fn is_hashable<T: Hash>() {}
    is_hashable::<TokenKey>();
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Environment, Source, load_source},
        domain::Verdict,
    };

    fn cache(max_entries: usize, max_bytes: usize) -> TokenCache {
        let loaded = load_source(Source::memory(""), &Environment::default())
            .unwrap_or_else(|problems| panic!("{problems}"));
        let settings = TokenCacheSettings {
            max_entries,
            max_bytes,
            ..TokenCacheSettings::default()
        };
        TokenCache::new(&settings, Arc::new(Metrics::new(&loaded.settings).unwrap()))
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
        match Verdict::parse(json.as_bytes()) {
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
            ENTRY_OVERHEAD + size_of::<Grant>() <= 400,
            "{ENTRY_OVERHEAD} + {}",
            size_of::<Grant>()
        );
    }
}
