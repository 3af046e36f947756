//! Requests that Pingora refuses before any hook of ours sees them: counted and logged all the same.

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::StatusCode;

use super::{AccessLog, Recorder, access_log::Entry};
use crate::{
    domain::{KnownMethod, Reason},
    metrics::{Metrics, RouteMetrics},
};

/// Hears of them.
pub struct Unparsed {
    metrics: Arc<RouteMetrics>,
    access_log: Option<Arc<AccessLog>>,
}

impl Unparsed {
    pub fn new(metrics: &Metrics, recorder: &Recorder) -> Self {
        Self {
            metrics: metrics.no_route(),
            access_log: recorder.access_log.clone(),
        }
    }

    /// `answer`: what the client is sent, from its status code on. What the client had sent is in
    /// nobody's hands any more.
    pub fn tell(&self, client: Option<IpAddr>, answer: &[u8]) {
        let status = answer.get(..3).map(StatusCode::from_bytes);
        let status = status
            .and_then(Result::ok)
            .unwrap_or(StatusCode::BAD_REQUEST);
        let reason = match status {
            StatusCode::METHOD_NOT_ALLOWED => Reason::MethodNotAllowed,
            _ => Reason::MalformedRequest,
        };
        self.metrics.count(KnownMethod::Other, status, reason);
        let Some(log) = &self.access_log else { return };
        log.write(&Entry {
            method: "-",
            path: "-",
            version: "1.1",
            route: None,
            status,
            client,
            user_agent: &[],
            decision: reason.decision(),
            reason: reason.word(),
            cache: None,
            response_cache: None,
            token: None,
            client_id: None,
            subscriber: None,
            total: Duration::ZERO,
            auth_wait: Duration::ZERO,
            upstream_time: None,
            upstream: None,
            upstream_reused: false,
            bytes_in: 0,
            bytes_out: 0,
            trace_id: "",
        });
    }
}
