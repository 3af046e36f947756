//! The counts of this process at one moment, for the status page: sums, and rows for its tables.

use prometheus::{
    Histogram,
    core::{Collector, Metric},
    proto::MetricFamily,
};

use super::{Metrics, Outcome, maker::DURATION_BUCKETS};
use crate::domain::Reason;

/// What has happened on all routes together since the start, or between two moments.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Requests by code class, 1xx to 5xx.
    pub classes: [u64; 5],
    /// Times of requests.
    pub latency: Times,
    /// By [`Reason::index`].
    pub reasons: Vec<u64>,
    /// Look-ups in the token cache that needed no call.
    pub cache_hits: u64,
    pub cache_misses: u64,
    /// Calls to key managers with a proper answer.
    pub answers: u64,
    /// Those without.
    pub failures: u64,
    /// Times of these calls.
    pub introspection: Times,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            classes: [0; 5],
            latency: Times::default(),
            reasons: vec![0; Reason::ALL.len()],
            cache_hits: 0,
            cache_misses: 0,
            answers: 0,
            failures: 0,
            introspection: Times::default(),
        }
    }
}

impl Totals {
    pub fn requests(&self) -> u64 {
        self.classes.iter().sum()
    }

    pub fn reason(&self, reason: Reason) -> u64 {
        self.reasons[reason.index()]
    }

    /// What happened after `before`. A route that is gone has taken its counts with it: less than
    /// nothing is nothing.
    pub fn since(&self, before: &Self) -> Self {
        self.joined(before, u64::saturating_sub)
    }

    pub fn plus(&self, other: &Self) -> Self {
        self.joined(other, u64::saturating_add)
    }

    fn joined(&self, other: &Self, join: fn(u64, u64) -> u64) -> Self {
        let reasons = self.reasons.iter().zip(&other.reasons);
        Self {
            classes: std::array::from_fn(|class| join(self.classes[class], other.classes[class])),
            latency: self.latency.joined(&other.latency, join),
            reasons: reasons.map(|(one, other)| join(*one, *other)).collect(),
            cache_hits: join(self.cache_hits, other.cache_hits),
            cache_misses: join(self.cache_misses, other.cache_misses),
            answers: join(self.answers, other.answers),
            failures: join(self.failures, other.failures),
            introspection: self.introspection.joined(&other.introspection, join),
        }
    }
}

/// Observations of a histogram by bucket; the last one has no end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times([u64; DURATION_BUCKETS.len() + 1]);

impl Times {
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The time that the part `quantile` of the observations does not exceed, in seconds, as
    /// `histogram_quantile` has it: evenly spread inside a bucket.
    #[allow(clippy::cast_precision_loss)] // exact up to 2^53
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let rank = quantile * self.count() as f64;
        let (mut below, mut start) = (0.0, 0.0);
        if self.count() == 0 {
            return None;
        }
        for (count, end) in self.0.iter().zip(DURATION_BUCKETS) {
            let count = *count as f64;
            if count > 0.0 && below + count >= rank {
                return Some(start + (end - start) * (rank - below) / count);
            }
            below += count;
            start = end;
        }
        Some(start)
    }

    fn joined(&self, other: &Self, join: fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|bucket| {
            join(self.0[bucket], other.0[bucket])
        }))
    }

    /// Adds what a histogram with [`DURATION_BUCKETS`] has seen.
    fn add(&mut self, histogram: &Histogram) {
        // Most histograms of most routes have seen nothing: looking is cheaper than reading.
        if histogram.get_sample_count() == 0 {
            return;
        }
        let metric = histogram.metric();
        let seen = metric.get_histogram();
        let mut below = 0;
        for (sum, bucket) in self.0.iter_mut().zip(seen.get_bucket()) {
            *sum += bucket.cumulative_count().saturating_sub(below);
            below = bucket.cumulative_count();
        }
        self.0[DURATION_BUCKETS.len()] += seen.get_sample_count().saturating_sub(below);
    }
}

/// One route.
pub struct RouteCounts {
    pub name: String,
    pub in_flight: i64,
    pub classes: [u64; 5],
    pub latency: Times,
}

impl RouteCounts {
    pub fn requests(&self) -> u64 {
        self.classes.iter().sum()
    }
}

/// One upstream.
pub struct UpstreamCounts {
    pub name: String,
    pub classes: [u64; 5],
    pub latency: Times,
    pub errors: u64,
    pub connections_new: u64,
    pub connections_reused: u64,
    /// Addresses, and whether each gets requests.
    pub addresses: Vec<(String, bool)>,
}

/// One listener.
pub struct ListenerCounts {
    pub name: String,
    pub open: u64,
    pub accepted: u64,
}

/// One key manager.
pub struct IssuerCounts {
    pub name: String,
    pub in_flight: i64,
    /// Outcomes of calls that occurred, with their words.
    pub outcomes: Vec<(&'static str, u64)>,
    pub duration: Times,
    pub coalesced: u64,
    /// Dates in seconds since 1970; 0 is never.
    pub last_success: f64,
    pub credential_expiry: f64,
}

impl Metrics {
    /// Sums over everything that is in use.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            cache_hits: self.token_cache.hit.get()
                + self.token_cache.hit_negative.get()
                + self.token_cache.stale.get(),
            cache_misses: self.token_cache.miss.get() + self.token_cache.expired.get(),
            ..Totals::default()
        };
        for route in self.routes.all() {
            for (class, histogram) in route.durations().into_iter().enumerate() {
                let Some(histogram) = histogram else { continue };
                totals.classes[class] += histogram.get_sample_count();
                totals.latency.add(histogram);
            }
            for (sum, reason) in totals.reasons.iter_mut().zip(Reason::ALL) {
                *sum += route.decided(*reason);
            }
        }
        for issuer in self.issuers.all() {
            for (outcome, count) in issuer.introspection.outcomes() {
                match outcome {
                    Outcome::Active | Outcome::Inactive => totals.answers += count,
                    _ => totals.failures += count,
                }
            }
            totals.introspection.add(&issuer.introspection.duration);
        }
        totals
    }

    /// Requests of each route, by name: cheaper than [`Metrics::route_counts`].
    pub fn route_requests(&self) -> Vec<(String, u64)> {
        let routes = self.routes.all();
        let requests = |route: &super::RouteMetrics| -> u64 {
            let counts = route.durations().into_iter().flatten();
            counts.map(Histogram::get_sample_count).sum()
        };
        routes
            .iter()
            .map(|route| (route.name.clone(), requests(route)))
            .collect()
    }

    pub fn route_counts(&self, name: &str) -> Option<RouteCounts> {
        let route = self.routes.find(name)?;
        let mut latency = Times::default();
        for histogram in route.durations().into_iter().flatten() {
            latency.add(histogram);
        }
        Some(RouteCounts {
            name: route.name.clone(),
            in_flight: route.in_flight.get(),
            classes: route
                .durations()
                .map(|times| times.map_or(0, Histogram::get_sample_count)),
            latency,
        })
    }

    /// In the order of their names.
    pub fn upstream_counts(&self) -> Vec<UpstreamCounts> {
        let mut counts: Vec<UpstreamCounts> = self
            .upstreams
            .all()
            .iter()
            .map(|upstream| upstream.counts())
            .collect();
        counts.sort_by(|one, other| one.name.cmp(&other.name));
        counts
    }

    /// In the order of their names.
    pub fn issuer_counts(&self) -> Vec<IssuerCounts> {
        let mut counts: Vec<IssuerCounts> = self
            .issuers
            .all()
            .iter()
            .map(|issuer| IssuerCounts {
                name: issuer.name.clone(),
                in_flight: issuer.introspection.in_flight.get(),
                outcomes: issuer
                    .introspection
                    .outcomes()
                    .filter(|(_, count)| *count > 0)
                    .map(|(outcome, count)| (outcome.word(), count))
                    .collect(),
                duration: Times::of(&issuer.introspection.duration),
                coalesced: issuer.introspection.coalesced.get(),
                last_success: issuer.introspection.last_success.get(),
                credential_expiry: issuer.credential.expiry.get(),
            })
            .collect();
        counts.sort_by(|one, other| one.name.cmp(&other.name));
        counts
    }
}

/// What a family with one label counts for each of its values, in their order.
pub(super) fn by_label(family: &impl Collector) -> Vec<(String, f64)> {
    let families = family.collect();
    let metrics = families.iter().flat_map(MetricFamily::get_metric);
    let mut values: Vec<(String, f64)> = metrics
        .filter_map(|metric| {
            let label = metric.get_label().first()?.value().to_owned();
            // Of the two, the one that it is not is 0.
            let value = metric.get_gauge().get_value() + metric.get_counter().get_value();
            Some((label, value))
        })
        .collect();
    values.sort_by(|one, other| one.0.cmp(&other.0));
    values
}

impl Times {
    /// What a histogram with `DURATION_BUCKETS` has seen.
    pub fn of(histogram: &Histogram) -> Self {
        let mut times = Self::default();
        times.add(histogram);
        times
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use std::time::Duration;

    use super::*;
    use crate::{domain::KnownMethod, metrics::Zeros};

    #[test]
    fn sums_and_rows_tell_what_was_counted() {
        let metrics = Metrics::new().unwrap();
        let one = metrics.route("one", Zeros::All);
        let none = metrics.no_route();
        let before = metrics.totals();
        for (route, status, why, millis) in [
            (&one, StatusCode::OK, Reason::Active, 2),
            (&one, StatusCode::OK, Reason::Active, 2),
            (&one, StatusCode::UNAUTHORIZED, Reason::NoToken, 0),
            (&none, StatusCode::NOT_FOUND, Reason::RouteNotFound, 20_000),
        ] {
            route.count(KnownMethod::Get, status, why);
            let time = Duration::from_millis(millis);
            route.observe(status, time, Duration::ZERO);
        }
        let happened = metrics.totals().since(&before);
        assert_eq!(happened.requests(), 4);
        assert_eq!(happened.classes, [0, 2, 0, 2, 0]);
        assert_eq!(happened.reason(Reason::Active), 2);
        assert_eq!(happened.latency.count(), 4);
        assert_eq!(metrics.route_counts("one").unwrap().requests(), 3);
        assert!(metrics.route_counts("two").is_none());
        let twice = happened.plus(&happened);
        assert_eq!(twice.requests(), 8);
        // What has become less counts for nothing.
        assert_eq!(before.since(&twice).requests(), 0);
    }

    #[test]
    fn quantiles_are_those_of_prometheus() {
        let mut times = Times::default();
        assert_eq!(times.quantile(0.5), None);
        // Two up to 0.5 ms, two up to 1 ms.
        times.0[0] = 2;
        times.0[1] = 2;
        assert_eq!(times.quantile(0.25), Some(0.00025));
        assert_eq!(times.quantile(0.5), Some(0.0005));
        assert_eq!(times.quantile(0.75), Some(0.00075));
        // Beyond the last bound nothing is known but that bound.
        let mut slow = Times::default();
        slow.0[DURATION_BUCKETS.len()] = 1;
        assert_eq!(slow.quantile(0.99), Some(10.0));
    }
}
