//! Every metric of the program: name, help, labels, in one place.
//!
//! Labels never come from clients: routes, issuers and upstreams are the configuration's, methods
//! and status codes come from closed lists, reasons from [`Reason`]. All series exist from the
//! start with 0, so that the first event is a change that an alert can see.
//! `docs/metrics.md` explains them; `tests/docs.rs` holds the two together.

mod grid;
mod maker;

use std::time::Duration;

use http::StatusCode;
use prometheus::{Encoder, Gauge, Histogram, IntCounter, IntGauge, Registry, TextEncoder};

use crate::{
    config::{NO_ROUTE, Settings},
    domain::{KnownMethod, Methods, Reason},
};
use grid::Grid;
use maker::Maker;

/// Status codes with a label of their own; the first ten, which the gateway itself answers with,
/// or any upstream may, are shown from the start.
const CODES: [(u16, &str); 29] = [
    (200, "200"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (500, "500"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
    (101, "101"),
    (201, "201"),
    (202, "202"),
    (204, "204"),
    (206, "206"),
    (301, "301"),
    (302, "302"),
    (303, "303"),
    (304, "304"),
    (307, "307"),
    (308, "308"),
    (409, "409"),
    (410, "410"),
    (412, "412"),
    (413, "413"),
    (415, "415"),
    (422, "422"),
    (429, "429"),
    (499, "499"),
];
const SHOWN_CODES: usize = 10;
const OTHER_CODE: &str = "_OTHER";
const CODE_COLUMNS: usize = CODES.len() + 1;

/// The counters, gauges and histograms, with the handles that the request path needs resolved.
pub struct Metrics {
    registry: Registry,
    requests: Grid,
    decisions: Grid,
    routes: Vec<RouteMetrics>,
    pub token_cache: TokenCacheMetrics,
    pub introspection: IntrospectionMetrics,
    pub credential: CredentialMetrics,
    /// In the order of the settings.
    pub upstreams: Vec<UpstreamMetrics>,
    pub state: StateMetrics,
    pub panics: IntCounter,
    pub access_log_dropped: IntCounter,
}

struct RouteMetrics {
    in_flight: IntGauge,
    /// By code class, 1xx to 5xx.
    duration: [Histogram; 5],
    overhead: Histogram,
}

/// `portcullis_token_cache_…`.
pub struct TokenCacheMetrics {
    pub hit: IntCounter,
    pub hit_negative: IntCounter,
    pub miss: IntCounter,
    pub expired: IntCounter,
    pub active_entries: IntGauge,
    pub inactive_entries: IntGauge,
    pub bytes: IntGauge,
    pub evicted_expired: IntCounter,
    pub evicted_capacity: IntCounter,
    pub inserted_active: IntCounter,
    pub inserted_inactive: IntCounter,
    pub remaining_ttl: Histogram,
}

/// `portcullis_introspection_…`.
pub struct IntrospectionMetrics {
    outcomes: Vec<IntCounter>,
    pub duration: Histogram,
    pub wait: Histogram,
    pub coalesced: IntCounter,
    pub in_flight: IntGauge,
    pub last_success: Gauge,
}

/// How one call to the key manager ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Active,
    Inactive,
    Timeout,
    ConnectError,
    ServerError,
    ClientError,
    RateLimited,
    BadBody,
    TooLarge,
    ClientRefused,
}

impl Outcome {
    const ALL: [(Self, &'static str); 10] = [
        (Self::Active, "active"),
        (Self::Inactive, "inactive"),
        (Self::Timeout, "timeout"),
        (Self::ConnectError, "connect_error"),
        (Self::ServerError, "http_5xx"),
        (Self::ClientError, "http_4xx"),
        (Self::RateLimited, "rate_limited"),
        (Self::BadBody, "bad_body"),
        (Self::TooLarge, "too_large"),
        (Self::ClientRefused, "client_refused"),
    ];
}

/// `portcullis_credential_…`: the gateway's own token.
pub struct CredentialMetrics {
    /// By grant, then by result.
    renewals: Vec<IntCounter>,
    /// When the token that is in use ends.
    pub expiry: Gauge,
}

/// How a token of the gateway's own was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantKind {
    ClientCredentials,
    Password,
    RefreshToken,
}

impl GrantKind {
    const ALL: [(Self, &'static str); 3] = [
        (Self::ClientCredentials, "client_credentials"),
        (Self::Password, "password"),
        (Self::RefreshToken, "refresh_token"),
    ];
}

/// What came of asking for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalResult {
    Ok,
    /// The token endpoint said no.
    Refused,
    /// No connection, 5xx or 429.
    Unreachable,
    Timeout,
    /// An answer that is not one of RFC 6749 §5.1.
    BadAnswer,
}

impl RenewalResult {
    const ALL: [Self; 5] = [
        Self::Ok,
        Self::Refused,
        Self::Unreachable,
        Self::Timeout,
        Self::BadAnswer,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::BadAnswer => "bad_answer",
        }
    }
}

impl CredentialMetrics {
    pub fn count(&self, grant: GrantKind, result: RenewalResult) {
        self.renewals[grant as usize * RenewalResult::ALL.len() + result as usize].inc();
    }
}

/// `portcullis_upstream_…`, for one upstream.
pub struct UpstreamMetrics {
    /// By code class, 1xx to 5xx.
    requests: [IntCounter; 5],
    pub duration: Histogram,
    pub connect_duration: Histogram,
    pub connections_new: IntCounter,
    pub connections_reused: IntCounter,
    pub errors_connect: IntCounter,
    pub errors_timeout: IntCounter,
    pub errors_reset: IntCounter,
}

/// `portcullis_state`: one of them is 1.
pub struct StateMetrics {
    pub starting: IntGauge,
    pub ready: IntGauge,
    pub draining: IntGauge,
}

impl Metrics {
    /// Creates and registers everything for these settings.
    ///
    /// # Errors
    /// A name that is registered twice: a fault of this file, found by every test.
    pub fn new(settings: &Settings) -> prometheus::Result<Self> {
        let maker = Maker::default();
        let mut names: Vec<String> = settings
            .routes
            .routes()
            .iter()
            .map(|route| route.name.to_string())
            .collect();
        names.push(NO_ROUTE.to_owned());
        let methods: Vec<Methods> = settings
            .routes
            .routes()
            .iter()
            .map(|route| route.methods)
            .collect();
        let issuer = match &settings.key_manager {
            Some(key_manager) => key_manager.name.as_str(),
            None => "_none",
        };
        maker.build_info()?;
        Ok(Self {
            requests: maker.requests(&names, methods)?,
            decisions: maker.decisions(&names)?,
            routes: maker.routes(&names)?,
            token_cache: maker.token_cache(settings.token_cache.max_entries)?,
            introspection: maker.introspection(issuer)?,
            credential: maker.credential(issuer)?,
            upstreams: maker.upstreams(settings)?,
            state: maker.state()?,
            panics: maker.counter(
                "portcullis_panics_total",
                "Panics caught in the gateway's own code. Each is a bug: please report it.",
            )?,
            access_log_dropped: maker.log_dropped()?,
            registry: maker.into_registry(),
        })
    }

    /// Counts a finished request under its route (`None`: no route matched).
    pub fn count(&self, route: Option<usize>, method: KnownMethod, code: StatusCode, why: Reason) {
        let row = route.unwrap_or(self.routes.len() - 1);
        let code = code.as_u16();
        let column = CODES
            .iter()
            .position(|(known, _)| *known == code)
            .unwrap_or(CODES.len());
        self.requests
            .inc(row, method as usize * CODE_COLUMNS + column);
        self.decisions.inc(row, why.index());
    }

    /// Requests counted for a reason on all routes.
    pub fn decided(&self, why: Reason) -> u64 {
        (0..self.routes.len())
            .map(|row| self.decisions.get(row, why.index()))
            .sum()
    }

    /// Times of a finished request: all of it, and what the gateway itself took.
    pub fn observe(
        &self,
        route: Option<usize>,
        code: StatusCode,
        total: Duration,
        overhead: Duration,
    ) {
        let metrics = self.route(route);
        metrics.duration[class(code)].observe(total.as_secs_f64());
        metrics.overhead.observe(overhead.as_secs_f64());
    }

    pub fn in_flight(&self, route: Option<usize>) -> &IntGauge {
        &self.route(route).in_flight
    }

    /// Requests that are being served, on all routes.
    pub fn all_in_flight(&self) -> i64 {
        self.routes.iter().map(|route| route.in_flight.get()).sum()
    }

    /// The text format of Prometheus, version 0.0.4.
    ///
    /// # Errors
    /// Never in practice: the buffer grows.
    pub fn encode(&self) -> prometheus::Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    fn route(&self, route: Option<usize>) -> &RouteMetrics {
        &self.routes[route.unwrap_or(self.routes.len() - 1)]
    }
}

impl IntrospectionMetrics {
    pub fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].inc();
    }
}

impl UpstreamMetrics {
    pub fn count(&self, code: StatusCode) {
        self.requests[class(code)].inc();
    }
}

/// Position of a status code's class in arrays of five.
fn class(code: StatusCode) -> usize {
    usize::from(code.as_u16() / 100).clamp(1, 5) - 1
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Source, load_source};

    fn metrics() -> Metrics {
        let text = r#"
            [keyManager]
            introspectUrl = "http://127.0.0.1:1/introspect"
            [[route]]
            path = "/a/*"
            methods = ["GET"]
            upstream = "http://127.0.0.1:2"
        "#;
        let loaded = load_source(Source::memory(text), &Environment::default())
            .unwrap_or_else(|problems| panic!("{problems}"));
        Metrics::new(&loaded.settings).unwrap()
    }

    fn series(metrics: &Metrics) -> Vec<String> {
        let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
        text.lines()
            .filter(|line| line.starts_with("portcullis_"))
            .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
            .collect()
    }

    #[test]
    fn every_series_of_ours_is_there_before_the_first_request() {
        let metrics = metrics();
        let before = series(&metrics);
        for method in [KnownMethod::Get, KnownMethod::Head] {
            for (code, _) in &CODES[..SHOWN_CODES] {
                for reason in Reason::ALL {
                    let code = StatusCode::from_u16(*code).unwrap();
                    metrics.count(Some(0), method, code, *reason);
                }
            }
        }
        for method in KnownMethod::ALL {
            metrics.count(None, method, StatusCode::NOT_FOUND, Reason::RouteNotFound);
        }
        metrics.introspection.count(Outcome::TooLarge);
        assert_eq!(before, series(&metrics));
    }

    #[test]
    fn counts_land_where_they_belong() {
        let metrics = metrics();
        metrics.count(Some(0), KnownMethod::Get, StatusCode::OK, Reason::Active);
        metrics.count(
            Some(0),
            KnownMethod::Get,
            StatusCode::IM_A_TEAPOT,
            Reason::Active,
        );
        metrics.count(
            None,
            KnownMethod::Other,
            StatusCode::NOT_FOUND,
            Reason::RouteNotFound,
        );
        let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
        for line in [
            r#"portcullis_http_requests_total{code="200",method="GET",route="GET,HEAD /a/*"} 1"#,
            r#"portcullis_http_requests_total{code="_OTHER",method="GET",route="GET,HEAD /a/*"} 1"#,
            r#"portcullis_http_requests_total{code="404",method="_OTHER",route="_none"} 1"#,
            r#"portcullis_auth_decisions_total{decision="allow",reason="active",route="GET,HEAD /a/*"} 2"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert_eq!(metrics.decided(Reason::Active), 2);
    }

    #[test]
    fn outcomes_are_in_their_order() {
        for (position, (outcome, _)) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, position);
        }
    }
}
