//! `portcullis_downstream_…` and `portcullis_tls_…`: connections of clients.

use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{
    maker::Maker,
    totals::{ListenerCounts, by_label},
};
use crate::domain::UnixSeconds;

/// What a client did that its connection was ended for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// A header that did not come to its end.
    HeaderTimeout,
    /// Nothing between two requests.
    Idle,
    /// A body that trickled in.
    SlowBody,
    /// An answer that was hardly taken.
    SlowReader,
    /// Frames of HTTP/2 that make much work and mean nothing.
    Flood,
}

impl CloseReason {
    const ALL: [(Self, &'static str); 5] = [
        (Self::HeaderTimeout, "header_timeout"),
        (Self::Idle, "idle"),
        (Self::SlowBody, "slow_body"),
        (Self::SlowReader, "slow_reader"),
        (Self::Flood, "flood"),
    ];
}

/// What ended a TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFault {
    /// The client went away.
    Closed,
    /// It took too long.
    Timeout,
    /// What came is no TLS.
    NotTls,
    /// ALPN named none of ours.
    NoCommonProtocol,
    /// No version, cipher suite or group in common.
    NoCommonParameters,
    NoClientCertificate,
    BadClientCertificate,
    /// The client refused, our certificate most often.
    ClientAlert,
    Other,
}

impl HandshakeFault {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Closed, "closed"),
        (Self::Timeout, "timeout"),
        (Self::NotTls, "not_tls"),
        (Self::NoCommonProtocol, "no_common_protocol"),
        (Self::NoCommonParameters, "no_common_parameters"),
        (Self::NoClientCertificate, "no_client_certificate"),
        (Self::BadClientCertificate, "bad_client_certificate"),
        (Self::ClientAlert, "client_alert"),
        (Self::Other, "other"),
    ];
}

/// The families; series are made for each listener when it is opened, so that the first event is
/// seen as an increase.
pub struct DownstreamMetrics {
    open: IntGaugeVec,
    accepted: IntCounterVec,
    refused: IntCounterVec,
    closed: IntCounterVec,
    handshake_errors: IntCounterVec,
    certificate_expiry: GaugeVec,
}

/// Handles of one listener.
#[derive(Clone)]
pub struct ListenerMetrics {
    pub open: IntGauge,
    pub accepted: IntCounter,
    pub bad_proxy_header: IntCounter,
    pub too_many: IntCounter,
    pub too_many_of_address: IntCounter,
    closed: [IntCounter; CloseReason::ALL.len()],
    handshake_errors: [IntCounter; HandshakeFault::ALL.len()],
}

impl ListenerMetrics {
    /// Counts a connection that was ended by us.
    pub fn closed(&self, reason: CloseReason) {
        self.closed[reason as usize].inc();
    }

    /// Counts a handshake that failed.
    pub fn tls_fault(&self, fault: HandshakeFault) {
        self.handshake_errors[fault as usize].inc();
    }
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
            refused: maker.counters(
                "portcullis_downstream_connections_refused_total",
                "Connections of clients that were closed unserved.",
                &["listener", "reason"],
            )?,
            closed: maker.counters(
                "portcullis_downstream_connections_closed_total",
                "Connections of clients that the gateway ended because of what they did.",
                &["listener", "reason"],
            )?,
            handshake_errors: maker.counters(
                "portcullis_downstream_tls_handshake_errors_total",
                "TLS handshakes of clients that failed.",
                &["listener", "reason"],
            )?,
            certificate_expiry: maker.dates(
                "portcullis_tls_certificate_expiry_timestamp_seconds",
                "When a certificate that clients are shown ends.",
                &["certificate"],
            )?,
        })
    }

    /// `name`: its address.
    pub fn listener(&self, name: &str) -> ListenerMetrics {
        let refused = |reason| self.refused.with_label_values(&[name, reason]);
        ListenerMetrics {
            open: self.open.with_label_values(&[name]),
            accepted: self.accepted.with_label_values(&[name]),
            bad_proxy_header: refused("bad_proxy_header"),
            too_many: refused("max_connections"),
            too_many_of_address: refused("max_connections_per_address"),
            closed: CloseReason::ALL.map(|(_, word)| self.closed.with_label_values(&[name, word])),
            handshake_errors: HandshakeFault::ALL
                .map(|(_, word)| self.handshake_errors.with_label_values(&[name, word])),
        }
    }

    /// In the order of their names.
    pub fn counts(&self) -> Vec<ListenerCounts> {
        let listeners = by_label(&self.open).into_iter();
        let listener = |(name, open): (String, f64)| ListenerCounts {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it was a count
            open: open as u64,
            accepted: self.accepted.with_label_values(&[&name]).get(),
            name,
        };
        listeners.map(listener).collect()
    }

    /// Files of certificates with the dates of their ends, in seconds since 1970.
    pub fn certificates(&self) -> Vec<(String, f64)> {
        by_label(&self.certificate_expiry)
    }

    /// `file`: where the certificate came from.
    pub fn certificate_expiry(&self, file: &str, not_after: UnixSeconds) {
        let gauge = self.certificate_expiry.with_label_values(&[file]);
        #[allow(clippy::cast_precision_loss)] // dates are far below 2^52
        gauge.set(not_after as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_and_faults_are_in_their_order() {
        for (position, (reason, _)) in CloseReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, position);
        }
        for (position, (fault, _)) in HandshakeFault::ALL.iter().enumerate() {
            assert_eq!(*fault as usize, position);
        }
    }
}
