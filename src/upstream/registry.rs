//! What outlives a configuration: the state of each address, and which pools are in force.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Instant,
};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Pool, address::AddressState, address::millis, upkeep::Upkeep};
use crate::metrics::UpstreamMetrics;

/// One for the process.
pub struct Registry {
    /// Time is counted from here.
    start: Instant,
    states: Mutex<HashMap<(String, SocketAddr), Weak<AddressState>>>,
    pools: watch::Sender<Vec<Arc<Pool>>>,
}

impl Registry {
    /// With the service that looks after the pools which are in force.
    pub fn new() -> (Arc<Self>, Upkeep) {
        let (pools, receiver) = watch::channel(Vec::new());
        let registry = Self {
            start: Instant::now(),
            states: Mutex::default(),
            pools,
        };
        (Arc::new(registry), Upkeep::new(receiver))
    }

    /// These pools are in force now, and no others.
    pub fn publish(&self, pools: Vec<Arc<Pool>>) {
        self.pools.send_replace(pools);
    }

    /// The state of an address; the one that is there already while anybody holds it.
    pub fn state(
        &self,
        upstream: &str,
        address: SocketAddr,
        metrics: &UpstreamMetrics,
    ) -> Arc<AddressState> {
        let mut states = self.states.lock();
        let key = (upstream.to_owned(), address);
        if let Some(state) = states.get(&key).and_then(Weak::upgrade) {
            return state;
        }
        states.retain(|_, state| state.strong_count() > 0);
        let handles = metrics.address(&address.to_string());
        let state = Arc::new(AddressState::new(handles));
        states.insert(key, Arc::downgrade(&state));
        state
    }

    /// Milliseconds since the start; zero is never now.
    pub fn clock(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.start)) + 1
    }
}
