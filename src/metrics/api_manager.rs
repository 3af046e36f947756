//! `portcullis_apim_…`: what is counted of an API Manager that subscriptions come from.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec};

use super::{maker::Maker, roster::Roster};
use crate::domain::RowKind;

/// The handles of one API Manager; its series go with them.
pub struct ApiManagerMetrics {
    name: String,
    /// By kind of rows, then by outcome.
    requests: Vec<IntCounter>,
    /// By kind of rows, then by fault.
    skipped: Vec<IntCounter>,
    families: ApiManagerFamilies,
}

/// How a question to an API Manager ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiManagerOutcome {
    Ok,
    Timeout,
    ConnectError,
    /// Our name and password are not accepted.
    ClientRefused,
    /// Another status than 200.
    HttpError,
    BadBody,
    TooLarge,
}

impl ApiManagerOutcome {
    const WORDS: [&str; 7] = [
        "ok",
        "timeout",
        "connect_error",
        "client_refused",
        "http_error",
        "bad_body",
        "too_large",
    ];
}

/// What is wrong with a row that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFault {
    /// Not JSON, or no object.
    Form,
    /// Something is not there that it is nothing without.
    Missing,
    WrongType,
    /// A number or a length that cannot be.
    OutOfRange,
    /// A word that stands for nothing known here.
    UnknownWord,
}

impl RowFault {
    const WORDS: [&str; 5] = [
        "form",
        "missing",
        "wrong_type",
        "out_of_range",
        "unknown_word",
    ];

    /// The word of the label.
    pub fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

impl ApiManagerMetrics {
    /// A question about rows of this kind was put.
    pub fn asked(&self, kind: RowKind, outcome: ApiManagerOutcome) {
        self.requests[kind as usize * ApiManagerOutcome::WORDS.len() + outcome as usize].inc();
    }

    /// A row was left out; says whether it is the first of its kind with this fault.
    pub fn skip(&self, kind: RowKind, fault: RowFault) -> bool {
        let skipped = &self.skipped[kind as usize * RowFault::WORDS.len() + fault as usize];
        skipped.inc();
        skipped.get() == 1
    }
}

/// The metrics that have a `server` label.
#[derive(Clone)]
pub struct ApiManagerFamilies {
    requests: IntCounterVec,
    skipped: IntCounterVec,
    roster: Roster<ApiManagerMetrics>,
}

impl ApiManagerFamilies {
    pub fn new(maker: &Maker) -> prometheus::Result<Self> {
        Ok(Self {
            requests: maker.counters(
                "portcullis_apim_requests_total",
                "Questions to the API Manager, for whole lists and for single rows.",
                &["server", "list", "outcome"],
            )?,
            skipped: maker.counters(
                "portcullis_apim_rows_skipped_total",
                "Rows of the API Manager that were left out, by what is wrong with them.",
                &["server", "list", "fault"],
            )?,
            roster: Roster::default(),
        })
    }

    pub fn server(&self, name: &str) -> Arc<ApiManagerMetrics> {
        let by = |family: &IntCounterVec, words: &[&str]| {
            let lists = RowKind::ALL.into_iter().map(RowKind::word);
            lists
                .flat_map(|list| words.iter().map(move |word| (list, word)))
                .map(|(list, word)| family.with_label_values(&[name, list, word]))
                .collect()
        };
        self.roster.get(name, || ApiManagerMetrics {
            name: name.to_owned(),
            requests: by(&self.requests, &ApiManagerOutcome::WORDS),
            skipped: by(&self.skipped, &RowFault::WORDS),
            families: self.clone(),
        })
    }
}

impl Drop for ApiManagerMetrics {
    fn drop(&mut self) {
        let (families, name) = (&self.families, self.name.as_str());
        families.roster.clear(name, || {
            // What is not there need not be removed.
            for list in RowKind::ALL.map(RowKind::word) {
                for word in ApiManagerOutcome::WORDS {
                    let _ = families.requests.remove_label_values(&[name, list, word]);
                }
                for word in RowFault::WORDS {
                    let _ = families.skipped.remove_label_values(&[name, list, word]);
                }
            }
        });
    }
}
