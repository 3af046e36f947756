//! The memory of the response cache: shards of answers, bounded in bytes all together.
//!
//! Bodies stand in one piece each and are handed out by reference count. Answers that are being
//! fetched take their room from the same bound, so that no number of callers can exceed it.

use std::{
    any::Any,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use pingora::{
    Error, ErrorType, Result,
    cache::{
        CacheKey, CacheMeta, HitHandler, MissHandler, PurgeOutcome, PurgeTarget, PurgeType,
        Storage,
        key::{CacheHashKey, HashBinary},
        trace::SpanHandle,
    },
};

use super::{
    fill::Fill,
    head::Head,
    hit::Hit,
    key::{Resource, resource_of},
    room::{Bound, Room},
    shard::{EntryKey, Hashed, Shard},
};
use crate::metrics::ResponseCacheMetrics;

const SHARDS: usize = 32;
/// What an answer costs beside its key, head and body: slot, indexes, reference counts.
const OVERHEAD: usize = 320;

/// An answer that is kept.
pub struct Object {
    pub head: Head,
    pub body: Arc<Body>,
    _room: Room,
}

/// The body of an answer.
pub struct Body {
    pub bytes: Bytes,
    _room: Room,
}

/// See the module.
pub struct Store {
    shards: [Mutex<Shard>; SHARDS],
    /// Which shard has to give something up next.
    next: AtomicUsize,
    hasher: RandomState,
    bound: Arc<Bound>,
    pub metrics: ResponseCacheMetrics,
}

impl Store {
    /// `max_bytes`: for everything that is kept or being fetched to be kept.
    pub fn new(max_bytes: usize, metrics: ResponseCacheMetrics) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            next: AtomicUsize::new(0),
            hasher: RandomState::new(),
            bound: Bound::new(max_bytes, metrics.bytes.clone()),
            metrics,
        }
    }

    pub fn resize(&self, max_bytes: usize) {
        self.bound.set_max(max_bytes);
        while self.bound.excess() > 0 && self.evict_one() {}
    }

    pub fn find(&self, primary: &[u8], variance: Option<HashBinary>) -> Option<Arc<Object>> {
        let key = self.hashed(EntryKey { primary, variance });
        self.shard(&key).lock().find(&key)
    }

    /// Keeps an answer that was begun at `since`.
    pub fn put(
        &self,
        primary: &[u8],
        variance: Option<HashBinary>,
        head: Head,
        body: Arc<Body>,
        since: Instant,
    ) -> bool {
        let key = self.hashed(EntryKey { primary, variance });
        let Some(room) = self.room(size(primary, &head)) else {
            return false;
        };
        let object = Arc::new(Object {
            head,
            body,
            _room: room,
        });
        let mut shard = self.shard(&key).lock();
        let before = shard.len();
        let kept = shard.put(&key, object, since);
        let grown = shard.len() > before;
        drop(shard);
        if grown {
            self.metrics.entries.inc();
        }
        kept
    }

    /// Room for so many bytes, for which others may have to go; `None` when there is no more.
    pub fn room(&self, bytes: usize) -> Option<Room> {
        loop {
            if let Some(room) = self.bound.take(bytes) {
                return Some(room);
            }
            if !self.evict_one() {
                return None;
            }
        }
    }

    pub fn body(&self, bytes: Bytes, room: Room) -> Arc<Body> {
        Arc::new(Body { bytes, _room: room })
    }

    /// Removes all answers about a resource, and those about it that are under way.
    pub fn remove_resource(&self, resource: &Resource) -> usize {
        let hash = self.hasher.hash_one(resource.as_bytes());
        let removed = self
            .shard_of(hash)
            .lock()
            .remove_resource(hash, Instant::now());
        self.gone(removed)
    }

    /// Removes all answers about resources that begin like this.
    pub fn remove_prefix(&self, prefix: &[u8]) -> usize {
        let remove = |shard: &Mutex<Shard>| shard.lock().remove_prefix(prefix, Instant::now());
        self.gone(self.shards.iter().map(remove).sum())
    }

    pub fn remove(&self, primary: &[u8], variance: Option<HashBinary>) -> bool {
        let key = self.hashed(EntryKey { primary, variance });
        let removed = self.shard(&key).lock().remove(&key);
        self.gone(usize::from(removed)) > 0
    }

    /// Whether a resource was changed after `since`, so that what was begun then is outdated.
    pub fn changed_since(&self, resource: &Resource, since: Instant) -> bool {
        let hash = self.hasher.hash_one(resource.as_bytes());
        self.shard_of(hash).lock().changed_since(hash, since)
    }

    fn evict_one(&self) -> bool {
        (0..SHARDS).any(|_| {
            let position = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
            let evicted = self.shards[position].lock().evict_one();
            if evicted {
                self.metrics.evicted.inc();
                self.metrics.entries.dec();
            }
            evicted
        })
    }

    fn gone(&self, removed: usize) -> usize {
        self.metrics.removed.inc_by(removed as u64);
        self.metrics
            .entries
            .sub(i64::try_from(removed).unwrap_or(i64::MAX));
        removed
    }

    fn hashed<'a>(&self, key: EntryKey<'a>) -> Hashed<'a> {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key.primary);
        if let Some(variance) = &key.variance {
            hasher.write(variance);
        }
        Hashed {
            key,
            hash: hasher.finish(),
            resource: self.hasher.hash_one(resource_of(key.primary)),
        }
    }

    /// All answers about a resource are in one shard.
    fn shard(&self, key: &Hashed<'_>) -> &Mutex<Shard> {
        self.shard_of(key.resource)
    }

    fn shard_of(&self, resource: u64) -> &Mutex<Shard> {
        // The low bits choose the place inside the shard's tables.
        &self.shards[(resource >> 32) as usize % SHARDS]
    }
}

fn size(primary: &[u8], head: &Head) -> usize {
    OVERHEAD + primary.len() + head.size()
}

#[async_trait]
impl Storage for Store {
    async fn lookup(
        &'static self,
        key: &CacheKey,
        _: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        let object = self.find(key.primary_key(), key.variance_bin());
        // The header is copied outside of the lock.
        Ok(object.map(|object| (object.head.meta(), Hit::boxed(&object))))
    }

    async fn get_miss_handler(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _: &SpanHandle,
    ) -> Result<MissHandler> {
        Ok(Fill::boxed(self, key, meta))
    }

    /// Nothing calls this: eviction is the store's own, and so is what the admin listener purges.
    async fn purge(
        &'static self,
        _: PurgeTarget<'_>,
        _: PurgeType,
        _: &SpanHandle,
    ) -> Result<PurgeOutcome> {
        Error::e_explain(ErrorType::InternalError, "answers are purged by resource")
    }

    async fn update_meta(
        &'static self,
        key: &CacheKey,
        meta: &CacheMeta,
        _: &SpanHandle,
    ) -> Result<bool> {
        let (primary, variance) = (key.primary_key(), key.variance_bin());
        let hashed = self.hashed(EntryKey { primary, variance });
        let head = Head::of(meta);
        let Some(room) = self.room(size(primary, &head)) else {
            return Ok(false);
        };
        let mut shard = self.shard(&hashed).lock();
        let Some(old) = shard.find(&hashed) else {
            return Ok(false);
        };
        let object = Object {
            head,
            body: Arc::clone(&old.body),
            _room: room,
        };
        Ok(shard.replace(&hashed, Arc::new(object)))
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync + 'static) {
        self
    }
}
