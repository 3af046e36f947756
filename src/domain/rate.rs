//! How often, and how much: what a request may be at the most.

use std::{num::NonZeroU32, time::Duration};

/// So many requests in a time, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub requests: NonZeroU32,
    pub per: Duration,
    /// Requests that may come at once after a pause.
    pub burst: NonZeroU32,
}

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Those of one address; of one /64 network for IPv6, which a single host may have whole.
    Address,
    /// Those of one client, by the token's `client_id`; of one token where it has none.
    ClientId,
    /// All of a route.
    Route,
}

/// A limit of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Unique; the `limit` label of metrics, and its name in `RateLimit` fields.
    pub name: Box<str>,
    pub rate: Rate,
    pub by: By,
}

/// Position of a limit in the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitId(pub usize);

/// What a request may be at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeLimits {
    /// Names and values of all header fields.
    pub header_bytes: usize,
    pub headers: usize,
    /// The request target.
    pub uri_bytes: usize,
    /// `None`: any length.
    pub body_bytes: Option<u64>,
}

impl Default for SizeLimits {
    fn default() -> Self {
        Self {
            header_bytes: 64 << 10,
            headers: 100,
            uri_bytes: 8 << 10,
            body_bytes: Some(10 << 20),
        }
    }
}
