//! One word for how a request ended, from one closed list.
//!
//! The word is the metric label, the field of the access log, the `reason` of the error body and
//! the anchor in `docs/reasons.md`, so that the four can never disagree.

/// What became of a request at the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A token was checked and met the route's policy.
    Allow,
    /// The caller was refused: its token, its scopes, or what it asked for.
    Deny,
    /// Not the caller's fault: the key manager or the upstream failed.
    Error,
    /// The route asks for no token.
    Skipped,
}

impl Decision {
    pub fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Error => "error",
            Self::Skipped => "skipped",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $decision:ident;)*) => {
        /// Why a request ended as it did.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// Every reason, in the order of their [`Reason::index`].
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The word for logs, labels and bodies.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            pub fn decision(self) -> Decision {
                match self { $(Self::$variant => Decision::$decision,)* }
            }
        }
    };
}

reasons! {
    /// The token is active and meets the route's policy.
    Active = "active", Allow;
    /// The route is public.
    Public = "public", Skipped;
    /// A browser's question whether a page may send a request: the gateway answers it itself.
    Preflight = "preflight", Skipped;
    /// No bearer token was sent.
    NoToken = "no_token", Deny;
    /// The credential is not a `b64token` (RFC 6750 §2.1).
    MalformedToken = "malformed_token", Deny;
    /// The token is longer than the gateway looks at.
    TokenTooLong = "token_too_long", Deny;
    /// More than one token, or more than one way of sending it.
    MultipleTokens = "multiple_tokens", Deny;
    /// The key manager just said `active: false`.
    Inactive = "inactive", Deny;
    /// The key manager said so a moment ago.
    InactiveCached = "inactive_cached", Deny;
    /// The token was revoked before its end: a broker or a list told us.
    Revoked = "revoked", Deny;
    /// `exp` has passed.
    Expired = "expired", Deny;
    /// `nbf` or `iat` lies ahead.
    NotYetValid = "not_yet_valid", Deny;
    /// `iss` is not the route's.
    IssuerMismatch = "issuer_mismatch", Deny;
    /// `aud` has none of the route's.
    AudienceMismatch = "audience_mismatch", Deny;
    /// Not a bearer access token: a refresh token, or one bound to a key that was not proved.
    WrongTokenType = "wrong_token_type", Deny;
    /// The token is a JWT, and not what an access token has to be.
    JwtMalformed = "jwt_malformed", Deny;
    /// It is signed in a way that is not allowed.
    JwtAlgorithm = "jwt_algorithm", Deny;
    /// It is signed with a key that its issuer does not publish.
    JwtUnknownKey = "jwt_unknown_key", Deny;
    /// Its signature is wrong.
    JwtBadSignature = "jwt_bad_signature", Deny;
    /// No issuer of the configuration made the token, and there is no key manager to ask.
    UnknownIssuer = "unknown_issuer", Deny;
    /// The token lacks a scope that the route asks for.
    InsufficientScope = "insufficient_scope", Deny;
    /// The token names no client, so nothing can be said about its subscriptions.
    NoClientId = "no_client_id", Deny;
    /// The client's application has no subscription to the route's API.
    SubscriptionMissing = "subscription_missing", Deny;
    /// The subscription is blocked, for this kind of key at least.
    SubscriptionBlocked = "subscription_blocked", Deny;
    /// The subscription waits for approval.
    SubscriptionOnHold = "subscription_on_hold", Deny;
    /// The subscription was not approved, or is in a state that is not known here.
    SubscriptionRejected = "subscription_rejected", Deny;
    /// The route has no upstream for clients with a production key.
    NoProductionEndpoint = "no_production_endpoint", Deny;
    /// The route has no upstream for clients with a sandbox key.
    NoSandboxEndpoint = "no_sandbox_endpoint", Deny;
    /// The request target has no single meaning.
    MalformedRequest = "malformed_request", Deny;
    /// The host has another certificate than the connection was made with.
    Misdirected = "misdirected", Deny;
    /// The request came without TLS, and is sent to where it is served with it.
    TlsNeeded = "tls_needed", Deny;
    /// No route has this host and path.
    RouteNotFound = "route_not_found", Deny;
    /// A route has this path, but not this method.
    MethodNotAllowed = "method_not_allowed", Deny;
    /// A page of an origin that the route does not name.
    OriginNotAllowed = "origin_not_allowed", Deny;
    /// The request expects something that the gateway cannot do.
    UnknownExpectation = "unknown_expectation", Deny;
    /// The request target is longer than allowed.
    UriTooLong = "uri_too_long", Deny;
    /// The header has more bytes, or more fields, than allowed.
    HeaderTooLarge = "header_too_large", Deny;
    /// The body is longer than the route allows.
    BodyTooLarge = "body_too_large", Deny;
    /// Too many requests from this address or client, or for this route.
    RateLimited = "rate_limited", Deny;
    /// The route's API was used as often as its tier allows.
    ApiTierExceeded = "api_tier_exceeded", Deny;
    /// The route was used as often as its tier allows.
    ResourceTierExceeded = "resource_tier_exceeded", Deny;
    /// The application used the API as often as the subscription's tier allows.
    SubscriptionTierExceeded = "subscription_tier_exceeded", Deny;
    /// The user of the application sent as many requests as its tier allows.
    ApplicationTierExceeded = "application_tier_exceeded", Deny;
    /// The key manager did not answer in time.
    IntrospectionTimeout = "introspection_timeout", Error;
    /// The key manager could not be reached, or answered 5xx.
    IntrospectionUnreachable = "introspection_unreachable", Error;
    /// The key manager answered 429.
    IntrospectionRateLimited = "introspection_rate_limited", Error;
    /// The key manager's answer is not RFC 7662.
    IntrospectionBadAnswer = "introspection_bad_answer", Error;
    /// The key manager refuses the gateway's own credentials.
    IntrospectionClientRefused = "introspection_client_refused", Error;
    /// The gateway has no token of its own yet, or has not found the endpoint yet.
    IntrospectionNotReady = "introspection_not_ready", Error;
    /// Too many introspections are under way already.
    IntrospectionOverloaded = "introspection_overloaded", Error;
    /// The route asks for a subscription, and the source of subscriptions is switched off.
    SubscriptionsOff = "subscriptions_off", Error;
    /// The subscriptions have not been loaded yet.
    SubscriptionsNotReady = "subscriptions_not_ready", Error;
    /// The tier of the subscription, or of the application, is not known.
    UnknownTier = "unknown_tier", Error;
    /// The keys of the token's issuer have not been had yet.
    JwtKeysUnavailable = "jwt_keys_unavailable", Error;
    /// Too many requests are under way.
    Overloaded = "overloaded", Error;
    /// Every address of the upstream is out.
    NoUpstream = "no_upstream", Error;
    /// Every address of the upstream has as many requests as it may have.
    UpstreamOverloaded = "upstream_overloaded", Error;
    /// No connection to the upstream.
    UpstreamConnect = "upstream_connect", Error;
    /// The upstream did not answer in time.
    UpstreamTimeout = "upstream_timeout", Error;
    /// The upstream broke off, or answered nonsense.
    UpstreamReset = "upstream_reset", Error;
    /// The caller went away before the answer was complete.
    ClientClosed = "client_closed", Error;
    /// A fault of the gateway itself.
    Internal = "internal", Error;
}

impl Reason {
    /// Whether the upstream is what failed.
    pub fn is_of_upstream(self) -> bool {
        matches!(
            self,
            Self::NoUpstream
                | Self::UpstreamConnect
                | Self::UpstreamOverloaded
                | Self::UpstreamReset
                | Self::UpstreamTimeout
        )
    }

    /// Position in [`Reason::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_positions_and_words_are_distinct() {
        for (position, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), position);
        }
        let mut words: Vec<_> = Reason::ALL.iter().map(|reason| reason.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::ALL.len());
    }
}
