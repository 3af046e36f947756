//! `[limits]`, `[rate_limits.NAME]`, `[tiers]` and `[tiers.NAME]`: how much a request may be, and how often
//! one may come.

use std::{num::NonZeroU32, time::Duration};

use super::{
    check::Context,
    policies,
    problem::Place,
    section::{Placed, Section, nearest},
    settings::{LimitSettings, TierSettings},
    tree::Value,
};
use crate::domain::{By, Rate, RateLimit, RateLimitId, SizeLimits, Tier, TierBook};

/// What the names of tiers begin with, among those of limits.
const TIER: &str = "tier.";
/// For `max_body_bytes`: none.
const UNLIMITED: &str = "unlimited";
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The limits that others may name.
pub struct Rates {
    list: Vec<RateLimit>,
    /// Names of those about which something else is said already.
    broken: Vec<String>,
    /// `None`: there are mistakes in the policies file.
    pub tiers: Option<TierBook>,
}

impl Rates {
    /// The limit that a key names; one that is not there is reported.
    fn find(&self, section: &Section<'_>, name: &Placed<String>) -> Option<RateLimitId> {
        let position = self.list.iter().position(|limit| *limit.name == name.value);
        if position.is_none() && !self.broken.contains(&name.value) {
            let known: Vec<&str> = self.list.iter().map(|limit| &*limit.name).collect();
            let hint = match nearest(&name.value, &known) {
                Some(likely) => format!("did you mean {likely:?}?"),
                None => format!("add a table [rate_limits.{}]", name.value),
            };
            let what = format!("there is no rate limit {:?}", name.value);
            section.error(&name.place, what, hint);
        }
        position.map(RateLimitId)
    }

    fn find_all(&self, section: &mut Section<'_>, key: &'static str) -> Box<[RateLimitId]> {
        let names = section
            .texts(key)
            .map_or_else(Vec::new, |names| names.value);
        names
            .iter()
            .filter_map(|name| self.find(section, name))
            .collect()
    }

    /// A route's own limits, and the most that its bodies may have.
    pub fn of_route(
        &self,
        section: &mut Section<'_>,
        sizes: &SizeLimits,
    ) -> (Box<[RateLimitId]>, Option<u64>) {
        let rates = self.find_all(section, "rate_limits");
        let body = section
            .size_or("max_body_bytes", UNLIMITED)
            .map_or(sizes.body_bytes, |size| size.value);
        (rates, body)
    }

    /// Whether one of these counts by client, of whom a public route knows nothing.
    pub fn ask_who_calls(&self, rates: &[RateLimitId]) -> bool {
        rates.iter().any(|id| self.list[id.0].by == By::ClientId)
    }
}

/// Reads all of the tables. The limits are then in the settings too, in the same order.
pub fn read(root: &mut Section<'_>, context: &Context<'_>) -> (LimitSettings, Rates) {
    let mut rates = Rates {
        list: Vec::new(),
        broken: Vec::new(),
        tiers: None,
    };
    let own = root.section("rate_limits");
    read_rates(root, own, &mut rates);
    let named = rates.list.len();
    let mut tiers = root.section("tiers");
    let policies = tiers.text("policies_file");
    let book = policies.map_or(Some(TierBook::default()), |file| {
        policies::read(&tiers, &file, context)
    });
    read_rates(root, tiers, &mut rates);
    rates.tiers = book.map(|book| with_tiers(root, &rates.list[named..], book));
    let mut section = root.section("limits");
    let sizes = read_sizes(&mut section);
    let everywhere = rates.find_all(&mut section, "rates");
    let token_misses = section.text("token_misses").and_then(|name| {
        let id = rates.find(&section, &name)?;
        if rates.list[id.0].by != By::Address {
            let what = "tokens that are not known yet are counted by address";
            section.error(&name.place, what, "name a limit with `by = \"address\"`");
        }
        Some(id)
    });
    let tiers = read_tiers(&mut section, &rates.list[named..], named);
    section.finish();
    let settings = LimitSettings {
        sizes,
        rates: rates.list.clone(),
        everywhere,
        token_misses,
        tiers,
        book: rates.tiers.clone().unwrap_or_default(),
    };
    (settings, rates)
}

fn read_sizes(section: &mut Section<'_>) -> SizeLimits {
    let mut sizes = SizeLimits::default();
    let mut bytes = |key: &'static str, most: u64, size: &mut usize| {
        let Some(Placed { value, place }) = section.size(key) else {
            return;
        };
        match usize::try_from(value) {
            Ok(value) if (256..=most).contains(&(value as u64)) => *size = value,
            _ => section.error(
                &place,
                format!("`{key}` is out of range"),
                format!("between 256B and {}KiB", most >> 10),
            ),
        }
    };
    bytes("max_header_bytes", 512 << 10, &mut sizes.header_bytes);
    bytes("max_uri_bytes", 64 << 10, &mut sizes.uri_bytes);
    if let Some(Placed { value, place }) = section.integer("max_headers") {
        match usize::try_from(value) {
            Ok(value) if (8..=250).contains(&value) => sizes.headers = value,
            _ => section.error(&place, "`max_headers` is out of range", "between 8 and 250"),
        }
    }
    if let Some(body) = section.size_or("max_body_bytes", UNLIMITED) {
        sizes.body_bytes = body.value;
    }
    sizes
}

/// Tables of limits whose names are the user's. Those of tiers count by client, and get a prefix.
fn read_rates(root: &Section<'_>, section: Section<'_>, rates: &mut Rates) {
    let table = section.label.clone();
    for entry in section.into_entries() {
        let Value::Table(inner) = entry.node.value else {
            let what = format!("`{table}` has tables in it");
            root.error(
                &entry.key_place,
                what,
                format!("write [{table}.{}]", entry.key),
            );
            continue;
        };
        let label = format!("{table}.{}", entry.key);
        let mut section = root.below(inner, &label, &entry.key_place);
        if !is_name(&entry.key) {
            let what = format!("{:?} cannot be the name of a limit", entry.key);
            section.error(&entry.key_place, what, "letters, digits, `-` and `_`");
        }
        let is_tier = table == "tiers";
        let by = match is_tier {
            true => Some(By::ClientId),
            false => by(&mut section),
        };
        let rate = rate(&mut section);
        section.finish();
        let name = match is_tier {
            true => format!("{TIER}{}", entry.key),
            false => entry.key,
        };
        match (rate, by) {
            (Some(rate), Some(by)) => rates.list.push(RateLimit {
                name: name.into(),
                rate,
                by,
            }),
            _ => rates.broken.push(name),
        }
    }
}

/// Names go into labels and, quoted, into header fields.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !name.is_empty() && name.len() <= 64 && name.bytes().all(plain)
}

fn rate(section: &mut Section<'_>) -> Option<Rate> {
    let requests = count(section, "requests");
    if requests.is_none() {
        section.missing("requests", "for instance requests = 100");
    }
    let per = section.duration("per");
    match &per {
        None => section.missing("per", "for instance per = \"1m\""),
        Some(per) if per.value.is_zero() || per.value > LONGEST => {
            section.error(&per.place, "`per` is out of range", "up to \"1day\"");
        }
        Some(_) => {}
    }
    let burst = count(section, "burst");
    let requests = requests?;
    Some(Rate {
        requests,
        per: per?.value,
        burst: burst.unwrap_or(requests),
    })
}

fn count(section: &mut Section<'_>, key: &'static str) -> Option<NonZeroU32> {
    let Placed { value, place } = section.integer(key)?;
    let count = u32::try_from(value).ok().and_then(NonZeroU32::new);
    if count.is_none() {
        section.error(&place, format!("`{key}` is out of range"), "1 or more");
    }
    count
}

fn by(section: &mut Section<'_>) -> Option<By> {
    let Some(Placed { value, place }) = section.text("by") else {
        section.missing("by", "one of \"address\", \"client_id\", \"route\"");
        return None;
    };
    match value.as_str() {
        "address" => Some(By::Address),
        "client_id" => Some(By::ClientId),
        "route" => Some(By::Route),
        _ => {
            section.error(&place, "`by` is one of address, client_id, route", "");
            None
        }
    }
}

/// Tiers of this file are there for every use.
fn with_tiers(root: &Section<'_>, tiers: &[RateLimit], mut book: TierBook) -> TierBook {
    for limit in tiers {
        let name = limit.name.trim_start_matches(TIER);
        let tier = Tier {
            quota: None,
            rate: Some(limit.rate),
        };
        for uses in [
            &mut book.resource,
            &mut book.subscription,
            &mut book.application,
        ] {
            if uses.insert(name.into(), tier).is_some() {
                let what = format!("the tier {name:?} is in the policies file, too");
                root.error(&Place::Nowhere, what, format!("remove [tiers.{name}]"));
                break;
            }
        }
    }
    book
}

/// `tiers`: the limits of the tiers, which begin at the position `first` of all.
fn read_tiers(
    section: &mut Section<'_>,
    tiers: &[RateLimit],
    first: usize,
) -> Option<TierSettings> {
    let claim = section.text("tier_claim");
    let default = section.text("default_tier");
    let by_name: Vec<(Box<str>, RateLimitId)> = tiers
        .iter()
        .enumerate()
        .map(|(position, tier)| {
            let name = tier.name.trim_start_matches(TIER);
            (name.into(), RateLimitId(first + position))
        })
        .collect();
    let default = default.and_then(|name| {
        let found = by_name.iter().find(|(other, _)| **other == name.value);
        if found.is_none() {
            let what = format!("there is no tier {:?}", name.value);
            section.error(
                &name.place,
                what,
                format!("add a table [tiers.{}]", name.value),
            );
        }
        found.map(|(_, id)| *id)
    });
    if claim.is_none() && default.is_none() {
        return None;
    }
    if by_name.is_empty()
        && let Some(claim) = &claim
    {
        let what = "no tier is there to be chosen";
        section.error(&claim.place, what, "add a table [tiers.NAME]");
    }
    Some(TierSettings {
        claim: claim.map(|claim| claim.value.into()),
        by_name: by_name.into(),
        default,
    })
}
