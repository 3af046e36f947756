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
