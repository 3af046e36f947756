//! `portcullis_downstream_…`: connections of clients.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::maker::Maker;

/// The families; series are made for each listener when it is opened.
pub struct DownstreamMetrics {
    open: IntGaugeVec,
    accepted: IntCounterVec,
}

/// Handles of one listener.
#[derive(Clone)]
pub struct ListenerMetrics {
    pub open: IntGauge,
    pub accepted: IntCounter,
}

impl DownstreamMetrics {
    pub(super) fn new(maker: &Maker) -> prometheus::Result<Self> {
        Ok(Self {
            open: maker.gauges(
                "portcullis_downstream_connections",
                "Connections of clients that are open.",
                &["listener"],
            )?,
            accepted: maker.counters(
                "portcullis_downstream_connections_accepted_total",
                "Connections of clients that were accepted.",
                &["listener"],
            )?,
        })
    }

    /// `name`: its address.
    pub fn listener(&self, name: &str) -> ListenerMetrics {
        ListenerMetrics {
            open: self.open.with_label_values(&[name]),
            accepted: self.accepted.with_label_values(&[name]),
        }
    }
}
