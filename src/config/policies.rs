//! `policies.yaml` of WSO2 API Microgateway: tiers by name, as lists of mappings with one name each.

use std::{collections::BTreeMap, io::Read, path::Path};

use super::{
    check::Context,
    section::{Placed, Section},
};
use crate::{
    domain::{Quota, Tier, TierBook, unit_of_time},
    markup::{self, Node},
};

/// Longest file, in bytes: thousands of policies.
const MAX_BYTES: u64 = 1 << 20;

/// What is wrong with a policy, or with the whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFault {
    /// Counted from one.
    pub line: usize,
    pub what: String,
}

/// Reads the file that a key names; `None` when there are mistakes in it, which are reported.
pub fn read(
    section: &Section<'_>,
    file: &Placed<String>,
    context: &Context<'_>,
) -> Option<TierBook> {
    let folder = Path::new(&context.source.name).parent();
    let path = folder.unwrap_or(Path::new("")).join(&file.value);
    let text = match read_text(&path) {
        Ok(text) => text,
        Err(fault) => {
            let what = format!("{} cannot be read: {fault}", path.display());
            section.error(&file.place, what, "");
            return None;
        }
    };
    let tell = |faults: Vec<PolicyFault>| {
        for PolicyFault { line, what } in faults {
            let what = format!("{}:{line}: {what}", path.display());
            section.error(&file.place, what, "");
        }
    };
    parse(&text).map_err(tell).ok()
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    let length = file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    match length as u64 > MAX_BYTES {
        true => Err(std::io::Error::other("it is longer than 1 MiB")),
        false => Ok(text),
    }
}

/// Reads the text of such a file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str) -> Result<TierBook, Vec<PolicyFault>> {
    let mut reader = Reader {
        text,
        faults: Vec::new(),
    };
    let root = markup::parse(text, &|_| true);
    let book = match &root {
        Ok(root) => reader.book(root),
        Err(fault) => {
            reader.fault(fault.at.start, fault.what.clone());
            TierBook::default()
        }
    };
    match reader.faults.is_empty() {
        true => Ok(book),
        false => Err(reader.faults),
    }
}

struct Reader<'t> {
    text: &'t str,
    faults: Vec<PolicyFault>,
}

impl Reader<'_> {
    fn book(&mut self, root: &Node<'_>) -> TierBook {
        let mut book = TierBook::default();
        if !root.is_map() && !root.is_nothing() {
            self.fault(root.at.start, "this is no mapping of policies".to_owned());
        }
        for entry in root.entries() {
            let tiers = match &*entry.key {
                "resourcePolicies" => &mut book.resource,
                "subscriptionPolicies" => &mut book.subscription,
                "applicationPolicies" => &mut book.application,
                other => {
                    let what = format!(
                        "`{other}` is none of resourcePolicies, subscriptionPolicies, applicationPolicies"
                    );
                    self.fault(entry.node.at.start, what);
                    continue;
                }
            };
            self.list(&entry.node, tiers);
        }
        book
    }

    fn list(&mut self, list: &Node<'_>, tiers: &mut BTreeMap<Box<str>, Tier>) {
        if !list.is_list() && !list.is_nothing() {
            self.fault(list.at.start, "this is no list of policies".to_owned());
        }
        for item in list.items() {
            if item.entries().is_empty() {
                self.fault(
                    item.at.start,
                    "a policy is `NAME:` and what it allows".to_owned(),
                );
            }
            for entry in item.entries() {
                let tier = self.policy(&entry.node);
                if tiers.insert((*entry.key).into(), tier).is_some() {
                    let what = format!("the policy {:?} is there twice", entry.key);
                    self.fault(entry.node.at.start, what);
                }
            }
        }
    }

    /// So many requests (`count`) in so many (`unitTime`) units (`timeUnit`).
    fn policy(&mut self, policy: &Node<'_>) -> Tier {
        let count = self.number(policy, "count", -1..=i64::from(u32::MAX));
        let units = self.number(policy, "unitTime", 1..=1_000_000);
        let unit = self.unit(policy);
        let stops = self.stops(policy);
        let (Some(count), Some(units), Some(unit)) = (count, units, unit) else {
            return Tier::default();
        };
        let quota = u64::try_from(count).ok().map(|requests| Quota {
            requests,
            per: unit.saturating_mul(u32::try_from(units).unwrap_or(u32::MAX)),
        });
        Tier {
            quota: quota.filter(|_| stops),
            rate: None,
        }
    }

    /// -1 stands for no limit.
    fn number(
        &mut self,
        policy: &Node<'_>,
        key: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        let node = policy.get(key);
        let number = node.and_then(|node| node.text()?.parse().ok());
        let number = number.filter(|number| range.contains(number) && *number != 0);
        if number.is_none() {
            let what = format!("`{key}` is a whole number, from 1 on");
            self.fault(node.unwrap_or(policy).at.start, what);
        }
        number
    }

    fn unit(&mut self, policy: &Node<'_>) -> Option<std::time::Duration> {
        let node = policy.get("timeUnit");
        let unit = node.and_then(|node| unit_of_time(node.text()?));
        if unit.is_none() {
            let what = "`timeUnit` is one of sec, min, hour, day, week, month, year".to_owned();
            self.fault(node.unwrap_or(policy).at.start, what);
        }
        unit
    }

    /// Whether requests beyond the count are refused.
    fn stops(&mut self, policy: &Node<'_>) -> bool {
        let mut stops = true;
        for key in ["stopOnQuota", "stopOnQuotaReach"] {
            let Some(node) = policy.get(key) else {
                continue;
            };
            match node.text().map(str::to_ascii_lowercase).as_deref() {
                Some("true") => {}
                Some("false") => stops = false,
                _ => self.fault(node.at.start, format!("`{key}` is true or false")),
            }
        }
        stops
    }

    fn fault(&mut self, at: usize, what: String) {
        let before = &self.text[..self.text.floor_char_boundary(at)];
        let line = before.matches('\n').count() + 1;
        self.faults.push(PolicyFault { line, what });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_file_that_is_shipped_is_read() {
        let text = "resourcePolicies:\n  - 50kPerMin:\n     count: 50000\n     unitTime: 1\n     timeUnit: min\n\
            applicationPolicies:\n  - 10PerMin:\n     count: 10\n     unitTime: 1\n     timeUnit: min\n\
            subscriptionPolicies:\n  - Gold:\n     count: 5000\n     unitTime: 1\n     timeUnit: min\n  \
            - Unauthenticated:\n     count: 500\n     unitTime: 1\n     timeUnit: min\n  - Default:\n      \
            count: 500\n      unitTime: 1\n      timeUnit: min\n";
        let book = parse(text).unwrap();
        let quota = |requests, seconds| {
            Some(Quota {
                requests,
                per: Duration::from_secs(seconds),
            })
        };
        assert_eq!(book.resource["50kPerMin"].quota, quota(50_000, 60));
        assert_eq!(book.application["10PerMin"].quota, quota(10, 60));
        assert_eq!(book.subscription["Gold"].quota, quota(5_000, 60));
        let names: Vec<&str> = book.subscription.keys().map(|name| &**name).collect();
        assert_eq!(names, ["Default", "Gold", "Unauthenticated"]);
    }

    #[test]
    fn every_key_of_a_policy_counts() {
        let of = |policy: &str| {
            let text = format!("subscriptionPolicies:\n- A: {{{policy}}}\n");
            parse(&text).map(|book| book.subscription["A"].quota)
        };
        let two_hours = Quota {
            requests: 7,
            per: Duration::from_secs(7_200),
        };
        let plain = "count: 7, unitTime: 2, timeUnit: HOUR";
        assert_eq!(of(plain), Ok(Some(two_hours)));
        assert_eq!(
            of("count: '7', unitTime: \"2\", timeUnit: hour"),
            Ok(Some(two_hours))
        );
        for (rest, expected) in [
            ("stopOnQuota: true", Some(two_hours)),
            ("stopOnQuota: false", None),
            ("stopOnQuotaReach: 'False'", None),
        ] {
            assert_eq!(of(&format!("{plain}, {rest}")), Ok(expected), "{rest}");
        }
        assert_eq!(of("count: -1, unitTime: 1, timeUnit: min"), Ok(None));
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let faults = |text: &str| -> Vec<(usize, String)> {
            let faults = parse(text).unwrap_err();
            faults
                .into_iter()
                .map(|fault| (fault.line, fault.what))
                .collect()
        };
        let text = "subscriptionPolicies:\n- A:\n   count: 0\n   unitTime: x\n- B: 7\n- C\n- A:\n   count: 1\n   \
                    unitTime: 1\n   timeUnit: fortnight\nglobalPolicies: []\nresourcePolicies: 7\n";
        let found = faults(text);
        for (line, what) in [
            (3, "`count` is a whole number, from 1 on"),
            (4, "`unitTime` is a whole number, from 1 on"),
            (
                3,
                "`timeUnit` is one of sec, min, hour, day, week, month, year",
            ),
            (5, "`count` is a whole number, from 1 on"),
            (6, "a policy is `NAME:` and what it allows"),
            (
                10,
                "`timeUnit` is one of sec, min, hour, day, week, month, year",
            ),
            (8, "the policy \"A\" is there twice"),
            (
                11,
                "`globalPolicies` is none of resourcePolicies, subscriptionPolicies, applicationPolicies",
            ),
            (12, "this is no list of policies"),
        ] {
            assert!(
                found.contains(&(line, what.to_owned())),
                "{line} {what}: {found:?}"
            );
        }
        assert_eq!(
            faults("7"),
            [(1, "this is no mapping of policies".to_owned())]
        );
        assert_eq!(faults("a: [").len(), 1);
        assert_eq!(parse(""), Ok(TierBook::default()));
        assert_eq!(parse("resourcePolicies:\n"), Ok(TierBook::default()));
    }
}
