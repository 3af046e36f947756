//! One shard of the token cache: an index, slots, and the queues that decide what leaves.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::HashTable;

use super::Lookup;
use crate::domain::{Grant, TokenKey};

/// Times that a token may come again before it is taken for hot enough.
const MAX_FREQUENCY: u8 = 3;
/// One in so many entries may be new.
const SMALL_SHARE: usize = 10;

/// What an active answer costs beside its grant: slot, index, queue, reference counts.
pub const ENTRY_OVERHEAD: usize = size_of::<Option<Slot>>() * 9 / 8 + 10 + 4 + 16;

/// What a shard holds.
#[derive(Clone, Copy, Default)]
pub struct Totals {
    pub active: usize,
    pub inactive: usize,
    pub bytes: usize,
}

/// Active answers that had to go.
#[derive(Default)]
pub struct Evicted {
    pub expired: u64,
    pub capacity: u64,
}

type Inactive = HashMap<TokenKey, Instant, BuildHasherDefault<PrefixHasher>>;

/// See the module.
#[derive(Default)]
pub struct Shard {
    max_entries: usize,
    max_bytes: usize,
    max_inactive: usize,
    /// Seconds for which an active answer is kept past its end.
    stale_seconds: u16,
    /// Positions in `slots`, found by the key that stands there.
    index: HashTable<u32>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    small: VecDeque<u32>,
    main: VecDeque<u32>,
    ghosts: Ghosts,
    bytes: usize,
    inactive: Inactive,
    inactive_queue: VecDeque<TokenKey>,
    evicted: Evicted,
}

struct Slot {
    key: TokenKey,
    grant: Arc<Grant>,
    expires: Instant,
    bytes: u32,
    frequency: u8,
    /// Seconds after `expires` for which it may still be used again. Where fewer are left than there were,
    /// it is past its end, and used again until `expires`.
    stale_left: u16,
}

impl Slot {
    /// Nobody can use it any more.
    fn is_over(&self, now: Instant) -> bool {
        self.expires + Duration::from_secs(self.stale_left.into()) <= now
    }
}

#[derive(Clone, Copy)]
enum Queue {
    Small,
    Main,
}

impl Shard {
    pub fn new(
        max_entries: usize,
        max_bytes: usize,
        max_inactive: usize,
        stale_seconds: u16,
    ) -> Self {
        Self {
            max_entries,
            max_bytes,
            max_inactive,
            stale_seconds,
            ..Self::default()
        }
    }

    pub fn totals(&self) -> Totals {
        let inactive_bytes = self.inactive.len() * (2 * size_of::<TokenKey>() + 32);
        Totals {
            active: self.index.len(),
            inactive: self.inactive.len(),
            bytes: self.bytes + inactive_bytes,
        }
    }

    /// What was evicted since the last time.
    pub fn take_evicted(&mut self) -> Evicted {
        std::mem::take(&mut self.evicted)
    }

    pub fn lookup(&mut self, key: &TokenKey, now: Instant) -> Lookup {
        if let Some(position) = self.find(key)
            && let Some(slot) = &mut self.slots[position as usize]
        {
            let left = slot.expires.saturating_duration_since(now);
            if left.is_zero() {
                // Its place is kept: most likely the same token is asked about right now.
                return Lookup::Expired;
            }
            slot.frequency = (slot.frequency + 1).min(MAX_FREQUENCY);
            let grant = Arc::clone(&slot.grant);
            return match slot.stale_left < self.stale_seconds {
                true => Lookup::Stale(grant),
                false => Lookup::Active(grant, left),
            };
        }
        match self.inactive.get(key) {
            Some(expires) if *expires > now => Lookup::Inactive,
            Some(_) => Lookup::Expired,
            None => Lookup::Miss,
        }
    }

    /// An active answer past its end, if it may be used then; it is used again for `pause`.
    pub fn revive(&mut self, key: &TokenKey, pause: u16, now: Instant) -> Option<Arc<Grant>> {
        let position = self.find(key)?;
        let slot = self.slots[position as usize].as_mut()?;
        if slot.expires <= now {
            // Whole seconds, rounded in favour of its end.
            let late = now.saturating_duration_since(slot.expires).as_secs() + 1;
            let left = slot.stale_left.checked_sub(u16::try_from(late).ok()?)?;
            slot.expires = now + Duration::from_secs(left.min(pause).into());
            slot.stale_left = left.saturating_sub(pause);
        }
        Some(Arc::clone(&slot.grant))
    }

    pub fn insert_active(
        &mut self,
        key: TokenKey,
        grant: Arc<Grant>,
        expires: Instant,
        now: Instant,
    ) {
        self.inactive.remove(&key);
        let size = grant.size() + ENTRY_OVERHEAD;
        let Ok(bytes) = u32::try_from(size) else {
            return;
        };
        if size > self.max_bytes {
            self.remove_active(&key);
            return;
        }
        if let Some(position) = self.find(&key)
            && let Some(slot) = &mut self.slots[position as usize]
        {
            self.bytes = self.bytes - slot.bytes as usize + size;
            slot.grant = grant;
            slot.expires = expires;
            slot.bytes = bytes;
            slot.stale_left = self.stale_seconds;
        } else {
            let queue = match self.ghosts.take(&key) {
                true => Queue::Main,
                false => Queue::Small,
            };
            let position = self.new_slot(Slot {
                key,
                grant,
                expires,
                bytes,
                frequency: 0,
                stale_left: self.stale_seconds,
            });
            self.bytes += size;
            let slots = &self.slots;
            self.index
                .insert_unique(key.prefix(), position, |position| hash_of(slots, *position));
            self.queue(queue).push_back(position);
        }
        self.drop_expired_heads(now);
        while self.small.len() + self.main.len() > self.max_entries || self.bytes > self.max_bytes {
            self.evict(now);
        }
    }

    pub fn insert_inactive(&mut self, key: TokenKey, expires: Instant, now: Instant) {
        self.remove_active(&key);
        if self.inactive.insert(key, expires).is_none() {
            self.inactive_queue.push_back(key);
        }
        while let Some(oldest) = self.inactive_queue.front() {
            let expired = self
                .inactive
                .get(oldest)
                .is_none_or(|expires| *expires <= now);
            if !expired && self.inactive_queue.len() <= self.max_inactive {
                break;
            }
            if let Some(oldest) = self.inactive_queue.pop_front() {
                self.inactive.remove(&oldest);
            }
        }
    }

    /// Takes an answer out; its position stays in its queue, empty, until its turn comes.
    pub fn remove_active(&mut self, key: &TokenKey) {
        if let Some(position) = self.unlink(key)
            && let Some(slot) = self.slots[position as usize].take()
        {
            self.bytes -= slot.bytes as usize;
        }
    }

    fn find(&self, key: &TokenKey) -> Option<u32> {
        let same = |position: &u32| holds(&self.slots, *position, key);
        self.index.find(key.prefix(), same).copied()
    }

    /// Takes a key out of the index.
    fn unlink(&mut self, key: &TokenKey) -> Option<u32> {
        let slots = &self.slots;
        let same = |position: &u32| holds(slots, *position, key);
        let entry = self.index.find_entry(key.prefix(), same).ok()?;
        Some(entry.remove().0)
    }

    pub fn remove_inactive(&mut self, key: &TokenKey) {
        self.inactive.remove(key);
    }

    fn queue(&mut self, queue: Queue) -> &mut VecDeque<u32> {
        match queue {
            Queue::Small => &mut self.small,
            Queue::Main => &mut self.main,
        }
    }

    fn new_slot(&mut self, slot: Slot) -> u32 {
        match self.free.pop() {
            Some(position) => {
                self.slots[position as usize] = Some(slot);
                position
            }
            None => {
                if self.slots.len() == self.slots.capacity() {
                    // By an eighth rather than double: most of a cache is slots.
                    self.slots.reserve_exact(self.slots.len() / 8 + 16);
                }
                self.slots.push(Some(slot));
                // A shard has far fewer than 2^32 entries: `max_entries` is bounded by the config.
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        }
    }

    /// The oldest of each queue goes when its time is over: most that nobody asks for again leave
    /// this way, before they count against the bounds.
    fn drop_expired_heads(&mut self, now: Instant) {
        for queue in [Queue::Small, Queue::Main] {
            while let Some(position) = self.queue(queue).front().copied() {
                let over = match &self.slots[position as usize] {
                    Some(slot) => slot.is_over(now),
                    None => true,
                };
                if !over {
                    break;
                }
                self.queue(queue).pop_front();
                self.release(position, now);
            }
        }
    }

    /// Makes one step towards room: S3-FIFO (Yang et al., SOSP 2023).
    fn evict(&mut self, now: Instant) {
        let small_is_full = self.small.len() * SMALL_SHARE >= self.max_entries;
        let queue = match (small_is_full, self.small.is_empty(), self.main.is_empty()) {
            (true, false, _) | (false, false, true) => Queue::Small,
            (_, _, false) => Queue::Main,
            // Nothing is left to evict: `max_bytes` is larger than any one entry.
            (_, true, true) => return,
        };
        let Some(position) = self.queue(queue).pop_front() else {
            return;
        };
        match (&mut self.slots[position as usize], queue) {
            (Some(slot), Queue::Small) if slot.frequency > 0 => {
                slot.frequency = 0;
                self.main.push_back(position);
            }
            (Some(slot), Queue::Main) if slot.frequency > 0 => {
                slot.frequency -= 1;
                self.main.push_back(position);
            }
            (Some(slot), Queue::Small) => {
                self.ghosts.add(&slot.key, self.max_entries);
                self.release(position, now);
            }
            _ => self.release(position, now),
        }
    }

    /// Frees a position that no queue holds any more.
    fn release(&mut self, position: u32, now: Instant) {
        if let Some(key) = self.slots[position as usize].as_ref().map(|slot| slot.key) {
            self.unlink(&key);
        }
        if let Some(slot) = self.slots[position as usize].take() {
            self.bytes -= slot.bytes as usize;
            match slot.expires <= now {
                true => self.evicted.expired += 1,
                false => self.evicted.capacity += 1,
            }
        }
        self.free.push(position);
    }
}

/// Whether the slot at `position` has this key, all of it.
fn holds(slots: &[Option<Slot>], position: u32, key: &TokenKey) -> bool {
    slots[position as usize]
        .as_ref()
        .is_some_and(|slot| slot.key == *key)
}

fn hash_of(slots: &[Option<Slot>], position: u32) -> u64 {
    slots[position as usize]
        .as_ref()
        .map_or(0, |slot| slot.key.prefix())
}

/// Digests of tokens that left the small queue unasked. One that comes back was evicted too early
/// and goes straight to the main queue. Eight bytes of a digest are enough: a mistake costs a place
/// in a queue, nothing else.
#[derive(Default)]
struct Ghosts {
    known: HashSet<u64, BuildHasherDefault<PrefixHasher>>,
    queue: VecDeque<u64>,
}

impl Ghosts {
    fn add(&mut self, key: &TokenKey, capacity: usize) {
        if self.known.insert(key.prefix()) {
            self.queue.push_back(key.prefix());
        }
        while self.queue.len() > capacity {
            if let Some(oldest) = self.queue.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    fn take(&mut self, key: &TokenKey) -> bool {
        // It stays in the queue until its turn comes, where it does no harm.
        self.known.remove(&key.prefix())
    }
}

/// A digest is random already: its first bytes are the hash.
#[derive(Default)]
struct PrefixHasher(u64);

impl Hasher for PrefixHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only `u64`s are hashed here; anything else would still be correct, only slower.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, prefix: u64) {
        self.0 = prefix;
    }
}
