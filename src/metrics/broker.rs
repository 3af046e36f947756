//! `portcullis_broker_…`, `portcullis_events_…` and `portcullis_revo…`: what comes from a message
//! broker, and the tokens that are revoked by it.

use std::sync::Arc;

use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{maker::Maker, roster::Roster};

/// The handles of one topic; its series go with them.
pub struct BrokerMetrics {
    topic: String,
    /// 1 while messages can come.
    pub connected: IntGauge,
    pub connections: IntCounter,
    pub failures: IntCounter,
    /// Unix time, in seconds.
    pub last_event: Gauge,
    /// By type.
    events: Vec<(String, IntCounter)>,
    /// By reason.
    skipped: Vec<(String, IntCounter)>,
    families: BrokerFamilies,
}

impl BrokerMetrics {
    /// An event of the type at this position came at this Unix time, in seconds.
    pub fn event(&self, kind: usize, date: f64) {
        if let Some((_, counter)) = self.events.get(kind) {
            counter.inc();
        }
        self.last_event.set(date);
    }

    /// A message was skipped for the reason at this position.
    pub fn skip(&self, reason: usize) {
        if let Some((_, counter)) = self.skipped.get(reason) {
            counter.inc();
        }
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Events by type, those that came at all.
    pub fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        let counts = self
            .events
            .iter()
            .map(|(kind, counter)| (kind.as_str(), counter.get()));
        counts.filter(|(_, count)| *count > 0)
    }

    /// Messages that were skipped.
    pub fn all_skipped(&self) -> u64 {
        self.skipped.iter().map(|(_, counter)| counter.get()).sum()
    }
}

/// The metrics that have a `topic` label.
#[derive(Clone)]
pub struct BrokerFamilies {
    connected: IntGaugeVec,
    connections: IntCounterVec,
    last_event: GaugeVec,
    events: IntCounterVec,
    skipped: IntCounterVec,
    roster: Roster<BrokerMetrics>,
}

impl BrokerFamilies {
    pub fn new(maker: &Maker) -> prometheus::Result<Self> {
        Ok(Self {
            connected: maker.gauges(
                "portcullis_broker_connected",
                "1 while a broker is connected and the queue for this topic is bound.",
                &["topic"],
            )?,
            connections: maker.counters(
                "portcullis_broker_connections_total",
                "Attempts to connect to a broker and to bind the queue.",
                &["topic", "result"],
            )?,
            last_event: maker.dates(
                "portcullis_broker_last_event_timestamp_seconds",
                "Unix time of the last event; 0: none yet.",
                &["topic"],
            )?,
            events: maker.counters(
                "portcullis_events_total",
                "Events that came from a broker and could be read.",
                &["topic", "type"],
            )?,
            skipped: maker.counters(
                "portcullis_events_skipped_total",
                "Messages of a broker that were skipped, by reason.",
                &["topic", "reason"],
            )?,
            roster: Roster::default(),
        })
    }

    pub fn all(&self) -> Vec<Arc<BrokerMetrics>> {
        let mut all = self.roster.all();
        all.sort_by(|one, other| one.topic.cmp(&other.topic));
        all
    }

    pub fn topic(&self, topic: &str, types: &[&str], reasons: &[&str]) -> Arc<BrokerMetrics> {
        let by = |family: &IntCounterVec, words: &[&str]| {
            let counter = |word: &&str| {
                let counter = family.with_label_values(&[topic, word]);
                ((*word).to_owned(), counter)
            };
            words.iter().map(counter).collect()
        };
        self.roster.get(topic, || BrokerMetrics {
            topic: topic.to_owned(),
            connected: self.connected.with_label_values(&[topic]),
            connections: self.connections.with_label_values(&[topic, "ok"]),
            failures: self.connections.with_label_values(&[topic, "failed"]),
            last_event: self.last_event.with_label_values(&[topic]),
            events: by(&self.events, types),
            skipped: by(&self.skipped, reasons),
            families: self.clone(),
        })
    }
}

impl Drop for BrokerMetrics {
    fn drop(&mut self) {
        let (families, topic) = (&self.families, self.topic.as_str());
        families.roster.clear(topic, || {
            // What is not there need not be removed.
            let _ = families.connected.remove_label_values(&[topic]);
            let _ = families.last_event.remove_label_values(&[topic]);
            for result in ["ok", "failed"] {
                let _ = families.connections.remove_label_values(&[topic, result]);
            }
            for (kind, _) in &self.events {
                let _ = families.events.remove_label_values(&[topic, kind]);
            }
            for (reason, _) in &self.skipped {
                let _ = families.skipped.remove_label_values(&[topic, reason]);
            }
        });
    }
}

/// Tokens that were revoked before their end.
pub struct RevocationMetrics {
    pub entries: IntGauge,
    pub evicted: IntCounter,
    pub list_ok: IntCounter,
    pub list_failed: IntCounter,
}

impl RevocationMetrics {
    pub fn new(maker: &Maker) -> prometheus::Result<Self> {
        let fetches = maker.counters(
            "portcullis_revocation_list_fetches_total",
            "Attempts to fetch the list of revoked tokens.",
            &["result"],
        )?;
        Ok(Self {
            entries: maker.gauge(
                "portcullis_revoked_tokens",
                "Tokens that are known to be revoked, and would not have ended yet.",
            )?,
            evicted: maker.counter(
                "portcullis_revoked_tokens_evicted_total",
                "Revoked tokens that were forgotten before their end, because there are too many.",
            )?,
            list_ok: fetches.with_label_values(&["ok"]),
            list_failed: fetches.with_label_values(&["failed"]),
        })
    }
}
