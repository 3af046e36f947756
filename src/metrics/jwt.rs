//! `portcullis_jwt_…` and `portcullis_jwks_…`: what is counted for each issuer of JWTs.

use std::sync::Arc;

use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{maker::Maker, roster::Roster};

/// The handles of one issuer; its series go with them.
pub struct JwtMetrics {
    pub name: String,
    verifications: Vec<IntCounter>,
    refreshes: Vec<IntCounter>,
    pub keys: IntGauge,
    /// When its keys were last had.
    pub last_refresh: Gauge,
    families: JwtFamilies,
}

/// What came of looking at a JWT's signature and claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtResult {
    Ok,
    Malformed,
    Algorithm,
    UnknownKey,
    BadSignature,
    NotAnAccessToken,
    Audience,
    NoKeys,
}

impl JwtResult {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Ok, "ok"),
        (Self::Malformed, "malformed"),
        (Self::Algorithm, "algorithm"),
        (Self::UnknownKey, "unknown_key"),
        (Self::BadSignature, "bad_signature"),
        (Self::NotAnAccessToken, "wrong_token_type"),
        (Self::Audience, "audience_mismatch"),
        (Self::NoKeys, "keys_unavailable"),
    ];
}

/// What came of asking for an issuer's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysResult {
    Ok,
    /// No answer, or not 200.
    Unreachable,
    /// An answer that is no set of keys.
    BadAnswer,
}

impl KeysResult {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Ok, "ok"),
        (Self::Unreachable, "unreachable"),
        (Self::BadAnswer, "bad_answer"),
    ];
}

impl JwtMetrics {
    pub fn verified(&self, result: JwtResult) {
        self.verifications[result as usize].inc();
    }

    pub fn refreshed(&self, result: KeysResult) {
        self.refreshes[result as usize].inc();
    }

    /// Tokens whose signature and claims were good, and that were not.
    pub fn counts(&self) -> (u64, u64) {
        let ok = self.verifications[JwtResult::Ok as usize].get();
        let all: u64 = self.verifications.iter().map(IntCounter::get).sum();
        (ok, all - ok)
    }
}

/// The metrics of issuers of JWTs.
#[derive(Clone)]
pub struct JwtFamilies {
    verifications: IntCounterVec,
    refreshes: IntCounterVec,
    keys: IntGaugeVec,
    last_refresh: GaugeVec,
    roster: Roster<JwtMetrics>,
}

impl JwtFamilies {
    pub fn new(maker: &Maker) -> prometheus::Result<Self> {
        Ok(Self {
            verifications: maker.counters(
                "portcullis_jwt_verifications_total",
                "JWTs whose signature and claims were looked at, by what came of it.",
                &["issuer", "result"],
            )?,
            refreshes: maker.counters(
                "portcullis_jwks_refreshes_total",
                "Times that an issuer's keys were asked for.",
                &["issuer", "result"],
            )?,
            keys: maker.gauges(
                "portcullis_jwks_keys",
                "Keys of an issuer that can prove a signature.",
                &["issuer"],
            )?,
            last_refresh: maker.dates(
                "portcullis_jwks_last_success_timestamp_seconds",
                "When an issuer's keys were last had; 0 before the first time.",
                &["issuer"],
            )?,
            roster: Roster::default(),
        })
    }

    pub fn issuer(&self, name: &str) -> Arc<JwtMetrics> {
        self.roster.get(name, || JwtMetrics {
            name: name.to_owned(),
            verifications: JwtResult::ALL
                .iter()
                .map(|(_, word)| self.verifications.with_label_values(&[name, *word]))
                .collect(),
            refreshes: KeysResult::ALL
                .iter()
                .map(|(_, word)| self.refreshes.with_label_values(&[name, *word]))
                .collect(),
            keys: self.keys.with_label_values(&[name]),
            last_refresh: self.last_refresh.with_label_values(&[name]),
            families: self.clone(),
        })
    }

    pub fn all(&self) -> Vec<Arc<JwtMetrics>> {
        self.roster.all()
    }
}

impl Drop for JwtMetrics {
    fn drop(&mut self) {
        let (name, families) = (self.name.as_str(), &self.families);
        // What is not there need not be removed.
        families.roster.clear(name, || {
            let _ = families.keys.remove_label_values(&[name]);
            let _ = families.last_refresh.remove_label_values(&[name]);
            for (_, word) in JwtResult::ALL {
                let _ = families.verifications.remove_label_values(&[name, word]);
            }
            for (_, word) in KeysResult::ALL {
                let _ = families.refreshes.remove_label_values(&[name, word]);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_their_order() {
        for (position, (result, _)) in JwtResult::ALL.iter().enumerate() {
            assert_eq!(*result as usize, position);
        }
        for (position, (result, _)) in KeysResult::ALL.iter().enumerate() {
            assert_eq!(*result as usize, position);
        }
    }
}
