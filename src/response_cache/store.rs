//! The memory of the response cache: shards of answers, bounded in bytes all together.
//!
//! Bodies stand in one piece each and are handed out by reference count. Answers that are being
//! fetched take their room from the same bound, so that no number of callers can exceed it.
//!
//! Where there is a disk, what changes in a shard changes on it under the same lock (first the
//! shard's, then the disk's), so that neither can have what the other has given up for good.

use std::{
    any::Any,
    hash::{BuildHasher, Hasher, RandomState},
    path::Path,
    sync::Arc,
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
    disk::{self, Disk},
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
    pub _room: Room,
}

/// The body of an answer.
pub struct Body {
    pub bytes: Bytes,
    pub _room: Room,
}

/// See the module.
pub struct Store {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    bound: Arc<Bound>,
    pub disk: Option<Arc<Disk>>,
    pub metrics: ResponseCacheMetrics,
}

impl Object {
    /// In bytes, without its key.
    pub fn size(&self) -> usize {
        self.head.size() + self.body.bytes.len()
    }
}

impl Store {
    /// `max_bytes`: for everything that is kept or being fetched to be kept.
    pub fn new(max_bytes: usize, metrics: ResponseCacheMetrics) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            bound: Bound::new(max_bytes, metrics.bytes.clone()),
            disk: None,
            metrics,
        }
    }

    /// The same with a disk behind it.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn with_disk(self, path: &Path, max_bytes: usize) -> std::io::Result<Self> {
        let memory = Arc::clone(&self.bound);
        let disk = Disk::open(path, max_bytes, memory, self.metrics.disk.clone())?;
        let disk = Some(disk);
        Ok(Self { disk, ..self })
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
        let entry = self.disk_entry(&key);
        let mut shard = self.shard(&key).lock();
        let before = shard.len();
        let kept = shard.put(&key, Arc::clone(&object), since);
        let grown = shard.len() > before;
        if kept {
            self.offer(&object, entry);
        }
        drop(shard);
        if grown {
            self.metrics.entries.inc();
        }
        kept
    }

    /// What the disk needs to know of an answer, with memory for it, which is found before the
    /// shard is locked: others may have to go.
    fn disk_entry(&self, key: &Hashed<'_>) -> Option<(disk::Name, Option<Room>)> {
        self.disk.as_ref()?;
        let EntryKey { primary, variance } = key.key;
        Some((
            disk::name(primary, variance),
            self.room(disk::cost(primary)),
        ))
    }

    /// Called under the lock of the shard.
    fn offer(&self, object: &Arc<Object>, entry: Option<(disk::Name, Option<Room>)>) {
        if let (Some(disk), Some((name, room))) = (&self.disk, entry) {
            disk.offer(&name, object, room);
        }
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
        let mut shard = self.shard_of(hash).lock();
        let names = self
            .disk
            .as_ref()
            .map(|disk| disk.remove_resource(resource.as_bytes()));
        let elsewhere = names.unwrap_or_default();
        let elsewhere = elsewhere.iter().filter(|name| !self.has(&shard, name));
        let elsewhere = elsewhere.count();
        let removed = shard.remove_resource(hash, Instant::now());
        drop(shard);
        self.gone(removed, elsewhere)
    }

    /// Removes all answers about resources that begin like this.
    pub fn remove_prefix(&self, prefix: &[u8]) -> usize {
        let mut elsewhere = 0;
        if let Some(disk) = &self.disk {
            disk.remove_prefix(prefix, |name| {
                let shard = disk::parts(name)
                    .map(|(primary, _)| self.shard_of(self.hasher.hash_one(resource_of(primary))));
                let is_there = shard.is_some_and(|shard| self.has(&shard.lock(), name));
                elsewhere += usize::from(!is_there);
            });
        }
        let remove = |shard: &Mutex<Shard>| shard.lock().remove_prefix(prefix, Instant::now());
        let mut removed = self.shards.iter().map(remove).sum();
        // From now on shards take nothing that was begun before. What they gave to the disk until
        // then goes, and what was read there again meanwhile.
        if let Some(disk) = &self.disk {
            disk.remove_prefix(prefix, |_| ());
            removed += self.shards.iter().map(remove).sum::<usize>();
        }
        self.gone(removed, elsewhere)
    }

    pub fn remove(&self, primary: &[u8], variance: Option<HashBinary>) -> bool {
        let key = self.hashed(EntryKey { primary, variance });
        let mut shard = self.shard(&key).lock();
        let removed = shard.remove(&key);
        let elsewhere = self
            .disk
            .as_ref()
            .is_some_and(|disk| disk.remove(&disk::name(primary, variance)));
        drop(shard);
        self.gone(usize::from(removed), usize::from(elsewhere && !removed)) > 0
    }

    fn has(&self, shard: &Shard, name: &[u8]) -> bool {
        disk::parts(name).is_some_and(|(primary, variance)| {
            shard.has(&self.hashed(EntryKey { primary, variance }))
        })
    }

    /// Whether a resource was changed after `since`, so that what was begun then is outdated.
    pub fn changed_since(&self, resource: &Resource, since: Instant) -> bool {
        let hash = self.hasher.hash_one(resource.as_bytes());
        self.shard_of(hash).lock().changed_since(hash, since)
    }

    fn evict_one(&self) -> bool {
        // In a small cache most shards are empty, or have only what is wanted: then all are asked,
        // once to take back the marks, and once more.
        let evicted = (0..SHARDS).any(|_| self.heavier_shard().lock().evict_one())
            || (0..2 * SHARDS).any(|turn| self.shards[turn % SHARDS].lock().evict_one());
        if evicted {
            self.metrics.evicted.inc();
            self.metrics.entries.dec();
        }
        evicted
    }

    /// The heavier one of two: so shards stay alike, and none keeps what is cold while others have
    /// to give up what is not.
    fn heavier_shard(&self) -> &Mutex<Shard> {
        let [one, other] = [(); 2].map(|()| &self.shards[fastrand::usize(..SHARDS)]);
        // One lock at a time: it may be the same shard twice.
        let weight = one.lock().bytes();
        let other_weight = other.lock().bytes();
        match weight >= other_weight {
            true => one,
            false => other,
        }
    }

    /// `elsewhere`: removed from the disk alone.
    fn gone(&self, removed: usize, elsewhere: usize) -> usize {
        self.metrics.removed.inc_by((removed + elsewhere) as u64);
        self.metrics
            .entries
            .sub(i64::try_from(removed).unwrap_or(i64::MAX));
        removed + elsewhere
    }

    pub fn hashed<'a>(&self, key: EntryKey<'a>) -> Hashed<'a> {
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
    pub fn shard(&self, key: &Hashed<'_>) -> &Mutex<Shard> {
        self.shard_of(key.resource)
    }

    fn shard_of(&self, resource: u64) -> &Mutex<Shard> {
        // The low bits choose the place inside the shard's tables.
        &self.shards[(resource >> 32) as usize % SHARDS]
    }
}

/// What an answer takes beside its body, in bytes.
pub fn size(primary: &[u8], head: &Head) -> usize {
    OVERHEAD + primary.len() + head.size()
}

#[async_trait]
impl Storage for Store {
    async fn lookup(
        &'static self,
        key: &CacheKey,
        _: &SpanHandle,
    ) -> Result<Option<(CacheMeta, HitHandler)>> {
        let (primary, variance) = (key.primary_key(), key.variance_bin());
        let object = match (self.find(primary, variance), &self.disk) {
            (None, Some(disk)) => self.find_on_disk(disk, primary, variance).await,
            (object, _) => object,
        };
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
        let entry = self.disk_entry(&hashed);
        let mut shard = self.shard(&hashed).lock();
        let Some(old) = shard.find(&hashed) else {
            return Ok(false);
        };
        let object = Arc::new(Object {
            head,
            body: Arc::clone(&old.body),
            _room: room,
        });
        self.offer(&object, entry);
        Ok(shard.replace(&hashed, object))
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync + 'static) {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::header;
    use pingora::{cache::trace::Span, http::ResponseHeader};

    use super::*;
    use crate::metrics::Metrics;

    fn store(max_bytes: usize) -> (&'static Store, Metrics) {
        let metrics = Metrics::new().unwrap();
        let store = Store::new(max_bytes, metrics.response_cache.clone());
        (Box::leak(Box::new(store)), metrics)
    }

    fn key(resource: &str, rest: &str) -> Vec<u8> {
        let mut key = u32::try_from(resource.len())
            .unwrap()
            .to_be_bytes()
            .to_vec();
        key.extend_from_slice(resource.as_bytes());
        key.extend_from_slice(rest.as_bytes());
        key
    }

    fn meta() -> CacheMeta {
        let mut header = ResponseHeader::build(200, None).unwrap();
        header.insert_header("x-a", "1").unwrap();
        let now = SystemTime::now();
        CacheMeta::new(now + Duration::from_secs(60), now, 0, 0, header)
    }

    fn span() -> SpanHandle {
        Span::inactive().handle()
    }

    /// Keeps a body; false: it was not kept.
    async fn fill(store: &'static Store, key: &[u8], parts: &[&'static [u8]]) -> bool {
        pour(store, key, parts).await;
        store.find(key, None).is_some()
    }

    /// Keeps a body, as Pingora does it.
    async fn pour(store: &'static Store, key: &[u8], parts: &[&'static [u8]]) {
        let name = CacheKey::new(key, "");
        let handle = span();
        let mut handler = store
            .get_miss_handler(&name, &meta(), &handle)
            .await
            .unwrap();
        for part in parts {
            let part = Bytes::from_static(part);
            handler.write_body(part, false).await.unwrap();
        }
        handler.finish().await.unwrap();
    }

    #[tokio::test]
    async fn a_body_is_kept_in_one_piece_and_handed_out_without_copying() {
        let (store, metrics) = store(1 << 20);
        let key = key("http://a/x", "r");
        assert!(fill(store, &key, &[b"abc", b"", b"defg"]).await);
        let object = store.find(&key, None).unwrap();
        assert_eq!(object.body.bytes, "abcdefg");
        assert_eq!(object.head.header.headers[header::CONTENT_LENGTH], "7");
        let name = CacheKey::new(&*key, "");
        let (meta, mut hit) = store.lookup(&name, &span()).await.unwrap().unwrap();
        assert_eq!(meta.headers()["x-a"], "1");
        let body = hit.read_body().await.unwrap().unwrap();
        assert_eq!(body.as_ptr(), object.body.bytes.as_ptr());
        assert!(hit.read_body().await.unwrap().is_none());
        hit.seek(2, Some(4)).unwrap();
        let part = hit.read_body().await.unwrap().unwrap();
        assert_eq!(part, "cd");
        assert_eq!(part.as_ptr(), body[2..].as_ptr());
        assert!(hit.seek(7, None).is_err());
        let bytes = usize::try_from(metrics.response_cache.bytes.get()).unwrap();
        assert_eq!(bytes, store.bound.used());
        assert!(store.remove(&key, None) && !store.remove(&key, None));
        // Somebody still reads.
        assert!(store.bound.used() > 0);
        drop((object, hit));
        assert_eq!(store.bound.used(), 0);
        assert_eq!(metrics.response_cache.entries.get(), 0);
    }

    #[tokio::test]
    async fn what_is_broken_off_or_too_large_is_not_kept() {
        static LARGE: [u8; 4096] = [0; 4096];
        let (store, _) = store(4096);
        let key = key("http://a/x", "r");
        assert!(!fill(store, &key, &[&LARGE, b"x"]).await);
        assert_eq!(store.bound.used(), 0);
        let name = CacheKey::new(&*key, "");
        let handle = span();
        let mut handler = store
            .get_miss_handler(&name, &meta(), &handle)
            .await
            .unwrap();
        handler
            .write_body(Bytes::from_static(b"half"), false)
            .await
            .unwrap();
        assert_eq!(store.bound.used(), 4);
        drop(handler);
        assert_eq!(store.bound.used(), 0);
        assert!(store.find(&key, None).is_none());
    }

    #[tokio::test]
    async fn what_is_wanted_stays_and_a_flood_pushes_out_itself() {
        static BODY: [u8; 1000] = [7; 1000];
        let (store, metrics) = store(2_000_000);
        let hot: Vec<_> = (0..20)
            .map(|number| key(&format!("http://a/hot{number}"), ""))
            .collect();
        for key in &hot {
            fill(store, key, &[&BODY]).await;
        }
        for number in 0..5000 {
            // Asked for once only, so never found.
            pour(store, &key(&format!("http://a/{number}"), ""), &[&BODY]).await;
            if number % 20 == 0 {
                for key in &hot {
                    assert!(store.find(key, None).is_some());
                }
            }
            assert!(store.bound.used() <= 2_000_000);
        }
        let metrics = &metrics.response_cache;
        let entries = u64::try_from(metrics.entries.get()).unwrap();
        assert_eq!(metrics.evicted.get() + entries, 5020);
        store.resize(50_000);
        assert!(store.bound.used() <= 50_000);
        store.resize(0);
        assert_eq!((store.bound.used(), metrics.entries.get()), (0, 0));
        assert!(!fill(store, &hot[0], &[&BODY]).await);
    }

    #[tokio::test]
    async fn a_change_removes_all_answers_about_a_resource_and_those_on_their_way() {
        let (store, _) = store(1 << 20);
        let resource = Resource::new(false, "a", "/x", None);
        let (ann, bob) = (key("http://a/x", "ann"), key("http://a/x", "bob"));
        let other = key("http://a/xy", "ann");
        for key in [&ann, &bob, &other] {
            assert!(fill(store, key, &[b"1"]).await);
        }
        let before = Instant::now();
        let name = CacheKey::new(&*ann, "");
        let handle = span();
        let under_way = store
            .get_miss_handler(&name, &meta(), &handle)
            .await
            .unwrap();
        assert!(!store.changed_since(&resource, before));
        assert_eq!(store.remove_resource(&resource), 2);
        assert!(store.changed_since(&resource, before));
        under_way.finish().await.unwrap();
        assert!(store.find(&ann, None).is_none() && store.find(&bob, None).is_none());
        assert!(store.find(&other, None).is_some());
        // What begins after the change is kept.
        assert!(fill(store, &ann, &[b"2"]).await);
        assert_eq!(store.remove_prefix(b"http://a/x"), 2);
    }

    #[tokio::test]
    async fn variants_and_new_metadata() {
        let (store, _) = store(1 << 20);
        let key = key("http://a/x", "");
        let body = || store.body(Bytes::from_static(b"b"), store.room(1).unwrap());
        let now = Instant::now();
        for variance in [None, Some([1; 16]), Some([2; 16])] {
            assert!(store.put(&key, variance, Head::of(&meta()), body(), now));
        }
        assert!(store.find(&key, Some([1; 16])).is_some());
        assert!(store.find(&key, Some([3; 16])).is_none());
        let mut name = CacheKey::new(&*key, "");
        name.set_variance_key([1; 16]);
        let mut new = meta();
        new.response_header_mut().insert_header("x-a", "2").unwrap();
        assert!(store.update_meta(&name, &new, &span()).await.unwrap());
        let of = |variance| store.find(&key, variance).unwrap();
        assert_eq!(of(Some([1; 16])).head.header.headers["x-a"], "2");
        assert_eq!(of(Some([2; 16])).head.header.headers["x-a"], "1");
        let resource = Resource::new(false, "a", "/x", None);
        assert_eq!(store.remove_resource(&resource), 3);
        assert!(!store.update_meta(&name, &new, &span()).await.unwrap());
        assert_eq!(store.bound.used(), 0);
    }
}
