//! Every way to say no to a caller: status, challenge (RFC 6750 §3) and words.

use http::StatusCode;

use super::{JwtFault, KeyType, Methods, Reason, TierKind};

/// Why a caller is refused. Nothing of the request is repeated in what this renders to, except the
/// scopes that the route's own configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The request has no one reading: where it ends is anybody's guess.
    Ambiguous,
    AudienceMismatch,
    BadJwt(JwtFault),
    BodyTooLarge,
    Expired,
    HeaderTooLarge,
    /// `cached`: said from memory, without asking again.
    Inactive {
        cached: bool,
    },
    /// `required`: the scopes that the route asks for, separated by spaces.
    InsufficientScope {
        required: Box<str>,
    },
    IssuerMismatch,
    MalformedRequest,
    MalformedToken,
    /// `allowed`: for the `Allow` header (RFC 9110 §10.2.1).
    MethodNotAllowed {
        allowed: Methods,
    },
    /// The connection was made to a server of another name.
    Misdirected,
    MultipleTokens,
    NotYetValid,
    /// The key manager does not say whose token it is.
    NoClientId,
    NoToken,
    /// The route has no upstream for clients with such a key.
    NoEndpoint(KeyType),
    /// `retry_after`: in seconds, when one more will be let through.
    RateLimited {
        retry_after: u32,
    },
    /// There are too many requests.
    Overloaded,
    /// A page of another origin asks whether it may use the route.
    OriginNotAllowed,
    /// Somebody said so before its end.
    Revoked,
    RouteNotFound,
    SubscriptionBlocked,
    /// The client is of no application that has subscribed to the API.
    SubscriptionMissing,
    SubscriptionOnHold,
    SubscriptionRejected,
    /// Nobody has told yet who has subscribed to what.
    SubscriptionsNotReady,
    /// Nobody is there to tell it.
    SubscriptionsOff,
    /// `retry_after`: in seconds, when the tier allows one more.
    TierExceeded {
        kind: TierKind,
        retry_after: u32,
    },
    /// `location`: the same target with TLS.
    TlsNeeded {
        location: Box<str>,
    },
    TokenTooLong,
    /// `Expect` has something else than `100-continue` (RFC 9110 §10.1.1).
    UnknownExpectation,
    /// The subscription, or the application, has a tier of which nobody knows what it allows.
    UnknownTier,
    UriTooLong,
    WrongTokenType,
}

/// The `WWW-Authenticate` value of a refusal, without the scheme's parameters rendered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// No credentials came: no error code may be given (RFC 6750 §3.1).
    Bare,
    InvalidRequest,
    InvalidToken,
    InsufficientScope,
}

impl Denial {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Ambiguous
            | Self::MalformedRequest
            | Self::MultipleTokens
            | Self::TokenTooLong => StatusCode::BAD_REQUEST,
            Self::InsufficientScope { .. }
            | Self::NoClientId
            | Self::NoEndpoint(_)
            | Self::OriginNotAllowed
            | Self::SubscriptionBlocked
            | Self::SubscriptionMissing
            | Self::SubscriptionOnHold
            | Self::SubscriptionRejected => StatusCode::FORBIDDEN,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::RateLimited { .. } | Self::TierExceeded { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::UnknownTier => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UnknownExpectation => StatusCode::EXPECTATION_FAILED,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::Overloaded | Self::SubscriptionsNotReady | Self::SubscriptionsOff => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::RouteNotFound => StatusCode::NOT_FOUND,
            Self::TlsNeeded { .. } => StatusCode::PERMANENT_REDIRECT,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::AudienceMismatch
            | Self::BadJwt(_)
            | Self::Expired
            | Self::Inactive { .. }
            | Self::IssuerMismatch
            | Self::MalformedToken
            | Self::NotYetValid
            | Self::NoToken
            | Self::Revoked
            | Self::WrongTokenType => StatusCode::UNAUTHORIZED,
        }
    }

    pub fn reason(&self) -> Reason {
        match self {
            Self::AudienceMismatch | Self::BadJwt(JwtFault::Audience) => Reason::AudienceMismatch,
            Self::BadJwt(JwtFault::Malformed) => Reason::JwtMalformed,
            Self::BadJwt(JwtFault::Algorithm) => Reason::JwtAlgorithm,
            Self::BadJwt(JwtFault::UnknownKey) => Reason::JwtUnknownKey,
            Self::BadJwt(JwtFault::BadSignature) => Reason::JwtBadSignature,
            Self::BadJwt(JwtFault::UnknownIssuer) => Reason::UnknownIssuer,
            Self::BadJwt(JwtFault::NotAnAccessToken) | Self::WrongTokenType => {
                Reason::WrongTokenType
            }
            Self::BodyTooLarge => Reason::BodyTooLarge,
            Self::HeaderTooLarge => Reason::HeaderTooLarge,
            Self::RateLimited { .. } => Reason::RateLimited,
            Self::UriTooLong => Reason::UriTooLong,
            Self::Expired => Reason::Expired,
            Self::Inactive { cached: false } => Reason::Inactive,
            Self::Inactive { cached: true } => Reason::InactiveCached,
            Self::InsufficientScope { .. } => Reason::InsufficientScope,
            Self::IssuerMismatch => Reason::IssuerMismatch,
            Self::Ambiguous | Self::MalformedRequest => Reason::MalformedRequest,
            Self::MalformedToken => Reason::MalformedToken,
            Self::MethodNotAllowed { .. } => Reason::MethodNotAllowed,
            Self::Misdirected => Reason::Misdirected,
            Self::MultipleTokens => Reason::MultipleTokens,
            Self::NotYetValid => Reason::NotYetValid,
            Self::NoClientId => Reason::NoClientId,
            Self::NoToken => Reason::NoToken,
            Self::NoEndpoint(KeyType::Production) => Reason::NoProductionEndpoint,
            Self::NoEndpoint(KeyType::Sandbox) => Reason::NoSandboxEndpoint,
            Self::OriginNotAllowed => Reason::OriginNotAllowed,
            Self::Overloaded => Reason::Overloaded,
            Self::Revoked => Reason::Revoked,
            Self::RouteNotFound => Reason::RouteNotFound,
            Self::SubscriptionBlocked => Reason::SubscriptionBlocked,
            Self::SubscriptionMissing => Reason::SubscriptionMissing,
            Self::SubscriptionOnHold => Reason::SubscriptionOnHold,
            Self::SubscriptionRejected => Reason::SubscriptionRejected,
            Self::SubscriptionsNotReady => Reason::SubscriptionsNotReady,
            Self::SubscriptionsOff => Reason::SubscriptionsOff,
            Self::TlsNeeded { .. } => Reason::TlsNeeded,
            Self::TierExceeded { kind, .. } => match kind {
                TierKind::Api => Reason::ApiTierExceeded,
                TierKind::Resource => Reason::ResourceTierExceeded,
                TierKind::Subscription => Reason::SubscriptionTierExceeded,
                TierKind::Application => Reason::ApplicationTierExceeded,
            },
            Self::UnknownTier => Reason::UnknownTier,
            Self::TokenTooLong => Reason::TokenTooLong,
            Self::UnknownExpectation => Reason::UnknownExpectation,
        }
    }

    /// The kind of challenge; `None` where no token would help.
    pub fn challenge(&self) -> Option<Challenge> {
        match self {
            Self::NoToken => Some(Challenge::Bare),
            Self::MultipleTokens | Self::TokenTooLong => Some(Challenge::InvalidRequest),
            Self::InsufficientScope { .. } => Some(Challenge::InsufficientScope),
            Self::AudienceMismatch
            | Self::BadJwt(_)
            | Self::Expired
            | Self::Inactive { .. }
            | Self::IssuerMismatch
            | Self::MalformedToken
            | Self::NotYetValid
            | Self::Revoked
            | Self::WrongTokenType => Some(Challenge::InvalidToken),
            Self::Ambiguous
            | Self::BodyTooLarge
            | Self::HeaderTooLarge
            | Self::RateLimited { .. }
            | Self::UriTooLong
            | Self::MalformedRequest
            | Self::MethodNotAllowed { .. }
            | Self::Misdirected
            | Self::NoClientId
            | Self::NoEndpoint(_)
            | Self::OriginNotAllowed
            | Self::Overloaded
            | Self::RouteNotFound
            | Self::SubscriptionBlocked
            | Self::SubscriptionMissing
            | Self::SubscriptionOnHold
            | Self::SubscriptionRejected
            | Self::SubscriptionsNotReady
            | Self::SubscriptionsOff
            | Self::TierExceeded { .. }
            | Self::TlsNeeded { .. }
            | Self::UnknownExpectation
            | Self::UnknownTier => None,
        }
    }

    /// One sentence for people, of the characters that RFC 6750 §3 allows in `error_description`.
    pub fn detail(&self) -> &'static str {
        match self {
            Self::AudienceMismatch | Self::BadJwt(JwtFault::Audience) => {
                "The access token is meant for another audience"
            }
            Self::BadJwt(JwtFault::NotAnAccessToken) | Self::WrongTokenType => {
                "This kind of token is not accepted as a bearer token"
            }
            Self::BadJwt(JwtFault::UnknownIssuer) => "The access token is not one of this service",
            Self::BadJwt(_) => "The access token cannot be trusted",
            Self::BodyTooLarge => "The body is longer than is allowed here",
            Self::HeaderTooLarge => "The header is larger than is allowed",
            Self::RateLimited { .. } => "Too many requests: try again later",
            Self::UriTooLong => "The request target is longer than is allowed",
            Self::Expired => "The access token expired",
            Self::Inactive { .. } => "The access token is unknown, expired or revoked",
            Self::InsufficientScope { .. } => "The access token lacks a scope that is needed here",
            Self::IssuerMismatch => "The access token comes from another issuer",
            Self::Ambiguous => "The request can be read in two ways",
            Self::MalformedRequest => "The request target is not in its normal form",
            Self::MalformedToken => "The access token is malformed",
            Self::MethodNotAllowed { .. } => "This method is not allowed here",
            Self::Misdirected => "This connection is for another host",
            Self::MultipleTokens => "Send one access token, in one Authorization header",
            Self::NotYetValid => "The access token is not valid yet",
            Self::Overloaded => "There is too much to do: try again",
            Self::OriginNotAllowed => "Pages of this origin may not call this",
            Self::NoClientId => "The access token does not say which client it is of",
            Self::NoEndpoint(KeyType::Production) => "There is only a sandbox here",
            Self::NoEndpoint(KeyType::Sandbox) => "There is no sandbox here",
            Self::TierExceeded { kind, .. } => match kind {
                TierKind::Api | TierKind::Resource => "This is used too often: try again later",
                TierKind::Subscription => "The subscription allows no more requests at the moment",
                TierKind::Application => "The application may send no more requests at the moment",
            },
            Self::UnknownTier => "The gateway does not know the tier of the subscription",
            Self::NoToken => "This needs an access token in the Authorization header",
            Self::Revoked => "The access token was revoked",
            Self::RouteNotFound => "There is nothing here",
            Self::SubscriptionBlocked => "The subscription to this API is blocked",
            Self::SubscriptionMissing => "The application has not subscribed to this API",
            Self::SubscriptionOnHold => "The subscription to this API waits for approval",
            Self::SubscriptionRejected => "The subscription to this API was not approved",
            Self::SubscriptionsNotReady => "Subscriptions are not known yet: try again",
            Self::SubscriptionsOff => "Subscriptions are asked for, and not known here",
            Self::TlsNeeded { .. } => "This is served with TLS only",
            Self::TokenTooLong => "The access token is too long",
            Self::UnknownExpectation => "Only 100-continue can be expected here",
        }
    }

    /// The `WWW-Authenticate` value (RFC 6750 §3, RFC 9110 §11.6.1).
    pub fn www_authenticate(&self) -> Option<String> {
        let detail = self.detail();
        Some(match self.challenge()? {
            Challenge::Bare => "Bearer".to_owned(),
            Challenge::InvalidRequest => {
                format!("Bearer error=\"invalid_request\", error_description=\"{detail}\"")
            }
            Challenge::InvalidToken => {
                format!("Bearer error=\"invalid_token\", error_description=\"{detail}\"")
            }
            Challenge::InsufficientScope => format!(
                "Bearer error=\"insufficient_scope\", error_description=\"{detail}\", scope=\"{}\"",
                self.required_scope()
            ),
        })
    }

    fn required_scope(&self) -> &str {
        match self {
            Self::InsufficientScope { required } => required,
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_follow_rfc_6750() {
        let cases = [
            (Denial::NoToken, 401, Some("Bearer")),
            (
                Denial::Expired,
                401,
                Some(
                    "Bearer error=\"invalid_token\", error_description=\"The access token expired\"",
                ),
            ),
            (
                Denial::InsufficientScope {
                    required: "a b".into(),
                },
                403,
                Some(
                    "Bearer error=\"insufficient_scope\", error_description=\"The access token \
                     lacks a scope that is needed here\", scope=\"a b\"",
                ),
            ),
            (Denial::RouteNotFound, 404, None),
        ];
        for (denial, status, challenge) in cases {
            assert_eq!(denial.status().as_u16(), status);
            assert_eq!(denial.www_authenticate().as_deref(), challenge);
        }
        assert_eq!(Denial::MultipleTokens.status().as_u16(), 400);
        assert!(
            Denial::MultipleTokens
                .www_authenticate()
                .unwrap()
                .contains("invalid_request")
        );
    }
}
