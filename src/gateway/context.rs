//! What one request knows about itself.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderValue, StatusCode};
use prometheus::IntGauge;

use super::{
    Snapshot, attempt::Attempt, caller::Caller, limits::Nearest, refusal::Refusal,
    response_cache::Cached, token_end::TokenEnd,
};
use crate::{
    auth::{From, Moment},
    domain::{
        Grant, KeyType, KnownMethod, Passage, Permit, Reason, Route, StaticAnswer, Subscriber,
        TokenKey,
    },
    telemetry::TraceContext,
    upstream::Pool,
};

/// Lives from the request's header to its line in the access log.
pub struct Context {
    /// The configuration that the request began with.
    pub snapshot: Arc<Snapshot>,
    pub started: Moment,
    pub caller: Caller,
    /// The request's part of its connection.
    pub passage: Option<Passage>,
    /// There were too many requests when this one came.
    pub is_shed: bool,
    pub method: KnownMethod,
    /// It asks for another protocol.
    pub is_upgrade: bool,
    /// Of the body, where the request says it.
    pub content_length: Option<u64>,
    /// Position in the routing table.
    pub route: Option<usize>,
    pub trace: TraceContext,
    /// Without it, no upstream.
    pub permit: Option<Permit>,
    /// What the upstream is told of the caller, signed.
    pub backend_jwt: Option<HeaderValue>,
    /// What is known of the client, on routes of an API.
    pub subscriber: Option<Subscriber>,
    /// How the verdict was come by.
    pub from: Option<From>,
    pub token: Option<TokenKey>,
    /// The path that goes on, in its normal form and rewritten, where that is not how it came.
    pub normal_path: Option<String>,
    /// The question to the key manager, if there was one.
    pub asked: Option<Asked>,
    /// Time that was spent waiting for the key manager.
    pub wait: Duration,
    /// What the gateway answered itself.
    pub refused: Option<(StatusCode, Reason)>,
    pub upstream: UpstreamTimes,
    /// On routes whose answers are kept.
    pub cached: Option<Box<Cached>>,
    /// Where the route ends streams with their token.
    pub token_end: Option<TokenEnd>,
    /// The rate limit that is nearest to refusing this caller.
    pub nearest_limit: Option<Nearest>,
    pub attempt: Attempt,
    in_flight: Option<InFlight>,
}

/// A question to the key manager.
pub struct Asked {
    pub since: Instant,
    pub span: TraceContext,
}

/// Times of the upstream's part.
#[derive(Default)]
pub struct UpstreamTimes {
    /// When it was chosen, last.
    pub started: Option<Instant>,
    /// When the connection was there.
    pub connected: Option<Instant>,
    /// Whether the connection was an old one.
    pub reused: bool,
    /// When its answer began.
    pub answered: Option<Instant>,
    pub status: Option<StatusCode>,
    /// The upstream's part in the trace, where traces are exported.
    pub span: Option<TraceContext>,
}

impl Context {
    /// Notes that the request has begun.
    pub fn begin(&mut self, begun: Option<(Passage, bool)>) {
        if let Some((passage, is_shed)) = begun {
            (self.passage, self.is_shed) = (Some(passage), is_shed);
        }
    }

    /// Notes that a part of the body has come, perhaps the last.
    pub fn see_body(&mut self, is_last: bool) {
        if let (true, Some(passage)) = (is_last, &mut self.passage) {
            passage.end_body();
        }
    }

    /// Whether the connection has had its time.
    pub fn is_last_of_connection(&self) -> bool {
        self.passage.as_ref().is_some_and(Passage::is_last)
    }

    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        Self {
            snapshot,
            started: Moment::now(),
            caller: Caller::default(),
            passage: None,
            is_shed: false,
            method: KnownMethod::Other,
            is_upgrade: false,
            content_length: None,
            route: None,
            trace: TraceContext::NONE,
            permit: None,
            backend_jwt: None,
            subscriber: None,
            from: None,
            token: None,
            normal_path: None,
            asked: None,
            wait: Duration::ZERO,
            refused: None,
            upstream: UpstreamTimes::default(),
            cached: None,
            token_end: None,
            nearest_limit: None,
            attempt: Attempt::default(),
            in_flight: None,
        }
    }

    /// The request is this route's; it counts among those in flight until the context goes, however
    /// it goes.
    pub fn enter(&mut self, route: usize) {
        self.route = Some(route);
        let metrics = self.snapshot.route_metrics(self.route);
        self.in_flight = Some(InFlight::new(&metrics.in_flight));
    }

    /// The route, once it is found.
    pub fn known_route(&self) -> Option<&Route> {
        Some(self.snapshot.route(self.route?))
    }

    /// The upstream that the request goes to; `None` when the gateway answers itself.
    pub fn pool(&self) -> Option<&Arc<Pool>> {
        self.snapshot.upstream_of(self.route?, self.key_type())
    }

    /// Which of the route's upstreams the request is for.
    pub fn key_type(&self) -> KeyType {
        let subscriber = self.subscriber.as_ref();
        subscriber.map_or(KeyType::default(), |known| known.key_type)
    }

    /// Takes note of a refusal; the status that the caller gets.
    pub fn refuse(&mut self, refusal: &Refusal) -> StatusCode {
        let own = self.answer_to(refusal).map(|answer| answer.status);
        let status = own.unwrap_or_else(|| refusal.status(self.snapshot.errors));
        self.refused = Some((status, refusal.reason));
        status
    }

    /// What the route itself has to say to a failure of its upstream.
    pub fn answer_to(&self, refusal: &Refusal) -> Option<&StaticAnswer> {
        let own = self.known_route()?.forward()?.on_failure.as_deref();
        own.filter(|_| refusal.reason.is_of_upstream())
    }

    /// Why the request was cut, if its token ended.
    pub fn cut(&self) -> Option<Refusal> {
        self.token_end.as_ref()?.ended().cloned()
    }

    pub fn grant(&self) -> Option<&Arc<Grant>> {
        self.permit.as_ref()?.grant()
    }

    /// The one reason of this request.
    pub fn reason(&self) -> Reason {
        match (&self.refused, &self.permit) {
            (Some((_, reason)), _) => *reason,
            (None, Some(permit)) if permit.grant().is_some() => Reason::Active,
            (None, Some(_)) => Reason::Public,
            (None, None) => Reason::Internal,
        }
    }
}

struct InFlight(IntGauge);

impl InFlight {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
