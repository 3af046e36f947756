//! The bound in bytes: whoever keeps something holds the room for it, and gives it back when the
//! last reader has gone.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use prometheus::IntGauge;

/// How many bytes there may be, and are.
pub struct Bound {
    max: AtomicUsize,
    used: AtomicUsize,
    gauge: IntGauge,
}

impl Bound {
    pub fn new(max: usize, gauge: IntGauge) -> Arc<Self> {
        Arc::new(Self {
            max: AtomicUsize::new(max),
            used: AtomicUsize::new(0),
            gauge,
        })
    }

    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    pub fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes above the bound, after it became smaller.
    pub fn excess(&self) -> usize {
        self.used().saturating_sub(self.max())
    }

    /// Room for `bytes`, if there is.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let max = self.max();
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= max);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .ok()?;
        self.gauge.add(count(bytes));
        Some(Room {
            bound: Arc::clone(self),
            bytes,
        })
    }
}

/// A part of the bound that is in use.
pub struct Room {
    bound: Arc<Bound>,
    bytes: usize,
}

impl Room {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts another part to this one.
    pub fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.bound.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bound.gauge.sub(count(self.bytes));
    }
}

fn count(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_never_more_than_the_bound() {
        let gauge = IntGauge::new("bytes", "bytes").unwrap();
        let bound = Bound::new(100, gauge.clone());
        let mut first = bound.take(60).unwrap();
        assert!(bound.take(41).is_none());
        first.join(bound.take(40).unwrap());
        assert_eq!((bound.used(), gauge.get()), (100, 100));
        bound.set_max(70);
        assert_eq!(bound.excess(), 30);
        drop(first);
        assert_eq!((bound.used(), gauge.get()), (0, 0));
        assert!(bound.take(usize::MAX).is_none());
    }
}
