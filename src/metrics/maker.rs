//! Names, help texts and labels: makes every metric and registers it.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector,
};

use super::{
    CLASSES, CODE_COLUMNS, CODES, CredentialMetrics, GrantKind, IntrospectionMetrics, OTHER_CODE,
    Outcome, RenewalResult, RouteMetrics, SHOWN_CODES, StateMetrics, TokenCacheMetrics,
    UpstreamMetrics, grid::Grid,
};
use crate::{
    config::Settings,
    domain::{KnownMethod, Methods, Reason},
};

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

/// Makes metrics and registers them.
#[derive(Default)]
pub struct Maker {
    registry: Registry,
}

impl Maker {
    pub fn into_registry(self) -> Registry {
        self.registry
    }

    fn register<C: Collector + Clone + 'static>(&self, metric: C) -> prometheus::Result<C> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
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

    pub fn build_info(&self) -> prometheus::Result<()> {
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

    pub fn requests(&self, names: &[String], methods: Vec<Methods>) -> prometheus::Result<Grid> {
        let columns = KnownMethod::ALL
            .iter()
            .flat_map(|method| {
                let codes = CODES.iter().map(|(_, word)| *word).chain([OTHER_CODE]);
                codes.map(|code| vec![("method", method.word()), ("code", code)])
            })
            .collect();
        // A route's own methods; all of them where no route, or the wrong method, was asked for.
        let shown = move |row: usize, column: usize| {
            let method = KnownMethod::ALL[column / CODE_COLUMNS];
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

    pub fn decisions(&self, names: &[String]) -> prometheus::Result<Grid> {
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

    pub fn routes(&self, names: &[String]) -> prometheus::Result<Vec<RouteMetrics>> {
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

    pub fn token_cache(&self, capacity: usize) -> prometheus::Result<TokenCacheMetrics> {
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

    pub fn introspection(&self, issuer: &str) -> prometheus::Result<IntrospectionMetrics> {
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

    pub fn credential(&self, issuer: &str) -> prometheus::Result<CredentialMetrics> {
        let renewals = self.counters(
            "portcullis_credential_renewals_total",
            "Times that the gateway asked for a token of its own.",
            &["issuer", "grant", "result"],
        )?;
        let expiry = self.register(prometheus::GaugeVec::new(
            Opts::new(
                "portcullis_credential_expiry_timestamp_seconds",
                "When the gateway's own token ends; 0 while it has none.",
            ),
            &["issuer"],
        )?)?;
        let renewal = |grant: &str, result: RenewalResult| {
            renewals.with_label_values(&[issuer, grant, result.word()])
        };
        Ok(CredentialMetrics {
            renewals: GrantKind::ALL
                .iter()
                .flat_map(|(_, grant)| RenewalResult::ALL.map(|result| renewal(grant, result)))
                .collect(),
            expiry: expiry.with_label_values(&[issuer]),
        })
    }

    pub fn upstreams(&self, settings: &Settings) -> prometheus::Result<Vec<UpstreamMetrics>> {
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

    pub fn state(&self) -> prometheus::Result<StateMetrics> {
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

    pub fn log_dropped(&self) -> prometheus::Result<IntCounter> {
        Ok(self
            .counters(
                "portcullis_log_dropped_total",
                "Log lines that were dropped because the writer fell behind.",
                &["stream"],
            )?
            .with_label_values(&["access"]))
    }
}
