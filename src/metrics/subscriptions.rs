//! `portcullis_subscriptions_…`, for whatever source.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use prometheus::{Gauge, IntCounter, IntGauge};

use super::{Metrics, maker::Maker};
use crate::domain::RowKind;

/// What is wrong with a client of a list, so that it is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientFault {
    /// Not a table.
    Form,
    /// Something is not there that it is nothing without.
    Missing,
    WrongType,
    /// A key that means nothing here, so that nobody knows what was meant.
    UnknownKey,
    /// A word that means nothing here.
    UnknownWord,
    /// The client stands in the list a second time.
    Twice,
}

impl ClientFault {
    pub const ALL: [Self; 6] = [
        Self::Form,
        Self::Missing,
        Self::WrongType,
        Self::UnknownKey,
        Self::UnknownWord,
        Self::Twice,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Missing => "missing",
            Self::WrongType => "wrong_type",
            Self::UnknownKey => "unknown_key",
            Self::UnknownWord => "unknown_word",
            Self::Twice => "twice",
        }
    }
}

/// Handles of `portcullis_subscriptions_…`.
pub struct SubscriptionMetrics {
    rows: [IntGauge; RowKind::ALL.len()],
    age: Gauge,
    source_up: IntGauge,
    skipped: [IntCounter; ClientFault::ALL.len()],
}

/// How it is with one source. Metrics show that of the source in force: while a configuration with another
/// one is tried, both are at work.
pub struct SourceHealth {
    metrics: Arc<Metrics>,
    word: Mutex<Word>,
}

/// The last word of the source.
struct Word {
    is_shown: bool,
    /// When the data was the source's, last; Unix time in seconds.
    confirmed: Option<f64>,
    since: f64,
    /// Why there is no newer one.
    failure: Option<String>,
}

impl SubscriptionMetrics {
    pub fn new(maker: &Maker) -> prometheus::Result<Self> {
        let rows = maker.gauges(
            "portcullis_subscriptions_rows",
            "Rows that are known, by what they are of.",
            &["kind"],
        )?;
        let skipped = maker.counters(
            "portcullis_subscriptions_skipped_total",
            "Clients of the file or address that were left out, by what is wrong with them.",
            &["fault"],
        )?;
        Ok(Self {
            rows: RowKind::ALL.map(|kind| rows.with_label_values(&[kind.word()])),
            age: maker.register(Gauge::new(
                "portcullis_subscriptions_age_seconds",
                "Time since the data was what the source says, or since the start if it never was.",
            )?)?,
            source_up: maker.gauge(
                "portcullis_subscriptions_source_up",
                "1: the source answered the last time.",
            )?,
            skipped: ClientFault::ALL.map(|fault| skipped.with_label_values(&[fault.word()])),
        })
    }

    /// A client was left out; says whether it is the first one with this fault.
    pub fn skip(&self, fault: ClientFault) -> bool {
        let skipped = &self.skipped[fault as usize];
        skipped.inc();
        skipped.get() == 1
    }

    /// There is no source.
    pub fn clear(&self) {
        self.source_up.set(0);
        self.observe(0.0, |_| 0);
    }

    fn observe(&self, age: f64, rows: impl Fn(RowKind) -> usize) {
        for (kind, gauge) in RowKind::ALL.into_iter().zip(&self.rows) {
            gauge.set(i64::try_from(rows(kind)).unwrap_or(i64::MAX));
        }
        self.age.set(age);
    }
}

impl SourceHealth {
    pub fn new(metrics: &Arc<Metrics>) -> Self {
        let word = Word {
            is_shown: false,
            confirmed: None,
            since: now(),
            failure: None,
        };
        Self {
            metrics: Arc::clone(metrics),
            word: Mutex::new(word),
        }
    }

    /// Whether metrics are to show it.
    pub fn show(&self, is_shown: bool) {
        let mut word = self.word.lock();
        word.is_shown = is_shown;
        self.show_answer(&word);
    }

    /// The data is what the source says now.
    pub fn confirmed(&self) {
        let mut word = self.word.lock();
        (word.confirmed, word.failure) = (Some(now()), None);
        self.show_answer(&word);
    }

    /// The source cannot be read; says whether that is another reason than before.
    pub fn failed(&self, why: &str) -> bool {
        let mut word = self.word.lock();
        let is_news = word.failure.as_deref() != Some(why);
        word.failure = Some(why.to_owned());
        self.show_answer(&word);
        is_news
    }

    /// See [`SubscriptionMetrics::skip`].
    pub fn skip(&self, fault: ClientFault) -> bool {
        self.metrics.subscriptions.skip(fault)
    }

    /// Brings the gauges up to date.
    pub fn observe(&self, rows: impl Fn(RowKind) -> usize) {
        let word = self.word.lock();
        if word.is_shown {
            self.metrics.subscriptions.observe(word.age(), rows);
        }
    }

    /// Seconds since the data was what the source says.
    pub fn age(&self) -> f64 {
        self.word.lock().age()
    }

    /// Why there is nothing newer, if the last attempt failed.
    pub fn failure(&self) -> Option<String> {
        self.word.lock().failure.clone()
    }

    fn show_answer(&self, word: &Word) {
        if word.is_shown {
            let is_up = word.confirmed.is_some() && word.failure.is_none();
            self.metrics.subscriptions.source_up.set(is_up.into());
        }
    }
}

impl Word {
    fn age(&self) -> f64 {
        (now() - self.confirmed.unwrap_or(self.since)).max(0.0)
    }
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}
