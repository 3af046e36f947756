//! Every metric of the program: name, help, labels, in one place.
//!
//! Labels never come from clients: routes, issuers and upstreams are the configuration's, methods
//! and status codes come from closed lists, reasons from [`Reason`]. All series exist from the
//! start with 0, so that the first event is a change that an alert can see.
//! `docs/metrics.md` explains them; `tests/docs.rs` holds the two together.

mod api_manager;
mod broker;
mod grid;
mod issuer;
mod jwt;
mod listeners;
mod maker;
mod rate;
mod response_cache;
mod roster;
mod route;
mod subscriptions;
mod totals;
mod upstream;

use std::sync::Arc;

use http::StatusCode;
use prometheus::{
    Encoder, Gauge, Histogram, IntCounter, IntGauge, IntGaugeVec, Registry, TextEncoder,
};

pub use api_manager::{ApiManagerMetrics, ApiManagerOutcome, RowFault};
pub use broker::{BrokerMetrics, RevocationMetrics};
pub use issuer::{
    CredentialMetrics, GrantKind, IntrospectionMetrics, IssuerMetrics, Outcome, RenewalResult,
};
pub use jwt::{JwtMetrics, JwtResult, KeysResult};
pub use listeners::{CloseReason, DownstreamMetrics, HandshakeFault, ListenerMetrics};
pub use rate::RateLimitMetrics;
pub use response_cache::{CacheResult, DiskMetrics, ResponseCacheMetrics};
pub use route::{Phase, RouteMetrics, Zeros};
pub use subscriptions::{ClientFault, SourceHealth, SubscriptionMetrics};
pub use totals::{IssuerCounts, ListenerCounts, RouteCounts, Times, Totals, UpstreamCounts};
pub use upstream::{AddressMetrics, UpstreamMetrics};

use crate::{
    config::{LogLevel, NO_ROUTE},
    domain::Reason,
};
use api_manager::ApiManagerFamilies;
use broker::BrokerFamilies;
use issuer::IssuerFamilies;
use jwt::JwtFamilies;

use maker::Maker;
use rate::RateLimitFamilies;
use route::RouteFamilies;
use upstream::UpstreamFamilies;

/// Everything that is counted in this process. Routes, issuers and upstreams get their handles here
/// when a configuration is taken up.
pub struct Metrics {
    registry: Registry,
    routes: RouteFamilies,
    issuers: IssuerFamilies,
    jwt: JwtFamilies,
    upstreams: UpstreamFamilies,
    rate_limits: RateLimitFamilies,
    api_managers: ApiManagerFamilies,
    brokers: BrokerFamilies,
    pub revocation: Arc<RevocationMetrics>,
    pub token_cache: TokenCacheMetrics,
    pub downstream: DownstreamMetrics,
    /// `portcullis_state`, by `state`: one of them is 1.
    pub state: IntGaugeVec,
    pub response_cache: ResponseCacheMetrics,
    pub subscriptions: SubscriptionMetrics,
    pub reload: ReloadMetrics,
    pub panics: IntCounter,
    pub access_log_dropped: IntCounter,
    /// By [`LogLevel`].
    log_messages: [IntCounter; 4],
    pub trace_spans_dropped: IntCounter,
}

/// `portcullis_token_cache_…`.
pub struct TokenCacheMetrics {
    pub capacity_entries: IntGauge,
    pub hit: IntCounter,
    pub hit_negative: IntCounter,
    pub stale: IntCounter,
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

/// `portcullis_config_…`: taking up changed configurations.
pub struct ReloadMetrics {
    pub ok: IntCounter,
    pub refused: IntCounter,
    pub needs_upgrade: IntCounter,
    pub last_successful: IntGauge,
    last_success: Gauge,
    info: IntGaugeVec,
}

impl ReloadMetrics {
    /// The configuration with this fingerprint is in force, and no other.
    pub fn in_force(&self, fingerprint: &str) {
        self.info.reset();
        self.info.with_label_values(&[fingerprint]).set(1);
    }

    /// A configuration was taken up at this Unix time, in seconds.
    pub fn succeeded_at(&self, date: f64) {
        self.last_successful.set(1);
        self.last_success.set(date);
    }

    /// When the configuration in force was taken up.
    pub fn succeeded_at_last(&self) -> f64 {
        self.last_success.get()
    }
}

impl Metrics {
    /// Creates and registers everything.
    ///
    /// # Errors
    /// A name that is registered twice: a fault of this module, found by every test.
    pub fn new() -> prometheus::Result<Self> {
        let maker = Maker::default();
        maker.build_info()?;
        Ok(Self {
            routes: RouteFamilies::new(&maker)?,
            issuers: IssuerFamilies::new(&maker)?,
            jwt: JwtFamilies::new(&maker)?,
            upstreams: UpstreamFamilies::new(&maker)?,
            rate_limits: RateLimitFamilies::new(&maker)?,
            api_managers: ApiManagerFamilies::new(&maker)?,
            brokers: BrokerFamilies::new(&maker)?,
            revocation: Arc::new(RevocationMetrics::new(&maker)?),
            token_cache: maker.token_cache()?,
            downstream: DownstreamMetrics::new(&maker)?,
            response_cache: ResponseCacheMetrics::new(&maker)?,
            subscriptions: SubscriptionMetrics::new(&maker)?,
            state: maker.state()?,
            reload: maker.reload()?,
            panics: maker.counter(
                "portcullis_panics_total",
                "Panics caught in the gateway's own code. Each is a bug: please report it.",
            )?,
            access_log_dropped: maker.log_dropped()?,
            log_messages: maker.log_messages()?,
            trace_spans_dropped: maker.counter(
                "portcullis_trace_spans_dropped_total",
                "Spans that did not reach the collector: it failed, took them back, or was too slow.",
            )?,
            registry: maker.into_registry(),
        })
    }

    /// Counts messages of the gateway's own log.
    pub fn logged(&self, level: LogLevel, count: u64) {
        self.log_messages[level as usize].inc_by(count);
    }

    /// The handles of a route.
    pub fn route(&self, name: &str, zeros: Zeros) -> Arc<RouteMetrics> {
        self.routes.route(name, zeros)
    }

    /// The handles for requests that no route matched.
    pub fn no_route(&self) -> Arc<RouteMetrics> {
        self.routes.route(NO_ROUTE, Zeros::All)
    }

    /// The handles of a key manager.
    pub fn issuer(&self, name: &str) -> Arc<IssuerMetrics> {
        self.issuers.issuer(name)
    }

    /// The handles of an issuer of JWTs.
    pub fn jwt_issuer(&self, name: &str) -> Arc<JwtMetrics> {
        self.jwt.issuer(name)
    }

    /// Those of all issuers of JWTs.
    pub fn jwt_issuers(&self) -> Vec<Arc<JwtMetrics>> {
        self.jwt.all()
    }

    /// The handles of an upstream.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        self.upstreams.upstream(name)
    }

    /// The handles of a rate limit.
    pub fn rate_limit(&self, name: &str) -> Arc<RateLimitMetrics> {
        self.rate_limits.limit(name)
    }

    /// The handles of a topic of a message broker. `types` are those of its events, `reasons` why
    /// one may be skipped: both are counted by position.
    pub fn broker(&self, topic: &str, types: &[&str], reasons: &[&str]) -> Arc<BrokerMetrics> {
        self.brokers.topic(topic, types, reasons)
    }

    /// The handles of an API Manager.
    pub fn api_manager(&self, name: &str) -> Arc<ApiManagerMetrics> {
        self.api_managers.server(name)
    }

    /// The topics that somebody listens to, by name.
    pub fn brokers(&self) -> Vec<Arc<BrokerMetrics>> {
        self.brokers.all()
    }

    /// Requests counted for a reason on all routes.
    pub fn decided(&self, why: Reason) -> u64 {
        self.routes
            .all()
            .iter()
            .map(|route| route.decided(why))
            .sum()
    }

    /// Requests that are being served, on all routes.
    pub fn all_in_flight(&self) -> i64 {
        self.routes
            .all()
            .iter()
            .map(|route| route.in_flight.get())
            .sum()
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
}

/// Position of a status code's class in arrays of five.
fn class(code: StatusCode) -> usize {
    usize::from(code.as_u16() / 100).clamp(1, 5) - 1
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        route::{CODES, SHOWN_CODES},
        *,
    };
    use crate::domain::{KnownMethod, Methods};

    fn series(metrics: &Metrics) -> Vec<String> {
        let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
        text.lines()
            .filter(|line| line.starts_with("portcullis_"))
            .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
            .collect()
    }

    fn only_get() -> Methods {
        Methods::parse(&["GET"]).unwrap()
    }

    #[test]
    fn every_series_of_ours_is_there_before_the_first_request() {
        let metrics = Metrics::new().unwrap();
        let (route, none) = (
            metrics.route("a", Zeros::Of(only_get())),
            metrics.no_route(),
        );
        let (issuer, _upstream) = (metrics.issuer("i"), metrics.upstream("u"));
        let before = series(&metrics);
        for method in [KnownMethod::Get, KnownMethod::Head] {
            for (code, _) in &CODES[..SHOWN_CODES] {
                for reason in Reason::ALL {
                    route.count(method, StatusCode::from_u16(*code).unwrap(), *reason);
                }
            }
        }
        for method in KnownMethod::ALL {
            none.count(method, StatusCode::NOT_FOUND, Reason::RouteNotFound);
        }
        issuer.introspection.count(Outcome::TooLarge);
        assert_eq!(before, series(&metrics));
    }

    #[test]
    fn hidden_zeros_show_what_is_counted() {
        let metrics = Metrics::new().unwrap();
        let route = metrics.route("a", Zeros::Hidden);
        let of_route = || {
            let all = series(&metrics);
            all.into_iter()
                .filter(|line| line.contains("route=\"a\""))
                .collect::<Vec<_>>()
        };
        assert!(of_route().len() < 10, "{:?}", of_route());
        route.count(KnownMethod::Get, StatusCode::OK, Reason::Active);
        route.observe(StatusCode::OK, Duration::ZERO, Duration::ZERO);
        let shown = of_route();
        assert!(shown.len() > 20, "{shown:?}");
        assert!(!shown.iter().any(|line| line.contains("4xx")));
    }

    #[test]
    fn counts_land_where_they_belong() {
        let metrics = Metrics::new().unwrap();
        let (route, none) = (
            metrics.route("a", Zeros::Of(only_get())),
            metrics.no_route(),
        );
        for code in [StatusCode::OK, StatusCode::IM_A_TEAPOT] {
            route.count(KnownMethod::Get, code, Reason::Active);
        }
        none.count(
            KnownMethod::Other,
            StatusCode::NOT_FOUND,
            Reason::RouteNotFound,
        );
        let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
        for line in [
            r#"portcullis_http_requests_total{code="200",method="GET",route="a"} 1"#,
            r#"portcullis_http_requests_total{code="_OTHER",method="GET",route="a"} 1"#,
            r#"portcullis_http_requests_total{code="404",method="_OTHER",route="_none"} 1"#,
            r#"portcullis_auth_decisions_total{decision="allow",reason="active",route="a"} 2"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert_eq!(metrics.decided(Reason::Active), 2);
    }

    #[test]
    fn series_live_as_long_as_somebody_holds_their_handles() {
        let metrics = Metrics::new().unwrap();
        let empty = series(&metrics);
        let old = (
            metrics.route("a", Zeros::All),
            metrics.issuer("i"),
            metrics.upstream("u"),
        );
        old.0
            .count(KnownMethod::Get, StatusCode::OK, Reason::Active);
        let new = metrics.route("a", Zeros::All);
        drop(old);
        assert_eq!(metrics.decided(Reason::Active), 1);
        drop(new);
        assert_eq!(series(&metrics), empty);
    }
}
