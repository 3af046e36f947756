//! The response cache: answers of upstreams, kept in memory and given again (RFC 9111).
//!
//! Pingora runs the protocol of it (look-up, locks, revalidation, stale answers, ranges). What is
//! ours is what it leaves open: the memory (`store.rs` and below it) and the disk behind it (`disk/`), what an answer is kept under
//! (`key.rs`, `vary.rs`), and whether it may be kept and how long it is good (`freshness.rs`,
//! `directives.rs`). The gateway asks here after a request has its permit, never before.

mod answer;
mod directives;
mod disk;
mod fill;
mod freshness;
mod head;
mod hit;
mod key;
mod recall;
mod room;
mod shard;
mod store;
mod vary;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use pingora::cache::{
    CacheKey, CacheOptionOverrides, HttpCache, NoCacheReason,
    key::CacheHashKey,
    lock::{CacheKeyLockImpl, CacheLock},
    predictor::Predictor,
};

pub use answer::{FieldUpdate, Stored, stored};
pub use directives::Directives;
pub use freshness::{Circumstances, Life, Unfit, assess};
pub use key::{Caller, Resource, key};
pub use vary::variance;

use crate::{
    domain::CachePolicy,
    metrics::{CacheResult, ResponseCacheMetrics},
};
use store::Store;

/// Longest time that requests wait for another one's answer to the same question. Those who waited
/// in vain ask the upstream themselves.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Resources that are remembered as not fit to be kept, so that nobody waits for their answers:
/// in each of [`PREDICTOR_SHARDS`].
const REMEMBERED_UNFIT: usize = 2048;
const PREDICTOR_SHARDS: usize = 16;

/// How much may be kept, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub memory: usize,
    pub disk: usize,
}

/// The cache of the process. Pingora wants its parts to live for ever, so they are made once, when
/// the process starts, and outlive each reload.
#[derive(Clone, Copy)]
pub struct ResponseCache {
    store: &'static Store,
    lock: &'static CacheKeyLockImpl,
    predictor: &'static Predictor<PREDICTOR_SHARDS>,
}

impl ResponseCache {
    /// `disk`: the folder behind the memory.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn new(
        bounds: Bounds,
        disk: Option<&Path>,
        metrics: ResponseCacheMetrics,
    ) -> std::io::Result<Self> {
        let mut store = Store::new(bounds.memory, metrics);
        if let Some(path) = disk {
            store = store.with_disk(path, bounds.disk)?;
        }
        // What was unfit because of one request is not remembered of the resource.
        let of_one_request = |_: &'static str| true;
        Ok(Self {
            store: Box::leak(Box::new(store)),
            lock: Box::leak(CacheLock::new_boxed(LONGEST_WAIT)),
            predictor: Box::leak(Box::new(Predictor::new(
                REMEMBERED_UNFIT,
                Some(of_one_request),
            ))),
        })
    }

    /// Other bounds, after a reload.
    pub fn resize(&self, bounds: Bounds) {
        self.store.resize(bounds.memory);
        if let Some(disk) = &self.store.disk {
            disk.resize(bounds.disk);
        }
    }

    /// Lets a request use the cache.
    pub fn enable(&self, cache: &mut HttpCache, policy: &CachePolicy) {
        let mut waiting = CacheOptionOverrides::default();
        waiting.wait_timeout = Some(LONGEST_WAIT);
        cache.enable(
            self.store,
            None,
            Some(self.predictor),
            Some(self.lock),
            Some(waiting),
        );
        cache.set_max_file_size_bytes(policy.max_object_bytes);
    }

    /// Removes all answers about a resource. Returns their number.
    pub fn purge(&self, resource: &Resource) -> usize {
        self.store.remove_resource(resource)
    }

    /// Removes all answers about resources whose address begins like this one.
    pub fn purge_below(&self, resource: &Resource) -> usize {
        self.store.remove_prefix(resource.as_bytes())
    }

    pub fn purge_all(&self) -> usize {
        self.store.remove_prefix(b"")
    }

    /// Counts a request on a route whose answers are kept.
    pub fn count(&self, result: CacheResult) {
        self.store.metrics.count(result);
    }

    /// Removes one answer.
    pub fn forget(&self, key: &CacheKey) {
        self.store.remove(key.primary_key(), key.variance_bin());
    }

    /// Whether a resource was changed after `since`, so that what was begun then is outdated.
    pub fn changed_since(&self, resource: &Resource, since: Instant) -> bool {
        self.store.changed_since(resource, since)
    }
}

/// Reads the record of a file on the disk, and writes it again. `None`: it is none. For fuzzing.
pub fn rewritten(record: &[u8]) -> Option<Vec<u8>> {
    let (name, head) = disk::decode(record)?;
    disk::encode(name, &head)
}

impl From<Unfit> for NoCacheReason {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Answer => Self::OriginNotCache,
            Unfit::Request => Self::Custom("of this request only"),
        }
    }
}
