//! Tiers: how often an API, one of its resources, a subscription or an application may be used.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use super::{PolicyKind, Quota, Rate, TierPolicy};

/// What a tier is of; in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierKind {
    /// All requests of an API together.
    Api,
    /// All requests of a route together.
    Resource,
    /// Those of one application to one API.
    Subscription,
    /// Those of one user of an application, to whatever API.
    Application,
}

impl TierKind {
    pub const ALL: [Self; 4] = [
        Self::Api,
        Self::Resource,
        Self::Subscription,
        Self::Application,
    ];

    /// Position in [`TierKind::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// What a tier allows; without either: as much as one likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tier {
    /// So many requests in each window of time.
    pub quota: Option<Quota>,
    /// So many at once, and then one after the other.
    pub rate: Option<Rate>,
}

impl Tier {
    /// Whether there is nothing to count.
    pub fn is_unlimited(&self) -> bool {
        self.quota.is_none() && self.rate.is_none()
    }
}

impl From<&TierPolicy> for Tier {
    /// A quota at which nobody is stopped counts for nothing here.
    fn from(policy: &TierPolicy) -> Self {
        let rate = policy.burst.and_then(|burst| {
            let requests = u32::try_from(burst.requests).unwrap_or(u32::MAX);
            let requests = NonZeroU32::new(requests)?;
            Some(Rate {
                requests,
                per: burst.per,
                burst: requests,
            })
        });
        Self {
            quota: policy.quota.filter(|_| policy.stop_on_quota),
            rate,
        }
    }
}

/// Tiers by name, for each use of them apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TierBook {
    /// Of APIs and of resources.
    pub resource: BTreeMap<Box<str>, Tier>,
    pub subscription: BTreeMap<Box<str>, Tier>,
    pub application: BTreeMap<Box<str>, Tier>,
}

impl TierBook {
    /// The subscription tier of callers who send no token, if there is one (`policies.yaml`).
    pub const UNAUTHENTICATED: &'static str = "Unauthenticated";
    /// The subscription tier of clients of whom no subscription is known, if there is one.
    pub const DEFAULT: &'static str = "Default";

    pub fn of(&self, kind: PolicyKind) -> &BTreeMap<Box<str>, Tier> {
        match kind {
            PolicyKind::Application => &self.application,
            PolicyKind::Subscription => &self.subscription,
        }
    }

    /// Whether this is the name of the tier without a limit, or no name at all.
    pub fn is_unlimited(name: &str) -> bool {
        const UNLIMITED: &str = "Unlimited";
        // Nearly all are written so, which is seen sooner.
        name.is_empty() || name == UNLIMITED || name.eq_ignore_ascii_case(UNLIMITED)
    }
}

/// The tiers of a route; those without a limit are not here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteTiers {
    /// Of the API that it belongs to.
    pub api: Option<Tier>,
    /// Of the route itself.
    pub resource: Option<Tier>,
}

/// A unit of time in the policies of WSO2, where months have 30 days and years 365.
pub fn unit_of_time(word: &str) -> Option<Duration> {
    const MINUTE: u64 = 60;
    const DAY: u64 = 24 * 60 * MINUTE;
    let units: [(&[&str], u64); 7] = [
        (&["sec", "second", "s"], 1),
        (&["min", "minute", "m"], MINUTE),
        (&["hour", "h"], 60 * MINUTE),
        (&["day", "days", "d"], DAY),
        (&["week", "w"], 7 * DAY),
        (&["month"], 30 * DAY),
        (&["year", "y"], 365 * DAY),
    ];
    let is_it = |names: &[&str]| names.iter().any(|name| word.eq_ignore_ascii_case(name));
    let unit = units.iter().find(|(names, _)| is_it(names));
    unit.map(|(_, seconds)| Duration::from_secs(*seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_become_tiers() {
        let quota = Quota {
            requests: 10,
            per: Duration::from_secs(60),
        };
        let policy = |quota, burst, stop_on_quota| TierPolicy {
            name: "x".into(),
            quota,
            burst,
            stop_on_quota,
        };
        assert!(Tier::from(&policy(None, None, true)).is_unlimited());
        assert!(Tier::from(&policy(Some(quota), None, false)).is_unlimited());
        let tier = Tier::from(&policy(Some(quota), Some(quota), true));
        assert_eq!(tier.quota, Some(quota));
        assert_eq!(tier.rate.unwrap().burst.get(), 10);
    }

    #[test]
    fn units_are_words_in_any_case() {
        for (word, seconds) in [
            ("sec", Some(1)),
            ("Min", Some(60)),
            ("HOUR", Some(3600)),
            ("day", Some(86_400)),
            ("week", Some(604_800)),
            ("month", Some(2_592_000)),
            ("year", Some(31_536_000)),
            ("fortnight", None),
            ("", None),
        ] {
            assert_eq!(unit_of_time(word).map(|unit| unit.as_secs()), seconds);
        }
        for name in ["Unlimited", "unlimited", ""] {
            assert!(TierBook::is_unlimited(name));
        }
    }
}
