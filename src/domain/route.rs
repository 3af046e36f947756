//! One entry of the routing table.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use super::{
    Access, AccessToken, Action, ApiIdentity, CachePolicy, Coding, Cors, Denial, Forward, Grant,
    HeaderMatch, HeaderRules, HostPattern, Methods, PathPattern, RateLimitId, RouteTiers, extract,
    extract_from,
};

/// One entry of the routing table: what it matches, what it asks for, where it sends.
#[derive(Clone, Debug)]
pub struct Route {
    /// Unique; the `route` label of metrics and logs.
    pub name: Box<str>,
    /// Any of these; none: any host.
    pub hosts: Box<[HostPattern]>,
    pub path: PathPattern,
    pub methods: Methods,
    pub match_headers: HeaderMatch,
    pub access: Access,
    pub action: Action,
    /// Header to claim: what the upstream is told about the caller.
    pub identity_headers: Box<[(HeaderName, Box<str>)]>,
    /// Where the token stands; `None`: in `Authorization`.
    pub token_header: Option<HeaderName>,
    /// Whether its upstream gets a JWT of the gateway's own, where there is one.
    pub backend_jwt: bool,
    /// Whether the caller's token goes on to the upstream.
    pub forward_token: bool,
    /// `None`: browsers are told nothing.
    pub cors: Option<Box<Cors>>,
    /// `None`: no rules.
    pub headers: Option<Box<HeaderRules>>,
    /// Ways to compress answers, the best first; none: they go on as they came.
    pub compression: Box<[Coding]>,
    /// How its answers are kept; `None`: not at all.
    pub response_cache: Option<Box<CachePolicy>>,
    /// Whether a stream or a WebSocket is cut when the token that opened it is no good any more.
    pub end_with_token: bool,
    /// Beside those for all routes.
    pub rate_limits: Box<[RateLimitId]>,
    /// The key manager whose word alone counts; `None`: that of whoever the token is one of.
    pub key_manager: Option<Box<str>>,
    /// The API that it is of, where that is known: who has subscribed to it matters then.
    pub api: Option<Arc<ApiIdentity>>,
    /// Whether only those who have subscribed to the API may pass.
    pub validation: Validation,
    /// How often it, and its API, may be used.
    pub tiers: RouteTiers,
    /// Longest body of a request, in bytes; `None`: any.
    pub max_body: Option<u64>,
}

/// Who must have subscribed to the API of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// All clients, or none: the route itself says so.
    Same(bool),
    /// A key manager, or the issuer of a JWT, may want it for its own tokens, or not.
    ByToken {
        /// What holds for all other tokens.
        usually: bool,
        /// Whether some key manager or issuer wants it.
        somebody: bool,
    },
}

impl Validation {
    /// Whether the client of this token must have subscribed.
    pub fn is_wanted(self, grant: Option<&Grant>) -> bool {
        let of_voucher = || grant?.vouched_by().validates_subscriptions();
        match self {
            Self::Same(wanted) => wanted,
            Self::ByToken { usually, .. } => of_voucher().unwrap_or(usually),
        }
    }

    /// Whether there may be a client who must have subscribed.
    pub fn is_ever_wanted(self) -> bool {
        match self {
            Self::Same(wanted) => wanted,
            Self::ByToken { usually, somebody } => usually || somebody,
        }
    }
}

impl Route {
    /// The token of a request.
    ///
    /// # Errors
    /// There is none that can be taken: see [`extract`].
    pub fn token<'a>(
        &self,
        headers: &'a HeaderMap,
        query: Option<&str>,
    ) -> Result<AccessToken<'a>, Denial> {
        match &self.token_header {
            None => extract(headers, query),
            Some(name) => extract_from(name, headers, query),
        }
    }

    /// How its requests go on; `None` when the gateway answers them itself.
    pub fn forward(&self) -> Option<&Forward> {
        match &self.action {
            Action::Forward(forward) => Some(forward),
            Action::Redirect(_) | Action::Respond(_) => None,
        }
    }
}
