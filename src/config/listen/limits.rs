//! `[listen.limits]`: how much of the gateway clients may take.

use std::time::Duration;

use crate::config::section::{Placed, Section};

/// `[listen.limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    pub max_connections: usize,
    /// IPv6: for the 64 bits that a site is given.
    pub max_connections_per_address: u32,
    /// Requests that are served at the same time.
    pub max_requests: usize,
    /// For everything that comes before HTTP.
    pub handshake_timeout: Duration,
    /// From the first byte of a request's header, or from the beginning of the connection, to its end.
    pub header_timeout: Duration,
    /// Between two requests.
    pub idle_timeout: Duration,
    /// Bytes per second that a client must send of a body, or take of an answer. 0: any.
    pub min_rate: u64,
    /// After which a connection takes no more requests.
    pub max_age: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_connections_per_address: 1_000,
            max_requests: 10_000,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            min_rate: 240,
            max_age: Duration::from_secs(3600),
        }
    }
}

/// Reads the table.
pub fn read(listen: &mut Section<'_>) -> ConnectionLimits {
    let mut section = listen.section("limits");
    let mut limits = ConnectionLimits::default();
    number(&mut section, "max_connections", &mut limits.max_connections);
    number(
        &mut section,
        "max_connections_per_address",
        &mut limits.max_connections_per_address,
    );
    number(&mut section, "max_requests", &mut limits.max_requests);
    time(
        &mut section,
        "handshake_timeout",
        &mut limits.handshake_timeout,
    );
    time(&mut section, "header_timeout", &mut limits.header_timeout);
    time(&mut section, "idle_timeout", &mut limits.idle_timeout);
    if let Some(rate) = section.size("min_rate") {
        limits.min_rate = rate.value;
    }
    time(&mut section, "max_age", &mut limits.max_age);
    section.finish();
    limits
}

fn number<N: TryFrom<u64>>(section: &mut Section<'_>, key: &'static str, limit: &mut N) {
    let Some(Placed { value, place }) = section.integer(key) else {
        return;
    };
    match N::try_from(value) {
        Ok(value_in_range) if value > 0 => *limit = value_in_range,
        _ => section.error(&place, format!("`{key}` is out of range"), "1 or more"),
    }
}

fn time(section: &mut Section<'_>, key: &'static str, limit: &mut Duration) {
    const SHORTEST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    let Some(Placed { value, place }) = section.duration(key) else {
        return;
    };
    match (SHORTEST..=LONGEST).contains(&value) {
        true => *limit = value,
        false => {
            let what = format!("`{key}` is out of range");
            section.error(&place, what, "from \"100ms\" to \"1day\"");
        }
    }
}
