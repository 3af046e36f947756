//! Names, help texts and labels: makes every metric and registers it.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, core::Collector,
};

use super::{ReloadMetrics, TokenCacheMetrics};

/// Seconds; from a cached answer on loopback to a client that waits.
pub const DURATION_BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Seconds; what the gateway itself may cost.
pub const OVERHEAD_BUCKETS: [f64; 10] = [
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

    pub fn register<C: Collector + Clone + 'static>(&self, metric: C) -> prometheus::Result<C> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.register(IntCounter::new(name, help)?)
    }

    pub fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.register(IntGauge::new(name, help)?)
    }

    pub fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    pub fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// Gauges of Unix time, in seconds.
    pub fn dates(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
        self.register(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub fn histograms(
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

    pub fn token_cache(&self) -> prometheus::Result<TokenCacheMetrics> {
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
        Ok(TokenCacheMetrics {
            capacity_entries: self.register(IntGauge::new(
                "portcullis_token_cache_capacity_entries",
                "Most active answers that are kept.",
            )?)?,
            hit: lookup("hit"),
            hit_negative: lookup("hit_negative"),
            stale: lookup("stale"),
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

    pub fn state(&self) -> prometheus::Result<IntGaugeVec> {
        self.gauges(
            "portcullis_state",
            "Where the process is in its life: the one that is 1.",
            &["state"],
        )
    }

    pub fn reload(&self) -> prometheus::Result<ReloadMetrics> {
        let reloads = self.counters(
            "portcullis_config_reloads_total",
            "Times that a changed configuration was to be taken up.",
            &["result"],
        )?;
        Ok(ReloadMetrics {
            ok: reloads.with_label_values(&["ok"]),
            refused: reloads.with_label_values(&["refused"]),
            needs_upgrade: reloads.with_label_values(&["needs_upgrade"]),
            info: self.gauges(
                "portcullis_config_info",
                "Always 1; the label is the fingerprint of the configuration in force.",
                &["sha256"],
            )?,
            last_successful: self.register(IntGauge::new(
                "portcullis_config_last_reload_successful",
                "Whether the last configuration that was read is in force.",
            )?)?,
            last_success: self.register(Gauge::new(
                "portcullis_config_last_reload_success_timestamp_seconds",
                "When the configuration in force was taken up.",
            )?)?,
        })
    }

    /// By level, from errors on.
    pub fn log_messages(&self) -> prometheus::Result<[IntCounter; 4]> {
        let messages = self.counters(
            "portcullis_log_messages_total",
            "Messages of the gateway's own log.",
            &["level"],
        )?;
        let levels = ["error", "warn", "info", "debug"];
        Ok(levels.map(|level| messages.with_label_values(&[level])))
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
