//! The token cache and clocks.

use std::time::Duration;

use super::{native::Native, original::Original};
use crate::config::{
    section::Placed,
    tree::{Table, Value},
};

/// Longest life of a cached answer, unless a longer one is asked for in our own words: the original's
/// template has ten days, which was a quarter of an hour when the number meant milliseconds.
const LONGEST: Duration = Duration::from_secs(15 * 60);
const LONGEST_SKEW: i64 = 5 * 60 * 1000;

pub fn translate(original: &Original<'_>, native: &mut Native) {
    cache(original, native);
    clock_skew(original, native);
    if let Some(header) = original.text("authConfig.authorizationHeader") {
        native.text("token.header", header.value, &header.place);
    }
}

fn cache(original: &Original<'_>, native: &mut Native) {
    if let Some(Placed {
        value: false,
        place,
    }) = original.flag("caching.enabled")
    {
        native.text("token_cache.max_ttl", "0s", &place);
        native.text("token_cache.inactive_ttl", "0s", &place);
        return;
    }
    let seconds = original.number("caching.tokenCacheExpiryTime");
    let milliseconds = original.number("caching.tokenCache.expiryTime");
    let life = match (seconds, milliseconds) {
        (Some(life), _) => Some((life.value.saturating_mul(1000), life.place)),
        (None, Some(life)) => Some((life.value, life.place)),
        (None, None) => None,
    };
    if let Some((milliseconds, place)) = life {
        let wanted = Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
        let life = match wanted > LONGEST && !allows_long_life(original) {
            false => wanted,
            true => {
                let days = humantime::format_duration(Duration::from_secs(wanted.as_secs()));
                let what = format!("a cached token would live for {days}: 15 minutes are used");
                let hint = "its unit is seconds since 3.2; `allow_long_ttl = true` in [token_cache] takes it as it is";
                original.warn(&place, what, hint);
                LONGEST
            }
        };
        native.text(
            "token_cache.max_ttl",
            format!("{}ms", life.as_millis()),
            &place,
        );
    }
    let capacity = original
        .number("caching.tokenCacheCapacity")
        .or_else(|| original.number("caching.tokenCache.capacity"));
    if let Some(Placed { value, place }) = capacity {
        let within = value.clamp(1, 100_000_000);
        if within != value {
            let what = format!("the capacity of the token cache is out of range: {within} is used");
            original.warn(&place, what, "between 1 and 100,000,000");
        }
        native.number("token_cache.max_entries", within, &place);
    }
}

/// `[token_cache] allow_long_ttl = true`, in the file or by its variable.
fn allows_long_life(original: &Original<'_>) -> bool {
    let variable = original
        .environment
        .get("PORTCULLIS__TOKEN_CACHE__ALLOW_LONG_TTL");
    let in_file = || {
        let table = value(&original.native, "token_cache")?;
        match table {
            Value::Table(table) => value(table, "allow_long_ttl"),
            _ => None,
        }
    };
    match variable {
        Some(word) => word.eq_ignore_ascii_case("true"),
        None => matches!(in_file(), Some(Value::Boolean(true))),
    }
}

fn value<'t>(table: &'t Table, key: &str) -> Option<&'t Value> {
    let entry = table.entries.iter().find(|entry| entry.key == key)?;
    Some(&entry.node.value)
}

/// How far clocks may differ, in milliseconds; the key manager's table has an older name for it.
fn clock_skew(original: &Original<'_>, native: &mut Native) {
    let skew = original
        .number("server.timestampSkew")
        .or_else(|| original.number("keyManager.timestampSkew"));
    let Some(Placed { value, place }) = skew else {
        return;
    };
    let within = value.clamp(0, LONGEST_SKEW);
    if within != value {
        let what = format!("`timestampSkew` is out of range: {within} is used");
        original.warn(&place, what, "milliseconds, 5 minutes at most");
    }
    native.text("token.clock_skew", format!("{within}ms"), &place);
}
