//! What is on the disk, and what waits to be written: in memory, without touching a file.
//!
//! For each name there is one answer at most, and it is the newest that was offered, wherever that
//! has got to. Whoever takes a name out takes it out of everything.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Included, Unbounded},
    sync::Arc,
};

use pingora::cache::key::HashBinary;

use super::form::Lengths;
use crate::response_cache::{key::resource_of, room::Room, store::Object};

/// What an entry costs beside its name: nodes of two trees, counts, and a file's number.
const OVERHEAD: usize = 200;
/// Most answers that wait to be written.
const MAX_WAITING: usize = 1024;
/// Files that are spared in a row because they were asked for. Others wait for the index meanwhile.
const MAX_SPARED: usize = 64;
/// Names that are looked at under one lock when many are removed.
const AT_ONCE: usize = 1000;

/// What tells answers apart: the key, and what tells its variants apart. It begins with the key,
/// so that names about one resource stand together.
pub type Name = Arc<[u8]>;

pub fn name(primary: &[u8], variance: Option<HashBinary>) -> Name {
    let variance = variance.as_ref().map_or(&[][..], |variance| variance);
    let is_variant = u8::from(!variance.is_empty());
    [primary, variance, &[is_variant]].concat().into()
}

/// The parts of a name.
pub fn parts(name: &[u8]) -> Option<(&[u8], Option<HashBinary>)> {
    match name.split_last()? {
        (0, primary) => Some((primary, None)),
        (_, rest) => {
            let (primary, variance) = rest.split_last_chunk()?;
            Some((primary, Some(*variance)))
        }
    }
}

/// What an entry of this key takes of the cache's memory at most, in bytes.
pub fn cost(primary: &[u8]) -> usize {
    OVERHEAD + primary.len() + size_of::<HashBinary>() + 1
}

/// See the module.
#[derive(Default)]
pub struct Index {
    places: BTreeMap<Name, Place>,
    /// By their numbers, the oldest first.
    waiting: BTreeMap<u64, Waiting>,
    waiting_bytes: usize,
    writing: Option<(u64, Arc<Object>)>,
    /// By their numbers; who was asked for gets a later one instead of going.
    kept: BTreeMap<u64, Kept>,
    kept_cost: usize,
    doomed: Vec<Doomed>,
    last: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting(u64),
    Writing(u64),
    Kept(u64),
}

struct Waiting {
    name: Name,
    object: Arc<Object>,
    memory: Room,
}

/// An answer that is to be written.
pub struct Job {
    /// Of the file, and of nothing else ever.
    pub number: u64,
    pub name: Name,
    pub object: Arc<Object>,
    memory: Room,
}

struct Kept {
    name: Name,
    file: FileEntry,
    is_wanted: bool,
    disk: Room,
    memory: Room,
}

/// A file that can be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileEntry {
    pub number: u64,
    pub lengths: Lengths,
}

/// A file that nobody will ask for any more. Its bytes count until it is gone.
pub struct Doomed {
    pub number: u64,
    _disk: Room,
    _memory: Room,
}

/// Where an answer is.
pub enum Found {
    /// On its way to the disk.
    Memory(Arc<Object>),
    Disk(FileEntry),
}

impl Index {
    /// Takes an answer, instead of the one of this name before. False: too many wait, of `most`
    /// bytes together; then there is none of this name.
    pub fn offer(&mut self, name: &Name, object: &Arc<Object>, memory: Room, most: usize) -> bool {
        self.remove(name);
        let bytes = self.waiting_bytes + object.size();
        let is_full = bytes > most || self.waiting.len() >= MAX_WAITING;
        if is_full && !self.waiting.is_empty() {
            return false;
        }
        self.waiting_bytes = bytes;
        let number = self.next_number();
        let waiting = Waiting {
            name: Arc::clone(name),
            object: Arc::clone(object),
            memory,
        };
        self.waiting.insert(number, waiting);
        self.places.insert(Arc::clone(name), Place::Waiting(number));
        true
    }

    pub fn find(&mut self, name: &[u8]) -> Option<Found> {
        match self.places.get(name)? {
            Place::Waiting(number) => {
                let waiting = self.waiting.get(number)?;
                Some(Found::Memory(Arc::clone(&waiting.object)))
            }
            Place::Writing(_) => {
                let (_, object) = self.writing.as_ref()?;
                Some(Found::Memory(Arc::clone(object)))
            }
            Place::Kept(number) => {
                let kept = self.kept.get_mut(number)?;
                kept.is_wanted = true;
                Some(Found::Disk(kept.file))
            }
        }
    }

    /// Whether this file still is what stands under the name.
    pub fn is_current(&self, name: &[u8], file: FileEntry) -> bool {
        let Some(Place::Kept(number)) = self.places.get(name) else {
            return false;
        };
        self.kept.get(number).is_some_and(|kept| kept.file == file)
    }

    /// The next answer to write, if one waits.
    pub fn next_job(&mut self) -> Option<Job> {
        let (number, waiting) = self.waiting.pop_first()?;
        self.waiting_bytes -= waiting.object.size();
        let Waiting {
            name,
            object,
            memory,
        } = waiting;
        self.places
            .insert(Arc::clone(&name), Place::Writing(number));
        self.writing = Some((number, Arc::clone(&object)));
        Some(Job {
            number,
            name,
            object,
            memory,
        })
    }

    /// A job is done. If its name was taken out meanwhile, the file goes again.
    pub fn written(&mut self, job: Job, lengths: Lengths, disk: Room) {
        self.writing = None;
        let Job {
            number,
            name,
            memory,
            ..
        } = job;
        let file = FileEntry { number, lengths };
        if self.places.get(&name) != Some(&Place::Writing(number)) {
            self.doomed.push(Doomed {
                number,
                _disk: disk,
                _memory: memory,
            });
            return;
        }
        self.places.insert(Arc::clone(&name), Place::Kept(number));
        self.kept_cost += memory.bytes();
        let kept = Kept {
            name,
            file,
            is_wanted: false,
            disk,
            memory,
        };
        self.kept.insert(number, kept);
    }

    /// A job was not done.
    pub fn given_up(&mut self, job: &Job) {
        self.writing = None;
        if self.places.get(&job.name) == Some(&Place::Writing(job.number)) {
            self.places.remove(&job.name);
        }
    }

    /// Gives up the oldest file that nobody asked for since it would last have been given up.
    pub fn evict(&mut self) -> Option<Doomed> {
        for spared in 0.. {
            let (_, mut kept) = self.kept.pop_first()?;
            if std::mem::take(&mut kept.is_wanted) && spared < MAX_SPARED {
                let number = self.next_number();
                self.places
                    .insert(Arc::clone(&kept.name), Place::Kept(number));
                self.kept.insert(number, kept);
                continue;
            }
            self.places.remove(&kept.name);
            return Some(self.doom(kept));
        }
        None
    }

    /// What the entries of files take of the cache's memory, in bytes.
    pub fn kept_cost(&self) -> usize {
        self.kept_cost
    }

    pub fn next_doomed(&mut self) -> Option<Doomed> {
        self.doomed.pop()
    }

    pub fn remove(&mut self, name: &[u8]) -> bool {
        let Some(place) = self.places.remove(name) else {
            return false;
        };
        match place {
            Place::Waiting(number) => {
                if let Some(waiting) = self.waiting.remove(&number) {
                    self.waiting_bytes -= waiting.object.size();
                }
            }
            // Whoever writes it finds out.
            Place::Writing(_) => {}
            Place::Kept(number) => {
                if let Some(kept) = self.kept.remove(&number) {
                    let doomed = self.doom(kept);
                    self.doomed.push(doomed);
                }
            }
        }
        true
    }

    /// Removes all answers about a resource, and tells their names.
    pub fn remove_resource(&mut self, resource: &[u8]) -> Vec<Name> {
        let length = u32::try_from(resource.len()).unwrap_or(u32::MAX);
        let begin: Name = [&length.to_be_bytes(), resource].concat().into();
        let names: Vec<Name> = self
            .places
            .range((Included(Arc::clone(&begin)), Unbounded))
            .map(|(name, _)| Arc::clone(name))
            .take_while(|name| name.starts_with(&begin))
            .collect();
        for name in &names {
            self.remove(name);
        }
        names
    }

    /// Removes some of the answers about resources that begin like this: among the next names
    /// behind `last`, which is put forward. `None`: that was all.
    pub fn remove_prefix(&mut self, prefix: &[u8], last: &mut Option<Name>) -> Option<Vec<Name>> {
        let from = last.take().map_or(Unbounded, Excluded);
        let names: Vec<Name> = self
            .places
            .range((from, Unbounded))
            .take(AT_ONCE)
            .map(|(name, _)| Arc::clone(name))
            .collect();
        *last = Some(Arc::clone(names.last()?));
        let is_meant = |name: &Name| resource_of(name).starts_with(prefix);
        let names: Vec<Name> = names.into_iter().filter(is_meant).collect();
        for name in &names {
            self.remove(name);
        }
        Some(names)
    }

    fn doom(&mut self, kept: Kept) -> Doomed {
        self.kept_cost -= kept.memory.bytes();
        Doomed {
            number: kept.file.number,
            _disk: kept.disk,
            _memory: kept.memory,
        }
    }

    fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use pingora::{cache::CacheMeta, http::ResponseHeader};
    use prometheus::IntGauge;

    use super::*;
    use crate::response_cache::{head::Head, room::Bound, store::Body};

    struct World {
        index: Index,
        memory: Arc<Bound>,
        disk: Arc<Bound>,
    }

    const MOST: usize = 10_000;

    fn label(resource: &str, rest: &str) -> Name {
        let length = u32::try_from(resource.len()).unwrap();
        let key = [&length.to_be_bytes(), resource.as_bytes(), rest.as_bytes()].concat();
        name(&key, None)
    }

    impl World {
        fn new() -> Self {
            let bound = || Bound::new(1 << 20, IntGauge::new("bytes", "bytes").unwrap());
            Self {
                index: Index::default(),
                memory: bound(),
                disk: bound(),
            }
        }

        fn object(&self, length: usize) -> Arc<Object> {
            let now = SystemTime::now();
            let header = ResponseHeader::build(200, None).unwrap();
            let room = || self.memory.take(0).unwrap();
            Arc::new(Object {
                head: Head::of(&CacheMeta::new(now, now, 0, 0, header)),
                body: Arc::new(Body {
                    bytes: Bytes::from(vec![0; length]),
                    _room: room(),
                }),
                _room: room(),
            })
        }

        fn offer(&mut self, name: &Name, length: usize) -> bool {
            let (object, room) = (self.object(length), self.memory.take(300).unwrap());
            self.index.offer(name, &object, room, MOST)
        }

        fn write(&mut self) -> Option<u64> {
            let job = self.index.next_job()?;
            let number = job.number;
            self.finish(job);
            Some(number)
        }

        fn finish(&mut self, job: Job) {
            let lengths = Lengths { record: 9, body: 9 };
            let room = self.disk.take(4096).unwrap();
            self.index.written(job, lengths, room);
        }

        fn file(&mut self, name: &Name) -> Option<FileEntry> {
            match self.index.find(name) {
                Some(Found::Disk(file)) => Some(file),
                _ => None,
            }
        }
    }

    #[test]
    fn names_have_two_parts() {
        for (primary, variance) in [
            (&b"key"[..], None),
            (b"key", Some([1; 16])),
            (b"", None),
            (b"ends in one \x01", None),
        ] {
            assert_eq!(parts(&name(primary, variance)), Some((primary, variance)));
        }
        let longer = [&b"key"[..], &[1; 16]].concat();
        assert_ne!(name(b"key", Some([1; 16])), name(&longer, None));
        assert!(parts(b"").is_none() && parts(b"\x01").is_none());
    }

    #[test]
    fn an_answer_waits_is_written_and_is_found_all_the_while() {
        let mut world = World::new();
        let name = label("http://a/x", "");
        assert!(world.offer(&name, 100));
        assert!(matches!(world.index.find(&name), Some(Found::Memory(_))));
        let job = world.index.next_job().unwrap();
        assert!(matches!(world.index.find(&name), Some(Found::Memory(_))));
        world.finish(job);
        let file = world.file(&name).unwrap();
        assert!(world.index.is_current(&name, file));
        assert_eq!((world.memory.used(), world.index.kept_cost()), (300, 300));
        assert!(world.index.remove(&name));
        assert!(!world.index.is_current(&name, file));
        assert_eq!(world.disk.used(), 4096);
        assert_eq!(world.index.next_doomed().unwrap().number, file.number);
        assert_eq!((world.disk.used(), world.memory.used()), (0, 0));
        assert_eq!(world.index.kept_cost(), 0);
    }

    #[test]
    fn the_newest_counts_wherever_the_older_one_has_got_to() {
        let mut world = World::new();
        let name = label("http://a/x", "");
        world.offer(&name, 1);
        world.offer(&name, 2);
        let old = world.index.next_job().unwrap();
        assert_eq!(old.object.body.bytes.len(), 2);
        world.offer(&name, 3);
        world.finish(old);
        assert!(world.index.next_doomed().is_some());
        world.write().unwrap();
        assert!(world.index.next_job().is_none());
        let file = world.file(&name).unwrap();
        world.offer(&name, 4);
        assert!(!world.index.is_current(&name, file));
        // What is taken out while it is written does not come back.
        let job = world.index.next_job().unwrap();
        assert!(world.index.remove(&name));
        world.finish(job);
        assert!(world.index.find(&name).is_none());
        world.offer(&name, 5);
        let job = world.index.next_job().unwrap();
        world.index.given_up(&job);
        assert!(world.index.find(&name).is_none());
    }

    #[test]
    fn a_full_queue_takes_no_more_and_keeps_nothing_old() {
        let mut world = World::new();
        let name = label("http://a/x", "");
        // One may be larger than the queue.
        assert!(world.offer(&name, 2 * MOST));
        let other = label("http://a/y", "");
        assert!(!world.offer(&other, 1));
        assert!(world.index.find(&other).is_none());
        world.write().unwrap();
        assert!(world.offer(&other, MOST / 2));
        assert!(!world.offer(&name, MOST));
        assert!(world.index.find(&name).is_none());
        world.write().unwrap();
        for number in 0..MAX_WAITING {
            assert!(world.offer(&label("http://a/z", &number.to_string()), 0));
            world.index.waiting_bytes = 0;
        }
        assert!(!world.offer(&name, 0));
    }

    #[test]
    fn the_oldest_goes_first_but_not_if_it_was_asked_for() {
        let mut world = World::new();
        let names: Vec<_> = (0..3)
            .map(|number| label("http://a/", &number.to_string()))
            .collect();
        let mut numbers = Vec::new();
        for name in &names {
            world.offer(name, 1);
            numbers.push(world.write().unwrap());
        }
        world.file(&names[0]).unwrap();
        for expected in [1, 2, 0] {
            assert_eq!(world.index.evict().unwrap().number, numbers[expected]);
            assert!(world.file(&names[expected]).is_none());
        }
        assert!(world.index.evict().is_none());
        assert_eq!((world.memory.used(), world.disk.used()), (0, 0));
        // Where all were asked for, one has to go soon all the same.
        for number in 0..2 * MAX_SPARED {
            let name = label("http://a/many", &number.to_string());
            world.offer(&name, 1);
            world.write().unwrap();
            world.file(&name).unwrap();
        }
        let before = world.index.last;
        assert!(world.index.evict().is_some());
        assert_eq!(world.index.last - before, MAX_SPARED as u64);
    }

    #[test]
    fn removed_by_resource_and_by_prefix() {
        let mut world = World::new();
        let fill = |world: &mut World| {
            for resource in ["http://a/x", "http://a/xy", "http://b/x"] {
                for rest in ["ann", "bob"] {
                    assert!(world.offer(&label(resource, rest), 1));
                }
                world.write().unwrap();
            }
        };
        fill(&mut world);
        assert_eq!(world.index.remove_resource(b"http://a/x").len(), 2);
        assert_eq!(world.index.places.len(), 4);
        fill(&mut world);
        for (prefix, expected) in [(&b"http://a/"[..], 4), (b"", 2), (b"", 0)] {
            let (mut last, mut removed) = (None, 0);
            while let Some(names) = world.index.remove_prefix(prefix, &mut last) {
                removed += names.len();
            }
            assert_eq!(removed, expected);
        }
        assert!(world.index.next_job().is_none());
    }
}
