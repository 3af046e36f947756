//! `[upstreams.NAME]` and its tables.

use std::{ops::RangeInclusive, time::Duration};

use http::HeaderName;

use super::{
    Balance, BreakerSettings, EjectionSettings, ExpectedStatus, HashKey, HealthCheckSettings,
    Protocol, RetrySettings, TimeoutSettings, UpstreamSettings, server, tls,
};
use crate::config::{
    check::{Context, choice},
    section::{Placed, Section},
};

const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// `None`: its servers cannot be told.
pub fn read(
    section: &mut Section<'_>,
    name: &str,
    context: &Context<'_>,
) -> Option<UpstreamSettings> {
    let servers = server::list(section);
    let protocols = [
        ("http1", Protocol::Http1),
        ("h2", Protocol::H2),
        ("auto", Protocol::Auto),
    ];
    let protocol = choice(section, "protocol", &protocols).unwrap_or(Protocol::Http1);
    let balance = balance(section);
    let resolve_interval = resolve_interval(section);
    let retries = retries(section);
    let limits = limits(section);
    let timeouts = timeouts(section);
    let ejection = ejection(section);
    let health_check = health_check(section);
    let any_tls = servers
        .as_ref()
        .is_none_or(|all| all.iter().any(|one| one.tls));
    let tls = tls::read(section, any_tls, context);
    Some(UpstreamSettings {
        protocol,
        balance,
        resolve_interval,
        timeouts,
        retries,
        limits,
        ejection,
        health_check,
        tls,
        ..UpstreamSettings::new(name.to_owned(), servers?)
    })
}

fn balance(section: &mut Section<'_>) -> Balance {
    let kinds = [
        ("round_robin", Balance::RoundRobin),
        ("least_connections", Balance::LeastConnections),
        (
            "consistent_hash",
            Balance::ConsistentHash(HashKey::ClientAddress),
        ),
    ];
    let balance = choice(section, "balance", &kinds).unwrap_or(Balance::RoundRobin);
    let Some(key) = section.text("hash_key") else {
        return balance;
    };
    if !matches!(balance, Balance::ConsistentHash(_)) {
        let hint = "say balance = \"consistent_hash\", or leave `hash_key` out";
        section.error(&key.place, "nothing is chosen by `hash_key`", hint);
        return balance;
    }
    match hash_key(&key.value) {
        Some(key) => Balance::ConsistentHash(key),
        None => {
            let what = "`hash_key` is one of client_address, client_id, header:NAME";
            section.error(&key.place, what, "for instance \"header:X-Tenant\"");
            balance
        }
    }
}

fn hash_key(text: &str) -> Option<HashKey> {
    match text {
        "client_address" => Some(HashKey::ClientAddress),
        "client_id" => Some(HashKey::ClientId),
        _ => {
            let name = text.strip_prefix("header:")?;
            name.parse::<HeaderName>().ok().map(HashKey::Header)
        }
    }
}

fn resolve_interval(section: &mut Section<'_>) -> Option<Duration> {
    let default = UpstreamSettings::new(String::new(), Vec::new()).resolve_interval;
    let Some(Placed { value, place }) = section.duration("resolve_interval") else {
        return default;
    };
    if value.is_zero() {
        return None;
    }
    if value < Duration::from_secs(1) || value > LONGEST {
        let hint = "between \"1s\" and \"24h\"; \"0s\" looks names up once";
        section.error(&place, "`resolve_interval` is out of range", hint);
        return default;
    }
    Some(value)
}

fn retries(section: &mut Section<'_>) -> RetrySettings {
    let default = RetrySettings::default();
    RetrySettings {
        most: number(section, "retries", 0..=10, default.most),
        budget_percent: number(
            section,
            "retry_budget_percent",
            0..=100,
            default.budget_percent,
        ),
    }
}

fn limits(section: &mut Section<'_>) -> BreakerSettings {
    let default = BreakerSettings::default();
    BreakerSettings {
        max_requests: number(section, "max_requests", 1..=1_000_000, default.max_requests),
        max_pending: number(section, "max_pending", 1..=1_000_000, default.max_pending),
    }
}

fn timeouts(section: &mut Section<'_>) -> TimeoutSettings {
    let mut section = section.section("timeouts");
    let default = TimeoutSettings::default();
    let timeouts = TimeoutSettings {
        connect: time(&mut section, "connect", default.connect),
        read: time(&mut section, "read", default.read),
        write: time(&mut section, "write", default.write),
        idle: time(&mut section, "idle", default.idle),
        total: total(&mut section, "total").filter(|total| !total.is_zero()),
    };
    section.finish();
    timeouts
}

/// A limit for a whole answer; zero: none.
pub fn total(section: &mut Section<'_>, key: &'static str) -> Option<Duration> {
    let Placed { value, place } = section.duration(key)?;
    if value > LONGEST {
        let hint = "at most \"24h\"; \"0s\" is no limit";
        section.error(&place, format!("`{key}` is out of range"), hint);
    }
    Some(value)
}

fn ejection(section: &mut Section<'_>) -> EjectionSettings {
    let mut section = section.section("ejection");
    let default = EjectionSettings::default();
    let settings = EjectionSettings {
        consecutive_failures: number(
            &mut section,
            "consecutive_failures",
            1..=1_000_000,
            default.consecutive_failures,
        ),
        base_time: time(&mut section, "base_time", default.base_time),
        max_time: time(&mut section, "max_time", default.max_time),
        max_percent: number(&mut section, "max_percent", 0..=100, default.max_percent),
    };
    if settings.max_time < settings.base_time {
        section.error(&section.place, "`max_time` is less than `base_time`", "");
    }
    section.finish();
    settings
}

fn health_check(section: &mut Section<'_>) -> Option<HealthCheckSettings> {
    let mut section = section.optional_section("health_check")?;
    let default = HealthCheckSettings::default();
    let path = section.text("path");
    if let Some(Placed { value, place }) = &path
        && (!value.starts_with('/') || value.parse::<http::uri::PathAndQuery>().is_err())
    {
        section.error(
            place,
            "this path cannot be asked for",
            "for instance \"/healthz\"",
        );
    }
    let settings = HealthCheckSettings {
        expected_status: expected_status(&mut section, path.is_some()),
        path: path.map(|path| path.value),
        interval: time(&mut section, "interval", default.interval),
        timeout: time(&mut section, "timeout", default.timeout),
        healthy_after: number(
            &mut section,
            "healthy_after",
            1..=100,
            default.healthy_after,
        ),
        unhealthy_after: number(
            &mut section,
            "unhealthy_after",
            1..=100,
            default.unhealthy_after,
        ),
    };
    section.finish();
    Some(settings)
}

fn expected_status(section: &mut Section<'_>, asks: bool) -> ExpectedStatus {
    let Some(list) = section.texts("expected_status") else {
        return ExpectedStatus::default();
    };
    if !asks {
        let hint = "set `path` to ask for something";
        section.error(&list.place, "without `path` no status is looked at", hint);
    }
    let words = list.value.iter().map(|word| word.value.as_str());
    match ExpectedStatus::parse(words) {
        Ok(expected) if !list.value.is_empty() => expected,
        Ok(_) => {
            section.error(&list.place, "`expected_status` is empty", "");
            ExpectedStatus::default()
        }
        Err(word) => {
            let place = list.value.iter().find(|one| one.value == word);
            let place = place.map_or(&list.place, |one| &one.place);
            let hint = "for instance [\"200\", \"204\"] or [\"2xx\"]";
            section.error(place, format!("{word:?} is not a status code"), hint);
            ExpectedStatus::default()
        }
    }
}

fn number(
    section: &mut Section<'_>,
    key: &'static str,
    range: RangeInclusive<u32>,
    default: u32,
) -> u32 {
    let Some(Placed { value, place }) = section.integer(key) else {
        return default;
    };
    match u32::try_from(value) {
        Ok(value) if range.contains(&value) => value,
        _ => {
            let hint = format!("between {} and {}", range.start(), range.end());
            section.error(&place, format!("`{key}` is out of range"), hint);
            default
        }
    }
}

/// A time that is one.
fn time(section: &mut Section<'_>, key: &'static str, default: Duration) -> Duration {
    let Some(Placed { value, place }) = section.duration(key) else {
        return default;
    };
    if value.is_zero() || value > LONGEST {
        let hint = "more than zero, and at most \"24h\"";
        section.error(&place, format!("`{key}` is out of range"), hint);
        return default;
    }
    value
}
