//! Who hears of requests when they have ended: the access log, the collector of traces.

use std::{
    fmt::Write,
    sync::Arc,
    time::{Instant, SystemTime},
};

use pingora::http::ResponseHeader;

use super::{AccessLog, access_log::Entry, context::Context};
use crate::telemetry::{Dates, Kind, LastRefused, Refused, Span, Tracer, Value, cut};

/// Where what is known of a request goes. Nothing here makes a request wait.
pub struct Recorder {
    pub access_log: Option<Arc<AccessLog>>,
    pub tracer: Option<Arc<Tracer>>,
    /// For the status page.
    pub last_refused: Arc<LastRefused>,
    /// Whether clients are told where the time went.
    pub server_timing: bool,
}

impl Recorder {
    /// Whether anybody wants to hear of this request.
    pub fn listens(&self, context: &Context) -> bool {
        self.access_log.is_some() || context.refused.is_some() || self.traces(context)
    }

    pub fn record(&self, entry: &Entry<'_>, context: &Context, now: Instant) {
        if let Some(tracer) = self.tracer.as_ref().filter(|_| self.traces(context)) {
            tracer.take(spans(entry, context, now));
        }
        if let Some((status, reason)) = context.refused {
            self.last_refused.push(|| Refused {
                at: SystemTime::now(),
                status,
                reason,
                method: context.method,
                path: cut(entry.path),
                route: entry.route.map(str::to_owned),
                client: entry.client,
                trace_id: entry.trace_id.to_owned(),
            });
        }
        // Last: who sees the line finds the rest.
        if let Some(log) = &self.access_log {
            log.write(entry);
        }
    }

    fn traces(&self, context: &Context) -> bool {
        self.tracer.is_some() && (context.trace.is_sampled() || is_fault(context))
    }

    /// Writes everything out; nothing that comes after this is heard.
    pub fn close(&self) {
        if let Some(log) = &self.access_log {
            log.close();
        }
        if let Some(tracer) = &self.tracer {
            tracer.close();
        }
    }
}

/// A fault is always kept, whatever was decided when the trace began.
fn is_fault(context: &Context) -> bool {
    let refused = context.refused.map(|(status, _)| status);
    let status = refused.or(context.upstream.status);
    status.is_some_and(|status| status.is_server_error())
}

/// The spans of a request: our own, and one for each server that it waited for.
fn spans(entry: &Entry<'_>, context: &Context, now: Instant) -> Vec<Span> {
    let dates = Dates::at(now);
    let mut spans = vec![server_span(entry, context, dates, now)];
    if let Some(asked) = &context.asked {
        let answered = asked.since + context.wait;
        spans.push(Span {
            context: asked.span.clone(),
            kind: Kind::Client,
            name: "introspect".to_owned(),
            start: dates.date(asked.since),
            end: dates.date(answered),
            attributes: entry
                .cache
                .map(|cache| ("portcullis.cache", Value::Word(cache)))
                .into_iter()
                .collect(),
            fault: context.from.is_none().then_some(entry.reason),
        });
    }
    if let (Some(span), Some(started)) = (&context.upstream.span, context.upstream.started) {
        let mut attributes = vec![
            ("http.request.method", Value::Word(context.method.word())),
            (
                "server.address",
                Value::Text(entry.upstream.unwrap_or_default().to_owned()),
            ),
            (
                "portcullis.upstream.reused",
                Value::Flag(entry.upstream_reused),
            ),
        ];
        let status = context.upstream.status;
        if let Some(status) = status {
            let status = Value::Number(status.as_u16().into());
            attributes.push(("http.response.status_code", status));
        }
        let failed = status.is_none_or(|status| status.as_u16() >= 400);
        spans.push(Span {
            context: span.clone(),
            kind: Kind::Client,
            name: "upstream".to_owned(),
            start: dates.date(started),
            end: dates.date(now),
            attributes,
            fault: failed.then_some(entry.reason),
        });
    }
    spans
}

/// By the conventions of OpenTelemetry for HTTP servers, as far as they go.
fn server_span(entry: &Entry<'_>, context: &Context, dates: Dates, now: Instant) -> Span {
    /// Longest text of a client that is told, in characters.
    const MOST: usize = 256;
    let method = context.method.word();
    let cut = |text: &str| Value::Text(text.chars().take(MOST).collect());
    let mut attributes = vec![
        ("http.request.method", Value::Word(method)),
        ("url.path", cut(entry.path)),
        (
            "http.response.status_code",
            Value::Number(entry.status.as_u16().into()),
        ),
        ("network.protocol.version", Value::Word(entry.version)),
        ("portcullis.decision", Value::Word(entry.decision.word())),
        ("portcullis.reason", Value::Word(entry.reason)),
        (
            "user_agent.original",
            cut(&String::from_utf8_lossy(entry.user_agent)),
        ),
    ];
    if let Some(route) = entry.route {
        attributes.push(("portcullis.route", Value::Text(route.to_owned())));
    }
    if let Some(client) = entry.client {
        attributes.push(("client.address", Value::Text(client.to_string())));
    }
    if let Some(cache) = entry.cache {
        attributes.push(("portcullis.cache", Value::Word(cache)));
    }
    if let Some(client_id) = entry.client_id {
        attributes.push(("portcullis.client_id", cut(client_id)));
    }
    Span {
        context: context.trace.clone(),
        kind: Kind::Server,
        name: format!("{method} {}", entry.route.unwrap_or("_none")),
        start: dates.date(context.started.instant),
        end: dates.date(now),
        attributes,
        fault: entry.status.is_server_error().then_some(entry.reason),
    }
}

/// Adds `Server-Timing` (W3C): what went before the upstream, and the upstream's part in ms.
///
/// # Errors
/// Never in practice: the value is printable.
pub fn tell_times(answer: &mut ResponseHeader, context: &Context) -> pingora::Result<()> {
    let before = context.upstream.started.unwrap_or_else(Instant::now);
    let auth = before.saturating_duration_since(context.started.instant);
    let mut text = format!("auth;dur={:.1}", auth.as_secs_f64() * 1e3);
    // Writing to memory cannot fail.
    if let Some(from) = context.from {
        let _ = write!(text, ";desc={}", from.word());
    }
    if let (Some(started), Some(answered)) = (context.upstream.started, context.upstream.answered) {
        let upstream = answered.saturating_duration_since(started);
        let _ = write!(text, ", upstream;dur={:.1}", upstream.as_secs_f64() * 1e3);
    }
    answer.append_header("server-timing", text)?;
    Ok(())
}
