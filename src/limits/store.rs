//! Who has asked how often: a number for each key, in bounded memory.
//!
//! A new key in a full shard takes the place of another: of a few, the one whose bucket is fullest. A
//! flood of addresses that ask once pushes out its own kind, and not those who are being held back.

use std::hash::{BuildHasher, Hash, RandomState};

use hashbrown::HashTable;
use parking_lot::Mutex;

/// A power of two.
const SHARDS: usize = 16;
/// Keys that are looked at for the one that goes.
const CANDIDATES: usize = 16;

/// Whom a limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// An address, or the network of one; or the digest of a token.
    Number(u128),
    Text(&'a str),
    /// A client of one of several key managers.
    ClientOf {
        key_manager: &'a str,
        client: &'a str,
    },
}

/// The same, of bounded length.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Short<'a> {
    Number(u128),
    Text(&'a str),
}

#[derive(Debug, PartialEq, Eq)]
enum Owned {
    Number(u128),
    Text(Box<str>),
}

impl Owned {
    fn key(&self) -> Short<'_> {
        match self {
            Self::Number(number) => Short::Number(*number),
            Self::Text(text) => Short::Text(text),
        }
    }
}

impl From<Short<'_>> for Owned {
    fn from(key: Short<'_>) -> Self {
        match key {
            Short::Number(number) => Self::Number(number),
            Short::Text(text) => Self::Text(text.into()),
        }
    }
}

/// Longest text that is kept as it is, in bytes. Of longer ones a digest is kept, so that nobody fills
/// the memory with the names of clients.
const MAX_TEXT: usize = 64;

/// See the module.
pub struct Store {
    hasher: RandomState,
    /// The other half of a digest.
    second: RandomState,
    shards: Box<[Mutex<Shard>]>,
    capacity: usize,
}

#[derive(Default)]
struct Shard {
    slots: Vec<Slot>,
    /// Positions in `slots`, by key.
    index: HashTable<usize>,
}

struct Slot {
    key: Owned,
    arrival: u64,
}

impl Store {
    /// For `capacity` keys.
    pub fn new(capacity: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            second: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            capacity: (capacity / SHARDS).max(1),
        }
    }

    /// Changes a key's number, which is 0 for one that is new. Allocates only for those.
    pub fn change<T>(&self, key: Key<'_>, change: impl FnOnce(&mut u64) -> T) -> T {
        let key = self.bounded(key);
        let hash = self.hasher.hash_one(key);
        // The index hashes by the low bits, so the shard is chosen by high ones.
        let shard = usize::try_from(hash >> 60).unwrap_or(0) & (SHARDS - 1);
        let mut shard = self.shards[shard].lock();
        let position = match shard.find(hash, key) {
            Some(position) => position,
            None => shard.insert(hash, key, self.capacity, &self.hasher),
        };
        change(&mut shard.slots[position].arrival)
    }

    /// Both halves are keyed by what nobody knows, so no two names can be made to meet.
    fn bounded<'k>(&self, key: Key<'k>) -> Short<'k> {
        match key {
            Key::Number(number) => Short::Number(number),
            Key::Text(text) if text.len() > MAX_TEXT => self.digest(text),
            Key::Text(text) => Short::Text(text),
            Key::ClientOf {
                key_manager,
                client,
            } => self.digest((key_manager, client)),
        }
    }

    fn digest(&self, of: impl Hash) -> Short<'static> {
        let halves = [&self.hasher, &self.second].map(|hasher| hasher.hash_one(&of));
        Short::Number(u128::from(halves[0]) << 64 | u128::from(halves[1]))
    }

    #[cfg(test)]
    pub fn keys(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().slots.len())
            .sum()
    }
}

impl Shard {
    fn find(&self, hash: u64, key: Short<'_>) -> Option<usize> {
        let is_it = |position: &usize| self.slots[*position].key.key() == key;
        self.index.find(hash, is_it).copied()
    }

    fn insert(
        &mut self,
        hash: u64,
        key: Short<'_>,
        capacity: usize,
        hasher: &RandomState,
    ) -> usize {
        let slot = Slot {
            key: key.into(),
            arrival: 0,
        };
        let position = if self.slots.len() < capacity {
            self.slots.push(slot);
            self.slots.len() - 1
        } else {
            let position = self.choose();
            self.forget(position, hasher);
            self.slots[position] = slot;
            position
        };
        let slots = &self.slots;
        self.index.insert_unique(hash, position, |other| {
            hasher.hash_one(slots[*other].key.key())
        });
        position
    }

    /// Of a few by chance, the one that has the least to lose. By chance, because callers who came
    /// together, and are held back together, stand beside each other.
    fn choose(&self) -> usize {
        let candidates = (0..CANDIDATES).map(|_| fastrand::usize(..self.slots.len()));
        let chosen = candidates.min_by_key(|position| self.slots[*position].arrival);
        chosen.unwrap_or(0)
    }

    fn forget(&mut self, position: usize, hasher: &RandomState) {
        let hash = hasher.hash_one(self.slots[position].key.key());
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == position) {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(store: &Store, key: Key<'_>) -> u64 {
        store.change(key, |arrival| *arrival)
    }

    #[test]
    fn keys_have_numbers_of_their_own() {
        let store = Store::new(1_000);
        for number in 0..100_u64 {
            store.change(Key::Number(number.into()), |arrival| *arrival = number);
            store.change(Key::Text(&number.to_string()), |arrival| {
                *arrival = number + 500;
            });
        }
        for number in 0..100_u64 {
            assert_eq!(get(&store, Key::Number(number.into())), number);
            assert_eq!(get(&store, Key::Text(&number.to_string())), number + 500);
        }
        assert_eq!(store.keys(), 200);
    }

    #[test]
    fn a_flood_of_new_keys_leaves_those_who_are_held_back() {
        let store = Store::new(1_600);
        for number in 0..50_u128 {
            store.change(Key::Number(number), |arrival| *arrival = 1_000_000);
        }
        for number in 1_000..200_000_u128 {
            store.change(Key::Number(number), |arrival| *arrival = 10);
        }
        assert!(store.keys() <= 1_600);
        for number in 0..50_u128 {
            assert_eq!(get(&store, Key::Number(number)), 1_000_000, "{number}");
        }
    }

    #[test]
    fn long_names_are_told_apart_and_not_kept() {
        let store = Store::new(100);
        let name = |last: u8| format!("{}{last}", "x".repeat(5_000));
        for last in 0..9_u8 {
            store.change(Key::Text(&name(last)), |arrival| *arrival = last.into());
        }
        for last in 0..9_u8 {
            assert_eq!(get(&store, Key::Text(&name(last))), u64::from(last));
        }
        let shards = store.shards.iter().map(|shard| {
            let shard = shard.lock();
            let kept = |slot: &Slot| matches!(slot.key, Owned::Text(_));
            shard.slots.iter().filter(|slot| kept(slot)).count()
        });
        assert_eq!(shards.sum::<usize>(), 0);
    }

    #[test]
    fn a_store_of_one_works() {
        let store = Store::new(1);
        for number in 0..1_000_u128 {
            store.change(Key::Number(number), |arrival| *arrival = 1);
        }
        assert!(store.keys() <= SHARDS);
    }
}
