//! Where the process is in its life: what readiness says, and whether connections are kept.

mod reload;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

pub use reload::{Outcome, Reloader, Requests, channel};

use crate::metrics::Metrics;

/// Shared by the proxy (which closes connections while draining), the admin listener (which says so)
/// and the server (which decides).
pub struct Lifecycle {
    ready: AtomicBool,
    draining: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Lifecycle {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            metrics,
        }
    }

    /// The listeners are up.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
        self.metrics.state.starting.set(0);
        self.metrics.state.ready.set(1);
    }

    /// No new work, please: finish what is there.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
        self.metrics.state.starting.set(0);
        self.metrics.state.ready.set(0);
        self.metrics.state.draining.set(1);
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.is_draining()
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}
