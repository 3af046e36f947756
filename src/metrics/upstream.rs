//! `portcullis_upstream_…`: what is counted for each upstream.

use std::sync::Arc;

use http::StatusCode;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{
    CLASSES, class,
    maker::{DURATION_BUCKETS, Maker},
    roster::Roster,
    totals::{Times, UpstreamCounts},
};

/// The handles of one upstream; its series go with them.
pub struct UpstreamMetrics {
    name: String,
    /// By code class, 1xx to 5xx.
    requests: [IntCounter; 5],
    pub duration: Histogram,
    pub connect_duration: Histogram,
    pub connections_new: IntCounter,
    pub connections_reused: IntCounter,
    pub errors_connect: IntCounter,
    pub errors_timeout: IntCounter,
    pub errors_reset: IntCounter,
    pub retries: IntCounter,
    pub ejections: IntCounter,
    pub overloaded: IntCounter,
    families: UpstreamFamilies,
}

impl UpstreamMetrics {
    pub fn count(&self, code: StatusCode) {
        self.requests[class(code)].inc();
    }

    pub(super) fn counts(&self) -> UpstreamCounts {
        let errors = [
            &self.errors_connect,
            &self.errors_timeout,
            &self.errors_reset,
        ];
        UpstreamCounts {
            name: self.name.clone(),
            classes: self.requests.each_ref().map(IntCounter::get),
            latency: Times::of(&self.duration),
            errors: errors.iter().map(|errors| errors.get()).sum(),
            connections_new: self.connections_new.get(),
            connections_reused: self.connections_reused.get(),
            addresses: self.addresses(),
        }
    }

    fn addresses(&self) -> Vec<(String, bool)> {
        let all = self.families.addresses.all();
        let own = all.iter().filter(|one| one.upstream == self.name);
        let mut addresses: Vec<(String, bool)> = own
            .map(|one| (one.address.clone(), one.healthy.get() == 1))
            .collect();
        addresses.sort();
        addresses
    }

    /// The handles of one of its addresses.
    pub fn address(&self, address: &str) -> Arc<AddressMetrics> {
        let (upstream, families) = (self.name.as_str(), &self.families);
        let healthy = families.healthy.with_label_values(&[upstream, address]);
        let name = AddressMetrics::name(upstream, address);
        families.addresses.get(&name, || AddressMetrics {
            upstream: upstream.to_owned(),
            address: address.to_owned(),
            healthy,
            families: families.clone(),
        })
    }
}

/// The handles of one address of an upstream; its series goes with them.
pub struct AddressMetrics {
    upstream: String,
    address: String,
    /// 1, or 0 while it gets no requests.
    pub healthy: IntGauge,
    families: UpstreamFamilies,
}

impl AddressMetrics {
    fn name(upstream: &str, address: &str) -> String {
        format!("{upstream} {address}")
    }
}

/// The metrics that have an `upstream` label.
#[derive(Clone)]
pub struct UpstreamFamilies {
    requests: IntCounterVec,
    duration: HistogramVec,
    connect: HistogramVec,
    connections: IntCounterVec,
    errors: IntCounterVec,
    retries: IntCounterVec,
    ejections: IntCounterVec,
    overloaded: IntCounterVec,
    healthy: IntGaugeVec,
    roster: Roster<UpstreamMetrics>,
    addresses: Roster<AddressMetrics>,
}

const ERRORS: [&str; 3] = ["connect", "timeout", "reset"];

impl UpstreamFamilies {
    pub fn new(maker: &Maker) -> prometheus::Result<Self> {
        Ok(Self {
            requests: maker.counters(
                "portcullis_upstream_requests_total",
                "Answers of upstreams.",
                &["upstream", "code_class"],
            )?,
            duration: maker.histograms(
                "portcullis_upstream_request_duration_seconds",
                "From the choice of an upstream to the end of its answer.",
                &["upstream"],
                &DURATION_BUCKETS,
            )?,
            connect: maker.histograms(
                "portcullis_upstream_connect_duration_seconds",
                "Time to a new connection to an upstream.",
                &["upstream"],
                &DURATION_BUCKETS,
            )?,
            connections: maker.counters(
                "portcullis_upstream_connections_total",
                "Connections that requests used.",
                &["upstream", "reuse"],
            )?,
            errors: maker.counters(
                "portcullis_upstream_errors_total",
                "Requests that an upstream failed.",
                &["upstream", "reason"],
            )?,
            retries: maker.counters(
                "portcullis_upstream_retries_total",
                "Requests that were tried again.",
                &["upstream"],
            )?,
            ejections: maker.counters(
                "portcullis_upstream_ejections_total",
                "Times that an address was left out for a while because requests to it failed.",
                &["upstream"],
            )?,
            overloaded: maker.counters(
                "portcullis_upstream_overloaded_total",
                "Requests refused because every address had as many as it may have.",
                &["upstream"],
            )?,
            healthy: maker.gauges(
                "portcullis_upstream_healthy",
                "1 while an address gets requests, 0 while checks or failures keep it out.",
                &["upstream", "address"],
            )?,
            roster: Roster::default(),
            addresses: Roster::default(),
        })
    }

    pub fn all(&self) -> Vec<Arc<UpstreamMetrics>> {
        self.roster.all()
    }

    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        let [connect, timeout, reset] =
            ERRORS.map(|reason| self.errors.with_label_values(&[name, reason]));
        self.roster.get(name, || UpstreamMetrics {
            name: name.to_owned(),
            requests: CLASSES.map(|class| self.requests.with_label_values(&[name, class])),
            duration: self.duration.with_label_values(&[name]),
            connect_duration: self.connect.with_label_values(&[name]),
            connections_new: self.connections.with_label_values(&[name, "new"]),
            connections_reused: self.connections.with_label_values(&[name, "reused"]),
            errors_connect: connect,
            errors_timeout: timeout,
            errors_reset: reset,
            retries: self.retries.with_label_values(&[name]),
            ejections: self.ejections.with_label_values(&[name]),
            overloaded: self.overloaded.with_label_values(&[name]),
            families: self.clone(),
        })
    }
}

impl Drop for UpstreamMetrics {
    fn drop(&mut self) {
        let (name, families) = (self.name.as_str(), &self.families);
        // What is not there need not be removed.
        families.roster.clear(name, || {
            let _ = families.duration.remove_label_values(&[name]);
            let _ = families.connect.remove_label_values(&[name]);
            let _ = families.retries.remove_label_values(&[name]);
            let _ = families.ejections.remove_label_values(&[name]);
            let _ = families.overloaded.remove_label_values(&[name]);
            for class in CLASSES {
                let _ = families.requests.remove_label_values(&[name, class]);
            }
            for reuse in ["new", "reused"] {
                let _ = families.connections.remove_label_values(&[name, reuse]);
            }
            for reason in ERRORS {
                let _ = families.errors.remove_label_values(&[name, reason]);
            }
        });
    }
}

impl Drop for AddressMetrics {
    fn drop(&mut self) {
        let (upstream, address) = (self.upstream.as_str(), self.address.as_str());
        let families = &self.families;
        let name = Self::name(upstream, address);
        families.addresses.clear(&name, || {
            let _ = families.healthy.remove_label_values(&[upstream, address]);
        });
    }
}
