//! The disk behind the memory of the response cache.
//!
//! What the memory keeps is written to the disk as well, by a thread that does nothing else, so that
//! it is there when the memory lets go of it. Who asks looks into the memory first. What the disk
//! does wrong makes the cache slower, never wrong.

mod folder;
mod form;
mod index;

use std::{
    io::{self, ErrorKind},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Semaphore;

pub use self::form::{decode, encode};
pub use self::index::{FileEntry, Found, Name, cost, name, parts};
use self::{
    folder::Folder,
    form::{Lengths, Seal, not_ours},
    index::{Doomed, Index, Job},
};
use super::{
    head::Head,
    room::{Bound, Room},
    store::Object,
};
use crate::metrics::DiskMetrics;

/// Files that are read at the same time, each on a thread that may block.
const READS: usize = 32;
/// Longest time for which a request waits for a file. Then it goes to its upstream.
const LONGEST_READ: Duration = Duration::from_secs(1);
/// How often what dead processes have left is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Faults are told in the log no more often than this; each is counted.
const QUIET: Duration = Duration::from_secs(60);
/// What a file takes on the disk is a multiple of this, in bytes.
const BLOCK: usize = 4096;

/// See the module.
pub struct Disk {
    index: Mutex<Index>,
    /// Tells the thread that there is something to do.
    wake: Condvar,
    folder: Folder,
    seal: Seal,
    /// Of the files.
    bound: Arc<Bound>,
    /// Of the whole cache: what waits holds a part of it, and so does the index.
    memory: Arc<Bound>,
    reads: Arc<Semaphore>,
    pub metrics: DiskMetrics,
    told: Mutex<Option<Instant>>,
}

/// An answer that was read from the disk.
pub struct Loaded {
    pub head: Head,
    pub body: Vec<u8>,
    /// For the body.
    pub room: Room,
}

enum Work {
    Remove(Doomed),
    Write(Job),
    Sweep,
}

impl Disk {
    /// `max_bytes`: for all files; `memory`: the bound of the cache.
    ///
    /// # Errors
    /// The folder cannot be used; there can be no more threads.
    pub fn open(
        path: &Path,
        max_bytes: usize,
        memory: Arc<Bound>,
        metrics: DiskMetrics,
    ) -> io::Result<Arc<Self>> {
        let disk = Arc::new(Self {
            index: Mutex::default(),
            wake: Condvar::new(),
            folder: Folder::open(path)?,
            seal: Seal::new()?,
            bound: Bound::new(max_bytes, metrics.bytes.clone()),
            memory,
            reads: Arc::new(Semaphore::new(READS)),
            metrics,
            told: Mutex::default(),
        });
        let thread = Arc::clone(&disk);
        std::thread::Builder::new()
            .name("response-cache".to_owned())
            .spawn(move || thread.work())?;
        Ok(disk)
    }

    /// Another bound, after a reload. What is too much goes soon after.
    pub fn resize(&self, max_bytes: usize) {
        self.bound.set_max(max_bytes);
        self.wake.notify_one();
    }

    /// Takes an answer to be written, instead of the one of this name before; `room`, if there is
    /// any, is for its place in the index.
    pub fn offer(&self, name: &Name, object: &Arc<Object>, room: Option<Room>) {
        let most = self.memory.max() / 4;
        let mut index = self.index.lock();
        let is_taken = match room {
            Some(room) => index.offer(name, object, room, most),
            None => {
                index.remove(name);
                false
            }
        };
        drop(index);
        self.wake.notify_one();
        if !is_taken {
            self.metrics.dropped.inc();
        }
    }

    pub fn find(&self, name: &[u8]) -> Option<Found> {
        self.index.lock().find(name)
    }

    /// Whether this file still is what stands under the name.
    pub fn is_current(&self, name: &[u8], file: FileEntry) -> bool {
        self.index.lock().is_current(name, file)
    }

    pub fn remove(&self, name: &[u8]) -> bool {
        let removed = self.index.lock().remove(name);
        self.wake.notify_one();
        removed
    }

    /// Removes all answers about a resource, and tells their names.
    pub fn remove_resource(&self, resource: &[u8]) -> Vec<Name> {
        let names = self.index.lock().remove_resource(resource);
        self.wake.notify_one();
        names
    }

    /// Removes all answers about resources that begin like this; `each` gets their names.
    pub fn remove_prefix(&self, prefix: &[u8], mut each: impl FnMut(&Name)) {
        let mut last = None;
        loop {
            // Others have the index in between.
            let names = self.index.lock().remove_prefix(prefix, &mut last);
            let Some(names) = names else { break };
            names.iter().for_each(&mut each);
        }
        self.wake.notify_one();
    }

    /// Reads a file; `room` is for its body. `None`: it cannot be read, or not in time.
    pub async fn read(
        self: &Arc<Self>,
        name: &Name,
        file: FileEntry,
        room: Room,
    ) -> Option<Loaded> {
        let reading = async {
            let permit = Arc::clone(&self.reads).acquire_owned().await.ok()?;
            let (disk, name) = (Arc::clone(self), Arc::clone(name));
            let load = move || {
                let loaded = disk.load(&name, file, room);
                drop(permit);
                loaded
            };
            tokio::task::spawn_blocking(load).await.ok()?
        };
        match tokio::time::timeout(LONGEST_READ, reading).await {
            Ok(loaded) => loaded,
            Err(_) => {
                self.metrics.read_faults.inc();
                self.tell(&ErrorKind::TimedOut.into(), "reading");
                None
            }
        }
    }

    fn load(&self, name: &Name, file: FileEntry, room: Room) -> Option<Loaded> {
        match self.open_file(name, file) {
            Ok((head, body)) => Some(Loaded { head, body, room }),
            Err(fault) => {
                let mut index = self.index.lock();
                // It may have been removed while it was looked for.
                if index.is_current(name, file) {
                    index.remove(name);
                    drop(index);
                    self.wake.notify_one();
                    self.metrics.read_faults.inc();
                    self.tell(&fault, "reading");
                }
                None
            }
        }
    }

    fn open_file(&self, name: &Name, file: FileEntry) -> io::Result<(Head, Vec<u8>)> {
        let FileEntry { number, lengths } = file;
        let (record, body) = self.folder.read(number, &self.seal, lengths)?;
        match decode(&record) {
            Some((found, head)) if *found == **name => Ok((head, body)),
            _ => Err(not_ours()),
        }
    }

    /// What the thread does, for as long as the process lives.
    fn work(&self) {
        let mut stuck = Vec::new();
        loop {
            match self.next() {
                Work::Remove(doomed) => stuck.extend(self.delete(doomed)),
                Work::Write(job) => stuck.extend(self.write(job)),
                Work::Sweep => {
                    let again = std::mem::take(&mut stuck).into_iter();
                    stuck = again.filter_map(|doomed| self.delete(doomed)).collect();
                    if let Err(fault) = self.folder.sweep() {
                        self.metrics.remove_faults.inc();
                        self.tell(&fault, "removing");
                    }
                }
            }
        }
    }

    fn next(&self) -> Work {
        let mut index = self.index.lock();
        loop {
            if let Some(doomed) = index.next_doomed() {
                return Work::Remove(doomed);
            }
            let is_over = self.bound.excess() > 0 || index.kept_cost() > self.memory.max() / 4;
            if let Some(doomed) = is_over.then(|| index.evict()).flatten() {
                return Work::Remove(doomed);
            }
            if let Some(job) = index.next_job() {
                return Work::Write(job);
            }
            if self.wake.wait_for(&mut index, SWEEP_EVERY).timed_out() {
                return Work::Sweep;
            }
        }
    }

    /// Returns the files that had to make room and cannot be removed.
    fn write(&self, job: Job) -> Vec<Doomed> {
        let mut stuck = Vec::new();
        let object = Arc::clone(&job.object);
        let Some(record) = encode(&job.name, &object.head) else {
            self.index.lock().given_up(&job);
            self.metrics.dropped.inc();
            return stuck;
        };
        let body = &object.body.bytes;
        let lengths = Lengths {
            record: record.len(),
            body: body.len(),
        };
        let Some(room) = self.room(lengths, &mut stuck) else {
            self.index.lock().given_up(&job);
            self.metrics.dropped.inc();
            return stuck;
        };
        match self.folder.write(job.number, &self.seal, &record, body) {
            Ok(()) => self.index.lock().written(job, lengths, room),
            Err(fault) => {
                self.index.lock().given_up(&job);
                self.metrics.write_faults.inc();
                self.tell(&fault, "writing");
            }
        }
        stuck
    }

    fn room(&self, lengths: Lengths, stuck: &mut Vec<Doomed>) -> Option<Room> {
        let bytes = lengths.file().next_multiple_of(BLOCK);
        // Not for the sake of one that is too large anyway.
        if bytes > self.bound.max() {
            return None;
        }
        loop {
            if let Some(room) = self.bound.take(bytes) {
                return Some(room);
            }
            let doomed = {
                let mut index = self.index.lock();
                index.next_doomed().or_else(|| index.evict())?
            };
            stuck.extend(self.delete(doomed));
        }
    }

    /// Returns the file if it is still there: then its bytes still count.
    fn delete(&self, doomed: Doomed) -> Option<Doomed> {
        let fault = self.folder.remove(doomed.number).err()?;
        self.metrics.remove_faults.inc();
        self.tell(&fault, "removing");
        Some(doomed)
    }

    fn tell(&self, fault: &io::Error, doing: &'static str) {
        let now = Instant::now();
        let mut told = self.told.lock();
        if told.is_none_or(|before| now.duration_since(before) >= QUIET) {
            *told = Some(now);
            tracing::warn!(%fault, doing, "a fault of the response cache's disk; more are only counted");
        }
    }
}
