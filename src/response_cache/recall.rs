//! From the disk back into the memory.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use pingora::cache::key::HashBinary;

use super::{
    disk::{self, Disk, FileEntry, Found, Loaded, Name},
    shard::{EntryKey, Hashed},
    store::{Object, Store, size},
};

impl Store {
    /// What the memory does not have, if the disk has it.
    pub async fn find_on_disk(
        &self,
        disk: &Arc<Disk>,
        primary: &[u8],
        variance: Option<HashBinary>,
    ) -> Option<Arc<Object>> {
        let since = Instant::now();
        let name = disk::name(primary, variance);
        let file = match disk.find(&name)? {
            Found::Memory(object) => return Some(object),
            Found::Disk(file) => file,
        };
        let room = self.room(file.lengths.body)?;
        let loaded = disk.read(&name, file, room).await?;
        let object = self.object(primary, loaded)?;
        let key = self.hashed(EntryKey { primary, variance });
        let object = self.take_back(disk, &key, (&name, file), object, since)?;
        disk.metrics.hits.inc();
        Some(object)
    }

    fn object(&self, primary: &[u8], loaded: Loaded) -> Option<Arc<Object>> {
        let Loaded { head, body, room } = loaded;
        let room_of_head = self.room(size(primary, &head))?;
        Some(Arc::new(Object {
            head,
            body: self.body(Bytes::from(body), room),
            _room: room_of_head,
        }))
    }

    /// Puts into the memory what was read, unless it was changed or replaced while it was read.
    fn take_back(
        &self,
        disk: &Disk,
        key: &Hashed<'_>,
        (name, file): (&Name, FileEntry),
        object: Arc<Object>,
        since: Instant,
    ) -> Option<Arc<Object>> {
        let mut shard = self.shard(key).lock();
        // Somebody else was faster, perhaps with a newer one.
        if let Some(there) = shard.find(key) {
            return Some(there);
        }
        let is_kept = disk.is_current(name, file) && shard.put(key, Arc::clone(&object), since);
        drop(shard);
        if is_kept {
            self.metrics.entries.inc();
        }
        is_kept.then_some(object)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::PathBuf,
        time::{Duration, SystemTime},
    };

    use pingora::{cache::CacheMeta, http::ResponseHeader};

    use super::*;
    use crate::{
        metrics::Metrics,
        response_cache::{Resource, head::Head},
    };

    struct World {
        store: Store,
        folder: PathBuf,
        key: Vec<u8>,
    }

    impl World {
        fn new(name: &str) -> Self {
            let name = format!("portcullis-recall-{name}-{}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            let metrics = Metrics::new().unwrap().response_cache.clone();
            let store = Store::new(1 << 20, metrics);
            Self {
                store: store.with_disk(&folder, 1 << 20).unwrap(),
                folder,
                key: [&b"\0\0\0\x0a"[..], b"http://a/x"].concat(),
            }
        }

        fn hashed(&self) -> Hashed<'_> {
            self.store.hashed(EntryKey {
                primary: &self.key,
                variance: None,
            })
        }

        fn put(&self, body: &'static [u8]) {
            let now = SystemTime::now();
            let header = ResponseHeader::build(200, None).unwrap();
            let head = Head::of(&CacheMeta::new(now, now, 0, 0, header));
            let room = self.store.room(body.len()).unwrap();
            let body = self.store.body(Bytes::from_static(body), room);
            assert!(self.store.put(&self.key, None, head, body, Instant::now()));
        }

        /// Out of the memory, once it is on the disk.
        fn put_away(&self) -> (Name, FileEntry) {
            let name = disk::name(&self.key, None);
            let disk = self.store.disk.as_ref().unwrap();
            let deadline = Instant::now() + Duration::from_secs(20);
            let file = loop {
                match disk.find(&name) {
                    Some(Found::Disk(file)) => break file,
                    _ => assert!(Instant::now() < deadline, "it was not written"),
                }
                std::thread::yield_now();
            };
            let hashed = self.hashed();
            assert!(self.store.shard(&hashed).lock().remove(&hashed));
            (name, file)
        }

        async fn recall(&self) -> Option<Bytes> {
            let disk = self.store.disk.as_ref().unwrap();
            let object = self.store.find_on_disk(disk, &self.key, None).await?;
            Some(object.body.bytes.clone())
        }

        /// What is found by somebody who had read the file before `change`.
        async fn after(&self, change: impl FnOnce()) -> Option<Bytes> {
            let since = Instant::now();
            let (name, file) = self.put_away();
            let disk = self.store.disk.as_ref().unwrap();
            let room = self.store.room(file.lengths.body)?;
            let loaded = disk.read(&name, file, room).await.unwrap();
            change();
            let object = self.store.object(&self.key, loaded)?;
            let hashed = self.hashed();
            let taken = self
                .store
                .take_back(disk, &hashed, (&name, file), object, since);
            Some(taken?.body.bytes.clone())
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }

    #[tokio::test]
    async fn what_was_put_away_comes_back() {
        let world = World::new("back");
        assert!(world.recall().await.is_none());
        world.put(b"one");
        world.put_away();
        assert_eq!(world.recall().await.unwrap(), "one");
        assert!(world.store.find(&world.key, None).is_some());
        assert_eq!(world.after(|| ()).await.unwrap(), "one");
    }

    #[tokio::test]
    async fn what_was_changed_while_it_was_read_does_not() {
        let world = World::new("changed");
        let resource = Resource::new(false, "a", "/x", None);
        let purge = || assert_eq!(world.store.remove_resource(&resource), 1);
        let below = || assert_eq!(world.store.remove_prefix(b"http://a/"), 1);
        let forget = || assert!(world.store.remove(&world.key, None));
        for change in [&purge as &dyn Fn(), &below, &forget] {
            world.put(b"old");
            assert!(world.after(change).await.is_none());
            assert!(world.store.find(&world.key, None).is_none());
            assert!(world.recall().await.is_none());
        }
        world.put(b"old");
        assert_eq!(world.after(|| world.put(b"new")).await.unwrap(), "new");
        world.put_away();
        assert_eq!(world.recall().await.unwrap(), "new");
    }
}
