//! Rows of one kind by their keys, each with the time of the last word about it.

use std::{
    borrow::Borrow,
    hash::{BuildHasher, Hash},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};
use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};

use crate::domain::Millis;

/// Removals that are remembered, at most.
const MAX_GONE: usize = 100_000;

type Shard<K, V> = RwLock<HashTable<Slot<K, V>>>;

/// Rows in shards, so that nobody waits for long.
pub struct Shelf<K, V> {
    shards: Box<[Shard<K, V>]>,
    random: DefaultHashBuilder,
    /// Everything up to here is known: a row that is not there was not there then.
    floor: AtomicU64,
    lists: Mutex<List>,
    live: AtomicUsize,
    gone: AtomicUsize,
}

/// The last list that came, or is coming.
#[derive(Default)]
pub struct List {
    number: u8,
    /// Of the last one that was complete.
    at: Millis,
}

impl List {
    pub fn source(&self) -> Source {
        Source::List(self.number)
    }
}

struct Slot<K, V> {
    at: Millis,
    key: K,
    /// `None`: it was removed.
    value: Option<V>,
    /// The list that it came with.
    from: Source,
}

/// Where a row is, if it is there. Nobody writes into the shard meanwhile.
pub struct Open<'s, K, V, Q: ?Sized> {
    key: &'s Q,
    hash: u64,
    shard: RwLockReadGuard<'s, HashTable<Slot<K, V>>>,
}

impl<K: Borrow<Q>, V, Q: Eq + ?Sized> Open<'_, K, V, Q> {
    pub fn get(&self) -> Option<&V> {
        let is_it = |slot: &Slot<K, V>| slot.key.borrow() == self.key;
        self.shard.find(self.hash, is_it)?.value.as_ref()
    }
}

/// What a row came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Change,
    /// A list, by its number.
    List(u8),
}

/// What became of a word about a row.
#[derive(Debug, PartialEq, Eq)]
pub enum Written<V> {
    /// Something newer is known.
    Ignored,
    /// It counts; what was there before.
    Done(Option<V>),
}

impl<K: Hash + Eq, V: Ord> Shelf<K, V> {
    pub fn new(shards: usize) -> Self {
        Self {
            shards: (0..shards).map(|_| RwLock::default()).collect(),
            random: DefaultHashBuilder::default(),
            floor: AtomicU64::new(0),
            lists: Mutex::default(),
            live: AtomicUsize::new(0),
            gone: AtomicUsize::new(0),
        }
    }

    /// Rows that are there.
    pub fn len(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// The place of a row, held for reading.
    pub fn open<'s, Q>(&'s self, key: &'s Q) -> Open<'s, K, V, Q>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.random.hash_one(key);
        let shard = self.shard(hash).read();
        Open { key, hash, shard }
    }

    /// Reads all rows with the hash of `key`, each with the time of the last word about it. Without a
    /// value it was removed then.
    pub fn alike<R>(
        &self,
        key: &K,
        read: impl FnOnce(&mut dyn Iterator<Item = (&K, Option<&V>, Millis)>) -> R,
    ) -> R {
        let hash = self.random.hash_one(key);
        let shard = self.shard(hash).read();
        let mut rows = shard
            .iter_hash(hash)
            .map(|slot| (&slot.key, slot.value.as_ref(), slot.at));
        read(&mut rows)
    }

    /// When the row was removed, if it was.
    pub fn removed_at(&self, key: &K) -> Option<Millis> {
        let hash = self.random.hash_one(key);
        let shard = self.shard(hash).read();
        let slot = shard.find(hash, |slot| slot.key == *key)?;
        slot.value.is_none().then_some(slot.at)
    }

    /// The row was `value` at the time `at`.
    pub fn put(&self, key: K, value: V, at: Millis, from: Source) -> Written<V> {
        let hash = self.random.hash_one(&key);
        let mut shard = self.shard(hash).write();
        let hasher = |slot: &Slot<K, V>| self.random.hash_one(&slot.key);
        match shard.entry(hash, |slot| slot.key == key, hasher) {
            Entry::Occupied(mut slot) => {
                let slot = slot.get_mut();
                if !slot.yields_to(&value, at, from) {
                    return Written::Ignored;
                }
                (slot.at, slot.from) = (at, from);
                let before = slot.value.replace(value);
                if before.is_none() {
                    self.gone.fetch_sub(1, Ordering::Relaxed);
                    self.live.fetch_add(1, Ordering::Relaxed);
                }
                Written::Done(before)
            }
            Entry::Vacant(slot) => {
                let floor = self.floor.load(Ordering::Relaxed);
                let is_news = match from {
                    Source::Change => at > floor,
                    Source::List(_) => at >= floor,
                };
                if !is_news {
                    return Written::Ignored;
                }
                slot.insert(Slot {
                    at,
                    key,
                    value: Some(value),
                    from,
                });
                self.live.fetch_add(1, Ordering::Relaxed);
                Written::Done(None)
            }
        }
    }

    /// The row was removed at the time `at`. That is remembered, since an older word may come later.
    pub fn remove(&self, key: K, at: Millis) -> Written<V> {
        let hash = self.random.hash_one(&key);
        let mut shard = self.shard(hash).write();
        let hasher = |slot: &Slot<K, V>| self.random.hash_one(&slot.key);
        let before = match shard.entry(hash, |slot| slot.key == key, hasher) {
            Entry::Occupied(mut slot) => {
                let slot = slot.get_mut();
                if at < slot.at || (at == slot.at && slot.from != Source::Change) {
                    return Written::Ignored;
                }
                (slot.at, slot.from) = (at, Source::Change);
                let before = slot.value.take();
                if before.is_some() {
                    self.live.fetch_sub(1, Ordering::Relaxed);
                    self.gone.fetch_add(1, Ordering::Relaxed);
                }
                before
            }
            Entry::Vacant(slot) => {
                if at <= self.floor.load(Ordering::Relaxed) {
                    return Written::Ignored;
                }
                slot.insert(Slot {
                    at,
                    key,
                    value: None,
                    from: Source::Change,
                });
                self.gone.fetch_add(1, Ordering::Relaxed);
                None
            }
        };
        drop(shard);
        if self.gone.load(Ordering::Relaxed) > MAX_GONE {
            self.forget_older_half();
        }
        Written::Done(before)
    }

    /// Begins a list that the source began to give at `at`; `None`: a later one is known.
    pub fn begin(&self, at: Millis) -> Option<MutexGuard<'_, List>> {
        let mut list = self.lists.lock();
        if at < list.at {
            return None;
        }
        list.number = list.number.wrapping_add(1);
        Some(list)
    }

    /// The list is complete: what is not in it, and not newer, is gone. Gives the number of those.
    pub fn finish(&self, list: &mut List, at: Millis, mut gone: impl FnMut(&V)) -> usize {
        list.at = at;
        let from = list.source();
        // First, so that no older change comes in behind the sweep.
        self.floor.fetch_max(at, Ordering::Relaxed);
        let mut swept = 0;
        for shard in &self.shards {
            let mut shard = shard.write();
            shard.retain(|slot| {
                // Numbers of lists come again; the time tells those apart.
                let is_in_list = slot.at == at && slot.from == from && slot.value.is_some();
                let stays = slot.at > at || is_in_list;
                match &slot.value {
                    Some(value) if !stays => {
                        swept += 1;
                        gone(value);
                    }
                    None if !stays => {
                        self.gone.fetch_sub(1, Ordering::Relaxed);
                    }
                    _ => {}
                }
                stays
            });
            if shard.len() < shard.capacity() / 4 {
                shard.shrink_to_fit(|slot| self.random.hash_one(&slot.key));
            }
        }
        self.live.fetch_sub(swept, Ordering::Relaxed);
        swept
    }

    /// Reads all rows.
    #[cfg(test)]
    pub fn for_each(&self, mut read: impl FnMut(&K, &V)) {
        for shard in &self.shards {
            for slot in shard.read().iter() {
                if let Some(value) = &slot.value {
                    read(&slot.key, value);
                }
            }
        }
    }

    /// There are too many removals to remember. An old word about one that is forgotten must not
    /// bring the row back, so all rows that are not there have been removed from now on.
    fn forget_older_half(&self) {
        let Some(_alone) = self.lists.try_lock() else {
            return;
        };
        let mut times = Vec::new();
        for shard in &self.shards {
            let removals = shard.read();
            let removals = removals.iter().filter(|slot| slot.value.is_none());
            times.extend(removals.map(|slot| slot.at));
        }
        if times.is_empty() {
            return;
        }
        let middle = times.len() / 2;
        let (_, &mut middle, _) = times.select_nth_unstable(middle);
        self.floor.fetch_max(middle, Ordering::Relaxed);
        for shard in &self.shards {
            shard.write().retain(|slot| {
                let stays = slot.value.is_some() || slot.at > middle;
                if !stays {
                    self.gone.fetch_sub(1, Ordering::Relaxed);
                }
                stays
            });
        }
    }

    fn shard(&self, hash: u64) -> &Shard<K, V> {
        // The table itself takes the lowest bits and the highest seven.
        let part = (hash >> 33) & 0xff_ffff;
        #[allow(clippy::cast_possible_truncation)] // less than the number of shards
        let position = ((part * self.shards.len() as u64) >> 24) as usize;
        &self.shards[position]
    }
}

impl<K, V: Ord> Slot<K, V> {
    /// Whether a word about the row is newer than this one. Of two changes at the same time the one
    /// counts that allows less, in whatever order they come; a list was asked for after them.
    fn yields_to(&self, value: &V, at: Millis, from: Source) -> bool {
        if at != self.at {
            return at > self.at;
        }
        match (from, self.from) {
            (Source::List(_), _) => true,
            (Source::Change, Source::List(_)) => false,
            (Source::Change, Source::Change) => {
                self.value.as_ref().is_some_and(|before| value > before)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removals_are_bounded_and_what_is_forgotten_stays_removed() {
        let shelf: Shelf<u32, u8> = Shelf::new(16);
        for id in 0..150_000 {
            shelf.remove(id, 1000 + u64::from(id));
        }
        assert!(shelf.gone.load(Ordering::Relaxed) <= MAX_GONE);
        assert_eq!(shelf.put(0, 1, 999, Source::Change), Written::Ignored);
        assert_eq!(
            shelf.put(149_999, 1, 2000, Source::Change),
            Written::Ignored
        );
        assert_eq!(
            shelf.put(0, 1, 200_000, Source::Change),
            Written::Done(None)
        );
        assert_eq!(shelf.len(), 1);
    }

    #[test]
    fn a_list_makes_removals_before_it_forgettable() {
        let shelf: Shelf<u32, u8> = Shelf::new(16);
        for id in 0..1000 {
            shelf.remove(id, 10);
        }
        let mut list = shelf.begin(20).unwrap();
        shelf.put(1, 7, 20, list.source());
        assert_eq!(shelf.finish(&mut list, 20, |_| {}), 0);
        drop(list);
        assert_eq!(shelf.gone.load(Ordering::Relaxed), 0);
        assert_eq!(shelf.put(5, 1, 20, Source::Change), Written::Ignored);
        assert_eq!(shelf.open(&1).get().copied(), Some(7));
    }

    #[test]
    fn what_came_with_a_list_long_ago_that_broke_off_is_not_in_the_next_one() {
        let shelf: Shelf<u32, u8> = Shelf::new(16);
        let list = shelf.begin(1).unwrap();
        shelf.put(1, 7, 1, list.source());
        drop(list);
        // As many as there are numbers.
        for at in 2..=256 {
            drop(shelf.begin(at));
        }
        let mut list = shelf.begin(257).unwrap();
        assert_eq!(shelf.finish(&mut list, 257, |_| {}), 1);
        drop(list);
        assert_eq!(shelf.open(&1).get().copied(), None);
    }

    #[test]
    fn of_two_changes_at_once_the_stricter_counts_in_any_order() {
        for order in [[1, 2], [2, 1]] {
            let shelf: Shelf<u32, u8> = Shelf::new(16);
            for value in order {
                shelf.put(1, value, 5, Source::Change);
            }
            assert_eq!(shelf.open(&1).get().copied(), Some(2));
            shelf.remove(1, 5);
            shelf.put(1, 9, 5, Source::Change);
            assert_eq!(shelf.open(&1).get().copied(), None);
        }
    }
}
