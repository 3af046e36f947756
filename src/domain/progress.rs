//! What a connection is doing: noted by those who serve it, read by those who watch over it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// Counters of one connection. Nothing is decided by two of them together, so their order in memory
/// does not matter.
#[derive(Debug, Default)]
pub struct Progress {
    /// Requests whose header has come.
    pub requests: AtomicU32,
    /// Those of them that are being served.
    pub in_flight: AtomicU32,
    /// Those of them whose body is still coming, and should.
    pub bodies: AtomicU32,
    /// Bytes.
    pub read: AtomicU64,
    pub written: AtomicU64,
    /// What had been read when a request ended last.
    pub settled: AtomicU64,
    /// The last read found nothing.
    pub reads_wait: AtomicBool,
    /// The last write found no room.
    pub writes_wait: AtomicBool,
    /// The connection has had its time: no request after those that are there.
    pub leaves: AtomicBool,
    /// Its client sends what costs us and brings nothing.
    pub floods: AtomicBool,
    /// Its client is too slow: reads and writes fail from now on.
    pub given_up: AtomicBool,
}

/// Requests on all connections together.
#[derive(Debug, Default)]
pub struct Load(AtomicUsize);

/// A request under way, from its header to its end.
#[derive(Debug)]
pub struct Passage {
    progress: Arc<Progress>,
    load: Arc<Load>,
    body: bool,
}

impl Passage {
    /// Also says how many requests there are now.
    pub fn begin(progress: &Arc<Progress>, load: &Arc<Load>) -> (Self, usize) {
        progress.requests.fetch_add(1, Relaxed);
        progress.in_flight.fetch_add(1, Relaxed);
        let count = load.0.fetch_add(1, Relaxed) + 1;
        let passage = Self {
            progress: Arc::clone(progress),
            load: Arc::clone(load),
            body: false,
        };
        (passage, count)
    }

    /// A body is on its way, and should not take for ever.
    pub fn expect_body(&mut self) {
        if !self.body {
            self.body = true;
            self.progress.bodies.fetch_add(1, Relaxed);
        }
    }

    /// The body has come.
    pub fn end_body(&mut self) {
        if self.body {
            self.body = false;
            self.progress.bodies.fetch_sub(1, Relaxed);
        }
    }

    /// Whether the connection is to end with what is there.
    pub fn is_last(&self) -> bool {
        self.progress.leaves.load(Relaxed)
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.end_body();
        let read = self.progress.read.load(Relaxed);
        self.progress.settled.store(read, Relaxed);
        self.progress.in_flight.fetch_sub(1, Relaxed);
        self.load.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_ends() {
        let (progress, load) = (Arc::default(), Arc::default());
        let (mut one, count) = Passage::begin(&progress, &load);
        assert_eq!(count, 1);
        one.expect_body();
        one.expect_body();
        let (other, count) = Passage::begin(&progress, &load);
        assert_eq!((count, progress.bodies.load(Relaxed)), (2, 1));
        drop(other);
        one.end_body();
        assert_eq!(
            (
                progress.in_flight.load(Relaxed),
                progress.bodies.load(Relaxed)
            ),
            (1, 0)
        );
        drop(one);
        assert_eq!(
            (progress.in_flight.load(Relaxed), load.0.load(Relaxed)),
            (0, 0)
        );
        assert_eq!(progress.requests.load(Relaxed), 2);
    }
}
