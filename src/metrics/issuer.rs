//! `portcullis_introspection_…` and `portcullis_credential_…`: what is counted for each key manager.

use std::sync::Arc;

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};

use super::{
    maker::{DURATION_BUCKETS, Maker},
    roster::Roster,
};

/// The handles of one key manager; its series go with them.
pub struct IssuerMetrics {
    pub(super) name: String,
    pub introspection: IntrospectionMetrics,
    pub credential: CredentialMetrics,
    families: IssuerFamilies,
}

/// `portcullis_introspection_…`.
pub struct IntrospectionMetrics {
    outcomes: Vec<IntCounter>,
    pub duration: Histogram,
    pub wait: Histogram,
    pub coalesced: IntCounter,
    pub in_flight: IntGauge,
    pub queue_depth: IntGauge,
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

impl Outcome {
    /// The word of the label.
    pub(super) fn word(self) -> &'static str {
        Self::ALL[self as usize].1
    }
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

impl IntrospectionMetrics {
    pub fn count(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].inc();
    }

    /// How often each outcome occurred.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = (Outcome, u64)> {
        let outcomes = Outcome::ALL.iter().zip(&self.outcomes);
        outcomes.map(|((outcome, _), counter)| (*outcome, counter.get()))
    }
}

/// The metrics that have an `issuer` label.
#[derive(Clone)]
pub struct IssuerFamilies {
    requests: IntCounterVec,
    duration: HistogramVec,
    wait: HistogramVec,
    coalesced: IntCounterVec,
    in_flight: IntGaugeVec,
    queue_depth: IntGaugeVec,
    last_success: GaugeVec,
    renewals: IntCounterVec,
    expiry: GaugeVec,
    roster: Roster<IssuerMetrics>,
}

impl IssuerFamilies {
    pub fn new(maker: &Maker) -> prometheus::Result<Self> {
        Ok(Self {
            requests: maker.counters(
                "portcullis_introspection_requests_total",
                "Calls to the key manager by outcome.",
                &["issuer", "outcome"],
            )?,
            duration: maker.histograms(
                "portcullis_introspection_duration_seconds",
                "One call to the key manager.",
                &["issuer"],
                &DURATION_BUCKETS,
            )?,
            wait: maker.histograms(
                "portcullis_introspection_wait_seconds",
                "Time that requests waited for the key manager, joined calls too.",
                &["issuer"],
                &DURATION_BUCKETS,
            )?,
            coalesced: maker.counters(
                "portcullis_introspection_coalesced_total",
                "Requests that joined a call which was under way already.",
                &["issuer"],
            )?,
            in_flight: maker.gauges(
                "portcullis_introspection_in_flight",
                "Calls to the key manager that are under way.",
                &["issuer"],
            )?,
            queue_depth: maker.gauges(
                "portcullis_introspection_queue_depth",
                "Calls to the key manager that wait for a place among those under way.",
                &["issuer"],
            )?,
            last_success: maker.dates(
                "portcullis_introspection_last_success_timestamp_seconds",
                "When the key manager last gave a proper answer.",
                &["issuer"],
            )?,
            renewals: maker.counters(
                "portcullis_credential_renewals_total",
                "Times that the gateway asked for a token of its own.",
                &["issuer", "grant", "result"],
            )?,
            expiry: maker.dates(
                "portcullis_credential_expiry_timestamp_seconds",
                "When the gateway's own token ends; 0 while it has none.",
                &["issuer"],
            )?,
            roster: Roster::default(),
        })
    }

    pub fn issuer(&self, name: &str) -> Arc<IssuerMetrics> {
        self.roster.get(name, || IssuerMetrics {
            name: name.to_owned(),
            introspection: self.introspection(name),
            credential: self.credential(name),
            families: self.clone(),
        })
    }

    pub fn all(&self) -> Vec<Arc<IssuerMetrics>> {
        self.roster.all()
    }

    fn introspection(&self, name: &str) -> IntrospectionMetrics {
        IntrospectionMetrics {
            outcomes: Outcome::ALL
                .iter()
                .map(|(_, word)| self.requests.with_label_values(&[name, *word]))
                .collect(),
            duration: self.duration.with_label_values(&[name]),
            wait: self.wait.with_label_values(&[name]),
            coalesced: self.coalesced.with_label_values(&[name]),
            in_flight: self.in_flight.with_label_values(&[name]),
            queue_depth: self.queue_depth.with_label_values(&[name]),
            last_success: self.last_success.with_label_values(&[name]),
        }
    }

    fn credential(&self, name: &str) -> CredentialMetrics {
        let renewal = |grant: &str, result: RenewalResult| {
            self.renewals
                .with_label_values(&[name, grant, result.word()])
        };
        CredentialMetrics {
            renewals: GrantKind::ALL
                .iter()
                .flat_map(|(_, grant)| RenewalResult::ALL.map(|result| renewal(grant, result)))
                .collect(),
            expiry: self.expiry.with_label_values(&[name]),
        }
    }
}

impl Drop for IssuerMetrics {
    fn drop(&mut self) {
        let (name, families) = (self.name.as_str(), &self.families);
        // What is not there need not be removed.
        families.roster.clear(name, || {
            let _ = families.duration.remove_label_values(&[name]);
            let _ = families.wait.remove_label_values(&[name]);
            let _ = families.coalesced.remove_label_values(&[name]);
            let _ = families.in_flight.remove_label_values(&[name]);
            let _ = families.queue_depth.remove_label_values(&[name]);
            let _ = families.last_success.remove_label_values(&[name]);
            let _ = families.expiry.remove_label_values(&[name]);
            for (_, word) in Outcome::ALL {
                let _ = families.requests.remove_label_values(&[name, word]);
            }
            for (_, grant) in GrantKind::ALL {
                for result in RenewalResult::ALL {
                    let labels = [name, grant, result.word()];
                    let _ = families.renewals.remove_label_values(&labels);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_in_their_order() {
        for (position, (outcome, _)) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, position);
        }
    }
}
