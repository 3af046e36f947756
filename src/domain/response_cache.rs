//! What a route says about keeping its answers.

use std::time::Duration;

/// How the answers of a route may be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    pub scope: CacheScope,
    /// Freshness of answers that say nothing about it themselves; zero: only what RFC 9111 §4.2.2
    /// allows to guess.
    pub default_ttl: Duration,
    /// For how long after its end an answer may be given while a fresh one is fetched, where the
    /// answer itself does not say (RFC 5861 §3).
    pub stale_while_revalidate: Duration,
    /// For how long after its end an answer may stand in for a failing upstream, where the answer
    /// itself does not say (RFC 5861 §4).
    pub stale_if_error: Duration,
    /// Longest body that is kept, in bytes.
    pub max_object_bytes: usize,
}

/// Who may be given an answer that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheScope {
    /// Everybody whom the route lets in. Of requests with a token only what RFC 9111 §3.5 allows is
    /// kept.
    Shared,
    /// The caller alone to whom it was given first.
    PerClient,
}

impl CacheScope {
    pub const ALL: [(Self, &'static str); 2] =
        [(Self::Shared, "shared"), (Self::PerClient, "per_client")];
}
