//! Every metric of the program: name, help, labels, in one place.
//!
//! Labels never come from clients: routes, issuers and upstreams are the configuration's, methods
//! and status codes come from closed lists, reasons from [`Reason`]. All series exist from the
//! start with 0, so that the first event is a change that an alert can see.
//! `docs/metrics.md` explains them; `tests/docs.rs` holds the two together.

mod grid;

use std::time::Duration;

use http::StatusCode;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

use crate::{
    config::Settings,
    domain::{MethodSet, Methods, Reason},
};
use grid::Grid;

/// The `route` label of requests that no route matched.
pub const NO_ROUTE: &str = "_none";

/// Seconds; from a cached answer on loopback to a client that waits.
const DURATION_BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Seconds; what the gateway itself may cost.
const OVERHEAD_BUCKETS: [f64; 10] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1,
];
/// Seconds of life left.
const TTL_BUCKETS: [f64; 10] = [1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0];

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
        let maker = Maker {
            registry: Registry::new(),
        };
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
        maker.build_info()?;
        Ok(Self {
            requests: maker.requests(&names, methods)?,
            decisions: maker.decisions(&names)?,
            routes: maker.routes(&names)?,
            token_cache: maker.token_cache(settings.token_cache.max_entries)?,
            introspection: maker.introspection(
                settings
                    .key_manager
                    .as_ref()
                    .map_or("_none", |key_manager| &key_manager.name),
            )?,
            upstreams: maker.upstreams(settings)?,
            state: maker.state()?,
            panics: maker.counter(
                "portcullis_panics_total",
                "Panics caught in the gateway's own code. Each is a bug: please report it.",
            )?,
            access_log_dropped: maker.log_dropped()?,
            registry: maker.registry,
        })
    }

    /// Counts a finished request under its route (`None`: no route matched).
    pub fn count(&self, route: Option<usize>, method: MethodSet, code: StatusCode, why: Reason) {
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

/// Makes metrics and registers them.
struct Maker {
    registry: Registry,
}

impl Maker {
    fn register<C: Collector + Clone + 'static>(&self, metric: C) -> prometheus::Result<C> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.register(IntCounter::new(name, help)?)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(HistogramVec::new(options, labels)?)
    }

    fn build_info(&self) -> prometheus::Result<()> {
        let info = self.gauges(
            "portcullis_build_info",
            "Always 1; the labels say what is running.",
            &["version", "revision", "rustc", "tls"],
        )?;
        info.with_label_values(&[
            env!("CARGO_PKG_VERSION"),
            env!("PORTCULLIS_REVISION"),
            env!("PORTCULLIS_RUSTC"),
            "rustls",
        ])
        .set(1);
        #[cfg(target_os = "linux")]
        self.registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(())
    }

    fn requests(&self, names: &[String], methods: Vec<Methods>) -> prometheus::Result<Grid> {
        let columns = MethodSet::ALL
            .iter()
            .flat_map(|method| {
                let codes = CODES.iter().map(|(_, word)| *word).chain([OTHER_CODE]);
                codes.map(|code| vec![("method", method.word()), ("code", code)])
            })
            .collect();
        // A route's own methods; all of them where no route, or the wrong method, was asked for.
        let shown = move |row: usize, column: usize| {
            let method = MethodSet::ALL[column / CODE_COLUMNS];
            column % CODE_COLUMNS < SHOWN_CODES
                && methods.get(row).is_none_or(|methods| methods.has(method))
        };
        self.register(Grid::new(
            "portcullis_http_requests_total",
            "Finished requests by route, method and status code.",
            "route",
            names.to_vec(),
            columns,
            shown,
        )?)
    }

    fn decisions(&self, names: &[String]) -> prometheus::Result<Grid> {
        let columns = Reason::ALL
            .iter()
            .map(|reason| {
                vec![
                    ("decision", reason.decision().word()),
                    ("reason", reason.word()),
                ]
            })
            .collect();
        self.register(Grid::new(
            "portcullis_auth_decisions_total",
            "Finished requests by what was decided, and why.",
            "route",
            names.to_vec(),
            columns,
            |_, _| true,
        )?)
    }

    fn routes(&self, names: &[String]) -> prometheus::Result<Vec<RouteMetrics>> {
        let in_flight = self.gauges(
            "portcullis_http_requests_in_flight",
            "Requests that are being served.",
            &["route"],
        )?;
        let duration = self.histograms(
            "portcullis_http_request_duration_seconds",
            "From the request's header to the last byte of the answer.",
            &["route", "code_class"],
            &DURATION_BUCKETS,
        )?;
        let overhead = self.histograms(
            "portcullis_overhead_duration_seconds",
            "Time that the gateway itself took: without upstream, key manager and client.",
            &["route"],
            &OVERHEAD_BUCKETS,
        )?;
        let route = |name: &String| RouteMetrics {
            in_flight: in_flight.with_label_values(&[name]),
            duration: CLASSES.map(|class| duration.with_label_values(&[name.as_str(), class])),
            overhead: overhead.with_label_values(&[name]),
        };
        Ok(names.iter().map(route).collect())
    }

    fn token_cache(&self, capacity: usize) -> prometheus::Result<TokenCacheMetrics> {
        let lookups = self.counters(
            "portcullis_token_cache_lookups_total",
            "Look-ups in the token cache by result.",
            &["cache", "result"],
        )?;
        let lookup = |result: &str| lookups.with_label_values(&["l1", result]);
        let entries = self.gauges(
            "portcullis_token_cache_entries",
            "Answers of the key manager that are kept.",
            &["kind"],
        )?;
        let evictions = self.counters(
            "portcullis_token_cache_evictions_total",
            "Answers that were dropped; by capacity means that the cache is too small.",
            &["reason"],
        )?;
        let insertions = self.counters(
            "portcullis_token_cache_insertions_total",
            "Answers that were put into the token cache.",
            &["kind"],
        )?;
        let limit = self.register(IntGauge::new(
            "portcullis_token_cache_capacity_entries",
            "Most active answers that are kept.",
        )?)?;
        limit.set(i64::try_from(capacity).unwrap_or(i64::MAX));
        Ok(TokenCacheMetrics {
            hit: lookup("hit"),
            hit_negative: lookup("hit_negative"),
            miss: lookup("miss"),
            expired: lookup("expired"),
            active_entries: entries.with_label_values(&["active"]),
            inactive_entries: entries.with_label_values(&["inactive"]),
            bytes: self.register(IntGauge::new(
                "portcullis_token_cache_bytes",
                "Memory held by the token cache, as it is counted against its bound.",
            )?)?,
            evicted_expired: evictions.with_label_values(&["expired"]),
            evicted_capacity: evictions.with_label_values(&["capacity"]),
            inserted_active: insertions.with_label_values(&["active"]),
            inserted_inactive: insertions.with_label_values(&["inactive"]),
            remaining_ttl: self.register(Histogram::with_opts(
                HistogramOpts::new(
                    "portcullis_token_cache_remaining_ttl_seconds",
                    "Life that an answer had left when it was used: how long a token revoked at \
                     that moment lives on.",
                )
                .buckets(TTL_BUCKETS.to_vec()),
            )?)?,
        })
    }

    fn introspection(&self, issuer: &str) -> prometheus::Result<IntrospectionMetrics> {
        let requests = self.counters(
            "portcullis_introspection_requests_total",
            "Calls to the key manager by outcome.",
            &["issuer", "outcome"],
        )?;
        let outcomes = Outcome::ALL
            .iter()
            .map(|(_, word)| requests.with_label_values(&[issuer, *word]))
            .collect();
        let histogram = |name: &str, help: &str| {
            self.histograms(name, help, &["issuer"], &DURATION_BUCKETS)
                .map(|histograms| histograms.with_label_values(&[issuer]))
        };
        let last_success = self.register(prometheus::GaugeVec::new(
            Opts::new(
                "portcullis_introspection_last_success_timestamp_seconds",
                "When the key manager last gave a proper answer.",
            ),
            &["issuer"],
        )?)?;
        Ok(IntrospectionMetrics {
            outcomes,
            duration: histogram(
                "portcullis_introspection_duration_seconds",
                "One call to the key manager.",
            )?,
            wait: histogram(
                "portcullis_introspection_wait_seconds",
                "Time that requests waited for the key manager, joined calls too.",
            )?,
            coalesced: self
                .counters(
                    "portcullis_introspection_coalesced_total",
                    "Requests that joined a call which was under way already.",
                    &["issuer"],
                )?
                .with_label_values(&[issuer]),
            in_flight: self
                .gauges(
                    "portcullis_introspection_in_flight",
                    "Calls to the key manager that are under way.",
                    &["issuer"],
                )?
                .with_label_values(&[issuer]),
            last_success: last_success.with_label_values(&[issuer]),
        })
    }

    fn upstreams(&self, settings: &Settings) -> prometheus::Result<Vec<UpstreamMetrics>> {
        let requests = self.counters(
            "portcullis_upstream_requests_total",
            "Answers of upstreams.",
            &["upstream", "code_class"],
        )?;
        let duration = self.histograms(
            "portcullis_upstream_request_duration_seconds",
            "From the choice of an upstream to the end of its answer.",
            &["upstream"],
            &DURATION_BUCKETS,
        )?;
        let connect = self.histograms(
            "portcullis_upstream_connect_duration_seconds",
            "Time to a new connection to an upstream.",
            &["upstream"],
            &DURATION_BUCKETS,
        )?;
        let connections = self.counters(
            "portcullis_upstream_connections_total",
            "Connections that requests used.",
            &["upstream", "reuse"],
        )?;
        let errors = self.counters(
            "portcullis_upstream_errors_total",
            "Requests that an upstream failed.",
            &["upstream", "reason"],
        )?;
        let upstream = |name: String| {
            let error = |reason: &str| errors.with_label_values(&[name.as_str(), reason]);
            UpstreamMetrics {
                requests: CLASSES.map(|class| requests.with_label_values(&[name.as_str(), class])),
                duration: duration.with_label_values(&[&name]),
                connect_duration: connect.with_label_values(&[&name]),
                connections_new: connections.with_label_values(&[name.as_str(), "new"]),
                connections_reused: connections.with_label_values(&[name.as_str(), "reused"]),
                errors_connect: error("connect"),
                errors_timeout: error("timeout"),
                errors_reset: error("reset"),
            }
        };
        Ok(settings
            .upstreams
            .iter()
            .map(|settings| upstream(settings.name()))
            .collect())
    }

    fn state(&self) -> prometheus::Result<StateMetrics> {
        let state = self.gauges(
            "portcullis_state",
            "Where the process is in its life: the one that is 1.",
            &["state"],
        )?;
        let starting = state.with_label_values(&["starting"]);
        starting.set(1);
        Ok(StateMetrics {
            starting,
            ready: state.with_label_values(&["ready"]),
            draining: state.with_label_values(&["draining"]),
        })
    }

    fn log_dropped(&self) -> prometheus::Result<IntCounter> {
        Ok(self
            .counters(
                "portcullis_log_dropped_total",
                "Log lines that were dropped because the writer fell behind.",
                &["stream"],
            )?
            .with_label_values(&["access"]))
    }
}

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
        for method in [MethodSet::Get, MethodSet::Head] {
            for (code, _) in &CODES[..SHOWN_CODES] {
                for reason in Reason::ALL {
                    let code = StatusCode::from_u16(*code).unwrap();
                    metrics.count(Some(0), method, code, *reason);
                }
            }
        }
        for method in MethodSet::ALL {
            metrics.count(None, method, StatusCode::NOT_FOUND, Reason::RouteNotFound);
        }
        metrics.introspection.count(Outcome::TooLarge);
        assert_eq!(before, series(&metrics));
    }

    #[test]
    fn counts_land_where_they_belong() {
        let metrics = metrics();
        metrics.count(Some(0), MethodSet::Get, StatusCode::OK, Reason::Active);
        metrics.count(
            Some(0),
            MethodSet::Get,
            StatusCode::IM_A_TEAPOT,
            Reason::Active,
        );
        metrics.count(
            None,
            MethodSet::Other,
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
