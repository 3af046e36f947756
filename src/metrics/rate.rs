//! `portcullis_rate_limit_…`: what is counted for each limit.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec};

use super::{maker::Maker, roster::Roster};

/// The handles of one limit; its series go with them.
pub struct RateLimitMetrics {
    name: String,
    pub allowed: IntCounter,
    pub limited: IntCounter,
    families: RateLimitFamilies,
}

/// The metrics that have a `limit` label.
#[derive(Clone)]
pub struct RateLimitFamilies {
    decisions: IntCounterVec,
    roster: Roster<RateLimitMetrics>,
}

const RESULTS: [&str; 2] = ["allowed", "limited"];

impl RateLimitFamilies {
    pub fn new(maker: &Maker) -> prometheus::Result<Self> {
        Ok(Self {
            decisions: maker.counters(
                "portcullis_rate_limit_decisions_total",
                "Requests that a rate limit was asked about.",
                &["limit", "result"],
            )?,
            roster: Roster::default(),
        })
    }

    pub fn limit(&self, name: &str) -> Arc<RateLimitMetrics> {
        self.roster.get(name, || {
            let [allowed, limited] =
                RESULTS.map(|result| self.decisions.with_label_values(&[name, result]));
            RateLimitMetrics {
                name: name.to_owned(),
                allowed,
                limited,
                families: self.clone(),
            }
        })
    }
}

impl Drop for RateLimitMetrics {
    fn drop(&mut self) {
        let families = &self.families;
        families.roster.clear(&self.name, || {
            for result in RESULTS {
                // What is not there need not be removed.
                let _ = families
                    .decisions
                    .remove_label_values(&[&self.name, result]);
            }
        });
    }
}
