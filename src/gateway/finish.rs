//! The end of a request: one line, one count, its times.

use std::time::{Duration, Instant};

use http::{Version, header};
use pingora::{http::RequestHeader, proxy::Session};

use super::{Gateway, access_log::Entry, client_closed, context::Context, response_cache};
use crate::{
    domain::Reason,
    metrics::{CacheResult, Phase, UpstreamMetrics},
};

impl Gateway {
    /// Counts and logs a finished request, exactly once.
    pub fn finish(&self, session: &mut Session, context: &mut Context) {
        let now = Instant::now();
        let reason = context.reason();
        let status = session
            .response_written()
            .map(|answer| answer.status)
            .or(context.refused.map(|(status, _)| status))
            .unwrap_or_else(client_closed);
        let total = now - context.started.instant;
        let upstream_time = context.upstream.started.map(|started| now - started);
        let overhead = total
            .saturating_sub(upstream_time.unwrap_or_default())
            .saturating_sub(context.wait);
        let snapshot = &context.snapshot;
        let upstream = context.pool().filter(|_| upstream_time.is_some());
        if let (Some(upstream), Some(time)) = (upstream, upstream_time) {
            count_upstream(&upstream.metrics, context, reason, time);
        }
        if response_cache::is_refresh(session) {
            return;
        }
        let cached = self.count_lookup(session, context);
        let (bytes_in, bytes_out) = (session.body_bytes_read(), session.body_bytes_sent());
        let metrics = snapshot.route_metrics(context.route);
        metrics.count(context.method, status, reason);
        metrics.observe(status, total, overhead);
        metrics.carried(bytes_in, bytes_out);
        if reason == Reason::ClientClosed {
            metrics.aborted(phase(session, context));
        }
        if !self.recorder.listens(context) {
            return;
        }
        let request = session.req_header();
        let entry = Entry {
            method: request.method.as_str(),
            path: request.uri.path(),
            version: version(request.version),
            route: context.route.map(|route| &*snapshot.route(route).name),
            status,
            client: context.caller.client,
            user_agent: user_agent(request),
            decision: reason.decision(),
            reason: reason.word(),
            cache: context.from.map(crate::auth::From::word),
            response_cache: cached.map(CacheResult::word),
            token: context.token.map(|token| token.fingerprint()),
            client_id: context
                .grant()
                .and_then(|grant| grant.claims().text("client_id")),
            subscriber: context.subscriber.as_ref(),
            total,
            auth_wait: context.wait,
            upstream_time,
            upstream: upstream.map(|upstream| upstream.name()),
            upstream_reused: context.upstream.reused,
            bytes_in,
            bytes_out,
            trace_id: context.trace.trace_id(),
        };
        self.recorder.record(&entry, context, now);
    }

    /// What the response cache had to do with the request, if its route has one.
    fn count_lookup(&self, session: &Session, context: &Context) -> Option<CacheResult> {
        context.cached.as_ref()?;
        let result = response_cache::result(session);
        self.response_cache.count(result);
        Some(result)
    }
}

fn user_agent(request: &RequestHeader) -> &[u8] {
    let agent = request.headers.get(header::USER_AGENT);
    agent.map_or(&[], |agent| agent.as_bytes())
}

fn count_upstream(metrics: &UpstreamMetrics, context: &Context, reason: Reason, time: Duration) {
    metrics.duration.observe(time.as_secs_f64());
    if context.upstream.reused {
        metrics.connections_reused.inc();
    } else if let (Some(started), Some(connected)) =
        (context.upstream.started, context.upstream.connected)
    {
        metrics.connections_new.inc();
        let time = connected.saturating_duration_since(started);
        metrics.connect_duration.observe(time.as_secs_f64());
    }
    if let Some(status) = context.upstream.status {
        metrics.count(status);
    }
    match reason {
        Reason::UpstreamConnect => metrics.errors_connect.inc(),
        Reason::UpstreamTimeout => metrics.errors_timeout.inc(),
        Reason::UpstreamReset => metrics.errors_reset.inc(),
        _ => {}
    }
}

/// How far a request has come.
fn phase(session: &Session, context: &Context) -> Phase {
    match (session.response_written(), context.upstream.started) {
        (Some(_), _) => Phase::Body,
        (None, Some(_)) => Phase::Upstream,
        (None, None) => Phase::Auth,
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}
