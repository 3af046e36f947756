//! One shard of the store: an index, slots, and a hand that goes round and takes out what nobody
//! asked for since it came by last (the clock algorithm). What is new has not been asked for yet,
//! so a flood of answers that are wanted once pushes out itself.

use std::{collections::HashMap, sync::Arc, time::Instant};

use hashbrown::HashTable;
use pingora::cache::key::HashBinary;

use super::{key::resource_of, store::Object};

/// Changed resources that a shard remembers one by one.
const MAX_CHANGES: usize = 1024;

/// An answer's key, with what tells variants of it apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EntryKey<'a> {
    pub primary: &'a [u8],
    pub variance: Option<HashBinary>,
}

/// A key with its hashes.
#[derive(Clone, Copy)]
pub struct Hashed<'a> {
    pub key: EntryKey<'a>,
    pub hash: u64,
    /// Of the resource alone.
    pub resource: u64,
}

/// See the module.
#[derive(Default)]
pub struct Shard {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    /// Positions in `slots` by key.
    index: HashTable<u32>,
    /// Positions in `slots` by the hash of the resource.
    resources: HashMap<u64, Vec<u32>>,
    hand: usize,
    bytes: usize,
    changes: Changes,
}

struct Slot {
    primary: Box<[u8]>,
    variance: Option<HashBinary>,
    hash: u64,
    resource: u64,
    object: Arc<Object>,
    /// Asked for since the hand came by.
    wanted: bool,
}

impl Slot {
    fn is(&self, key: &Hashed<'_>) -> bool {
        self.hash == key.hash
            && self.variance == key.key.variance
            && *self.primary == *key.key.primary
    }
}

/// When resources were changed last, so that an answer that was under way meanwhile is not kept.
#[derive(Default)]
struct Changes {
    by_resource: HashMap<u64, Instant>,
    /// Everything may have been changed up to here.
    all_before: Option<Instant>,
}

impl Shard {
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Of what is kept here.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn find(&mut self, key: &Hashed<'_>) -> Option<Arc<Object>> {
        let position = self.position(key)?;
        let slot = self.slots.get_mut(position as usize)?.as_mut()?;
        slot.wanted = true;
        Some(Arc::clone(&slot.object))
    }

    /// Whether it is here, without a mark that it was asked for.
    pub fn has(&self, key: &Hashed<'_>) -> bool {
        self.position(key).is_some()
    }

    /// Keeps an object, instead of the one that was kept under its key before. False: the resource
    /// was changed after `since`, or later than that for all we know.
    pub fn put(&mut self, key: &Hashed<'_>, object: Arc<Object>, since: Instant) -> bool {
        if self.changed_since(key.resource, since) {
            return false;
        }
        if self.replace(key, Arc::clone(&object)) {
            return true;
        }
        let size = object.size();
        let slot = Slot {
            primary: key.key.primary.into(),
            variance: key.key.variance,
            hash: key.hash,
            resource: key.resource,
            object,
            wanted: false,
        };
        let Some(position) = self.place(slot) else {
            return false;
        };
        let slots = &self.slots;
        self.index
            .insert_unique(key.hash, position, |other| hash_at(slots, *other));
        self.resources
            .entry(key.resource)
            .or_default()
            .push(position);
        self.bytes += size;
        true
    }

    fn place(&mut self, slot: Slot) -> Option<u32> {
        if let Some(position) = self.free.pop() {
            self.slots[position as usize] = Some(slot);
            return Some(position);
        }
        let position = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(Some(slot));
        Some(position)
    }

    /// Keeps an object in place of one that is kept; false: there is none.
    pub fn replace(&mut self, key: &Hashed<'_>, object: Arc<Object>) -> bool {
        let slot = self
            .position(key)
            .and_then(|position| self.slots[position as usize].as_mut());
        let Some(slot) = slot else { return false };
        self.bytes = self.bytes + object.size() - slot.object.size();
        slot.object = object;
        true
    }

    pub fn remove(&mut self, key: &Hashed<'_>) -> bool {
        match self.position(key) {
            Some(position) => self.take_out(position),
            None => false,
        }
    }

    /// Removes all answers about a resource. Returns their number.
    pub fn remove_resource(&mut self, resource: u64, now: Instant) -> usize {
        self.changes.note(resource, now);
        // As a whole: one by one each would be looked for among all others.
        let positions = self.resources.remove(&resource).unwrap_or_default();
        positions
            .into_iter()
            .filter(|position| self.take_out(*position))
            .count()
    }

    /// Removes all answers whose resource begins like this. Returns their number.
    pub fn remove_prefix(&mut self, prefix: &[u8], now: Instant) -> usize {
        self.changes.all_before = Some(now);
        let below = |slot: &Slot| resource_of(&slot.primary).starts_with(prefix);
        let positions: Vec<u32> = (0_u32..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.as_ref().is_some_and(below))
            .map(|(position, _)| position)
            .collect();
        positions
            .into_iter()
            .filter(|position| self.take_out(*position))
            .count()
    }

    /// Whether what was begun at `since` may be about a resource as it was before a change.
    pub fn changed_since(&self, resource: u64, since: Instant) -> bool {
        let later = |change: &Instant| *change >= since;
        self.changes.all_before.as_ref().is_some_and(later)
            || self.changes.by_resource.get(&resource).is_some_and(later)
    }

    /// Removes one answer that was not wanted lately; false when there is none, which the next time
    /// it may be.
    pub fn evict_one(&mut self) -> bool {
        for _ in 0..self.slots.len() {
            self.hand = (self.hand + 1) % self.slots.len();
            let Some(slot) = &mut self.slots[self.hand] else {
                continue;
            };
            if !std::mem::take(&mut slot.wanted) {
                let position = u32::try_from(self.hand).unwrap_or(u32::MAX);
                return self.take_out(position);
            }
        }
        false
    }

    fn position(&self, key: &Hashed<'_>) -> Option<u32> {
        let is_it = |position: &u32| {
            let slot = self.slots.get(*position as usize);
            slot.and_then(Option::as_ref)
                .is_some_and(|slot| slot.is(key))
        };
        self.index.find(key.hash, is_it).copied()
    }

    fn take_out(&mut self, position: u32) -> bool {
        let slot = self.slots.get_mut(position as usize).and_then(Option::take);
        let Some(slot) = slot else { return false };
        if let Ok(entry) = self.index.find_entry(slot.hash, |other| *other == position) {
            entry.remove();
        }
        if let Some(positions) = self.resources.get_mut(&slot.resource) {
            positions.retain(|other| *other != position);
            if positions.is_empty() {
                self.resources.remove(&slot.resource);
            }
        }
        self.bytes -= slot.object.size();
        self.free.push(position);
        true
    }
}

impl Changes {
    fn note(&mut self, resource: u64, now: Instant) {
        if self.by_resource.len() >= MAX_CHANGES {
            // What is under way right now is not kept, and nothing else is lost.
            self.by_resource.clear();
            self.all_before = Some(now);
        }
        self.by_resource.insert(resource, now);
    }
}

fn hash_at(slots: &[Option<Slot>], position: u32) -> u64 {
    let slot = slots.get(position as usize).and_then(Option::as_ref);
    slot.map_or(0, |slot| slot.hash)
}
