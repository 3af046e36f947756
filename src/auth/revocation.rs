//! Tokens that were revoked before their end, as somebody told us.
//!
//! They are kept until they would have ended by themselves, as keyed digests, in bounded memory. Looking
//! one up costs nothing while there are none, and a hash and a short lock otherwise.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use ring::hmac;

use super::Verifier;
use crate::{
    domain::{AccessToken, UnixSeconds},
    metrics::RevocationMetrics,
};

const SHARDS: usize = 16;
/// For how long a token is kept of which nobody knows the end, in seconds.
const DEFAULT_LIFE: i64 = 24 * 3600;
/// Shorter ones are kept as long as this all the same, in seconds: clocks differ, and a call to the key
/// manager that began before may still bring the old answer.
const SHORTEST_LIFE: i64 = 60;

/// See the module.
pub struct Revocations {
    digests: hmac::Key,
    hashes: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    /// Entries of all shards.
    count: AtomicUsize,
    /// Most entries of one shard.
    capacity: AtomicUsize,
    /// Whose cache may know a token that is revoked.
    verifier: ArcSwapOption<Verifier>,
    metrics: Arc<RevocationMetrics>,
}

#[derive(Default)]
struct Shard {
    /// By a short hash, which is made for every request.
    entries: HashMap<u64, Entry>,
    /// The same ones: those that end first come first.
    by_end: BTreeSet<(UnixSeconds, u64)>,
}

#[derive(Clone, Copy)]
struct Entry {
    /// Made only where the short hash is the same.
    digest: u128,
    ends: UnixSeconds,
}

impl Revocations {
    /// `seed` is random and of this process.
    pub fn new(seed: &[u8; 32], metrics: Arc<RevocationMetrics>) -> Self {
        Self {
            digests: hmac::Key::new(hmac::HMAC_SHA256, seed),
            hashes: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
            count: AtomicUsize::new(0),
            capacity: AtomicUsize::new(1),
            verifier: ArcSwapOption::empty(),
            metrics,
        }
    }

    /// Most tokens that are kept; where there are more already, they go as new ones come.
    pub fn resize(&self, max_entries: usize) {
        let capacity = max_entries.div_ceil(SHARDS).max(1);
        self.capacity.store(capacity, Ordering::Relaxed);
    }

    /// From now on this verifier's cache forgets what is revoked.
    pub fn follow(&self, verifier: Option<Arc<Verifier>>) {
        self.verifier.store(verifier);
    }

    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Whether this token was revoked, by itself or by the signature that ends it. Neither allocates
    /// nor waits.
    pub fn has_token(&self, token: AccessToken<'_>, now: UnixSeconds) -> bool {
        if self.is_empty() {
            return false;
        }
        let token = token.expose();
        self.has(token, now) || signature(token).is_some_and(|part| self.has(part, now))
    }

    /// Whether a token with this `jti` was revoked (RFC 7519 §4.1.7).
    pub fn has_id(&self, id: &str, now: UnixSeconds) -> bool {
        !self.is_empty() && self.has(id, now)
    }

    /// From now on `token` is revoked: a whole token, the signature of a JWT, or its `jti`. `ends` is
    /// when it would have ended. A JWT is known by its signature, as other gateways have it.
    pub fn revoke(&self, token: &str, ends: Option<UnixSeconds>, now: UnixSeconds) {
        let ends = match ends {
            Some(ends) => ends.max(now.saturating_add(SHORTEST_LIFE)),
            None => now.saturating_add(DEFAULT_LIFE),
        };
        let name = signature(token).unwrap_or(token);
        let hash = self.hashes.hash_one(name);
        let entry = Entry {
            digest: self.digest(name),
            ends,
        };
        let capacity = self.capacity.load(Ordering::Relaxed);
        self.change(hash, |shard| {
            shard.purge(now);
            shard.insert(hash, entry);
            shard.shrink(capacity)
        });
        if let (Some(verifier), Ok(token)) =
            (&*self.verifier.load(), AccessToken::parse(token.as_bytes()))
        {
            verifier.forget(token);
        }
    }

    /// Forgets tokens that have ended.
    pub fn purge(&self, now: UnixSeconds) {
        for number in 0..SHARDS {
            self.change(number as u64, |shard| {
                shard.purge(now);
                0
            });
        }
    }

    fn has(&self, name: &str, now: UnixSeconds) -> bool {
        let hash = self.hashes.hash_one(name);
        let entry = self.shard(hash).lock().entries.get(&hash).copied();
        entry.is_some_and(|entry| entry.ends > now && entry.digest == self.digest(name))
    }

    /// `change` returns how many went for want of room.
    fn change(&self, hash: u64, change: impl FnOnce(&mut Shard) -> u64) {
        let mut shard = self.shard(hash).lock();
        let before = shard.entries.len();
        let evicted = change(&mut shard);
        let after = shard.entries.len();
        // Under the lock, so that the sum never runs ahead of what is subtracted.
        self.count.fetch_add(after, Ordering::Relaxed);
        let count = self.count.fetch_sub(before, Ordering::Relaxed) - before;
        drop(shard);
        self.metrics.evicted.inc_by(evicted);
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.entries.set(count);
    }

    fn digest(&self, name: &str) -> u128 {
        let tag = hmac::sign(&self.digests, name.as_bytes());
        let mut half = [0; 16];
        half.copy_from_slice(&tag.as_ref()[..16]);
        u128::from_le_bytes(half)
    }

    fn shard(&self, hash: u64) -> &Mutex<Shard> {
        let number = usize::try_from(hash % SHARDS as u64).unwrap_or(0);
        &self.shards[number]
    }
}

impl Shard {
    fn insert(&mut self, hash: u64, mut entry: Entry) {
        if let Some(old) = self.entries.get(&hash) {
            entry.ends = entry.ends.max(old.ends);
            self.by_end.remove(&(old.ends, hash));
        }
        self.entries.insert(hash, entry);
        self.by_end.insert((entry.ends, hash));
    }

    fn purge(&mut self, now: UnixSeconds) {
        while self.by_end.first().is_some_and(|(ends, _)| *ends <= now) {
            self.pop();
        }
    }

    /// Returns how many had to go.
    fn shrink(&mut self, capacity: usize) -> u64 {
        let mut evicted = 0;
        while self.entries.len() > capacity {
            self.pop();
            evicted += 1;
        }
        evicted
    }

    fn pop(&mut self) {
        if let Some((_, hash)) = self.by_end.pop_first() {
            self.entries.remove(&hash);
        }
    }
}

/// The last of three parts, where the first looks like the header of a JWT: base64url of a JSON object.
/// Opaque tokens may have dots too.
fn signature(token: &str) -> Option<&str> {
    let mut parts = token.split('.');
    let (header, _, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let is_jwt = ["ey", "ew"].iter().any(|start| header.starts_with(start));
    (is_jwt && parts.next().is_none() && !signature.is_empty()).then_some(signature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    const NOW: UnixSeconds = 1_700_000_000;

    fn revocations(max_entries: usize) -> Revocations {
        let metrics = Metrics::new().unwrap();
        let revocations = Revocations::new(&[7; 32], Arc::clone(&metrics.revocation));
        revocations.resize(max_entries);
        revocations
    }

    fn has(revocations: &Revocations, token: &str, now: UnixSeconds) -> bool {
        revocations.has_token(AccessToken::parse(token.as_bytes()).unwrap(), now)
    }

    #[test]
    fn a_token_is_revoked_until_its_end() {
        let revocations = revocations(100);
        assert!(!has(&revocations, "a", NOW));
        revocations.revoke("a", Some(NOW + 100), NOW);
        assert!(has(&revocations, "a", NOW));
        assert!(!has(&revocations, "b", NOW));
        assert!(has(&revocations, "a", NOW + 99));
        assert!(!has(&revocations, "a", NOW + 100));
        revocations.purge(NOW + 100);
        assert!(revocations.is_empty());
        assert_eq!(revocations.metrics.entries.get(), 0);
    }

    #[test]
    fn the_end_may_be_unknown_or_over_and_never_comes_nearer() {
        let revocations = revocations(100);
        revocations.revoke("a", None, NOW);
        assert!(has(&revocations, "a", NOW + DEFAULT_LIFE - 1));
        revocations.revoke("a", Some(NOW + 100), NOW);
        assert!(has(&revocations, "a", NOW + 101));
        for ends in [NOW - 5, 0, i64::MIN] {
            revocations.revoke("b", Some(ends), NOW);
            assert!(has(&revocations, "b", NOW + SHORTEST_LIFE - 1));
        }
        assert_eq!(revocations.metrics.entries.get(), 2);
    }

    #[test]
    fn a_jwt_is_known_by_its_signature_and_its_id() {
        let revocations = revocations(100);
        revocations.revoke("eyJhbGciOiJSUzI1NiJ9.e30.c2ln", None, NOW);
        assert!(has(&revocations, "eyJhbGciOiJSUzI1NiJ9.e30.c2ln", NOW));
        assert!(has(&revocations, "c2ln", NOW));
        revocations.revoke("bmFr", None, NOW);
        assert!(has(&revocations, "eyJhbGciOiJSUzI1NiJ9.e30.bmFr", NOW));
        revocations.revoke("urn:id:1", None, NOW);
        assert!(revocations.has_id("urn:id:1", NOW));
        assert!(!revocations.has_id("urn:id:2", NOW));
    }

    #[test]
    fn dots_alone_make_no_jwt() {
        let revocations = revocations(100);
        revocations.revoke("a.b.1", None, NOW);
        assert!(has(&revocations, "a.b.1", NOW));
        assert!(!has(&revocations, "a.c.1", NOW));
        assert!(!has(&revocations, "1", NOW));
        revocations.revoke("eyJ.b.c.d", None, NOW);
        assert!(!has(&revocations, "d", NOW));
    }

    #[test]
    fn it_never_grows_beyond_its_bound_and_those_that_end_first_go() {
        let revocations = revocations(SHARDS * 10);
        for number in 0..100_000 {
            let long = if number < 50 { 1_000_000 } else { 0 };
            revocations.revoke(&format!("t{number}"), Some(NOW + 100 + long), NOW);
        }
        let count = revocations.count.load(Ordering::Relaxed);
        assert_eq!(count, SHARDS * 10);
        assert_eq!(revocations.metrics.evicted.get(), 100_000 - count as u64);
        let kept = (0..50).filter(|number| has(&revocations, &format!("t{number}"), NOW));
        // A shard may get more than its share of the long ones.
        assert!(kept.count() >= 45);
    }

    #[test]
    fn what_ended_makes_room_first() {
        let revocations = revocations(SHARDS);
        for round in 0..10 {
            let now = NOW + round * 1_000;
            for number in 0..SHARDS {
                revocations.revoke(&format!("{round}-{number}"), Some(now + 100), now);
            }
            revocations.purge(now + 100);
        }
        assert!(revocations.is_empty());
    }
}
