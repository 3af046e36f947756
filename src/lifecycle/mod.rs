//! Where the process is in its life: what readiness says, and whether connections are kept.

mod reload;

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

pub use reload::{Outcome, Reloader, Requests, channel};

use crate::metrics::Metrics;

/// The stages of a life, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Not yet taking connections.
    Starting,
    Ready,
    /// A new process may take over: until it does, all goes on.
    Upgrading,
    /// Not ready any more, so that load balancers look elsewhere; serving still.
    LameDuck,
    /// No new connections; those that are there end with what they are doing.
    Draining,
}

impl Stage {
    pub const ALL: [Self; 5] = [
        Self::Starting,
        Self::Ready,
        Self::Upgrading,
        Self::LameDuck,
        Self::Draining,
    ];

    /// The `state` label, and what `/readyz` says.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Upgrading => "upgrading",
            Self::LameDuck => "lame_duck",
            Self::Draining => "draining",
        }
    }

    /// Whether new work is welcome.
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Ready | Self::Upgrading)
    }
}

/// Shared by the proxy (which closes connections while draining), the admin listener (which says so)
/// and the server (which decides).
pub struct Lifecycle {
    stage: AtomicU8,
    metrics: Arc<Metrics>,
}

impl Lifecycle {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let lifecycle = Self {
            stage: AtomicU8::new(Stage::Starting as u8),
            metrics,
        };
        lifecycle.enter(Stage::Starting);
        lifecycle
    }

    pub fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Release);
        for other in Stage::ALL {
            let gauge = self.metrics.state.with_label_values(&[other.word()]);
            gauge.set(i64::from(other == stage));
        }
    }

    pub fn stage(&self) -> Stage {
        let stage = self.stage.load(Ordering::Acquire);
        let known = Stage::ALL.into_iter().find(|known| *known as u8 == stage);
        known.unwrap_or(Stage::Draining)
    }

    pub fn is_draining(&self) -> bool {
        self.stage.load(Ordering::Acquire) == Stage::Draining as u8
    }
}
