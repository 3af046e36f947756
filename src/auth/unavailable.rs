//! Could not ask: why there is no verdict. Never the caller's fault, and never a yes.

use http::StatusCode;

use crate::{domain::Reason, metrics::Outcome};

/// Why the key manager gave no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// No connection, or it broke off.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// 5xx.
    ServerError,
    /// 429, with the seconds to wait if it said so.
    RateLimited(Option<u32>),
    /// 401, 403 or `invalid_client`: our own credentials are wrong.
    ClientRefused,
    /// Another status than 200.
    UnexpectedStatus(u16),
    /// 200, but not RFC 7662.
    BadAnswer,
    /// More than the gateway reads.
    TooLarge,
    /// Too many calls are under way.
    Overloaded,
    /// The gateway has no token of its own yet, or does not know the endpoint yet.
    NotReady,
    /// The keys of the token's issuer have not been had yet.
    NoKeys,
    /// The call ended without a result: a bug of ours.
    Lost,
}

impl Unavailable {
    /// Whether the key manager is away or at its limits, and neither it nor we are set up wrongly.
    pub fn is_outage(self) -> bool {
        match self {
            Self::Unreachable
            | Self::Timeout
            | Self::ServerError
            | Self::RateLimited(_)
            | Self::Overloaded
            | Self::NotReady => true,
            Self::ClientRefused
            | Self::UnexpectedStatus(_)
            | Self::BadAnswer
            | Self::TooLarge
            | Self::NoKeys
            | Self::Lost => false,
        }
    }

    pub fn reason(self) -> Reason {
        match self {
            Self::Unreachable | Self::ServerError => Reason::IntrospectionUnreachable,
            Self::Timeout => Reason::IntrospectionTimeout,
            Self::RateLimited(_) => Reason::IntrospectionRateLimited,
            Self::ClientRefused => Reason::IntrospectionClientRefused,
            Self::UnexpectedStatus(_) | Self::BadAnswer | Self::TooLarge => {
                Reason::IntrospectionBadAnswer
            }
            Self::Overloaded => Reason::IntrospectionOverloaded,
            Self::NotReady => Reason::IntrospectionNotReady,
            Self::NoKeys => Reason::JwtKeysUnavailable,
            Self::Lost => Reason::Internal,
        }
    }

    /// 502 for an answer that makes no sense, 503 for none.
    pub fn status(self) -> StatusCode {
        match self {
            Self::UnexpectedStatus(_) | Self::BadAnswer | Self::TooLarge => StatusCode::BAD_GATEWAY,
            Self::Lost => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Seconds after which trying again makes sense (RFC 9110 §10.2.3).
    pub fn retry_after(self) -> Option<u32> {
        const SOON: u32 = 1;
        /// Somebody has to repair something.
        const LATER: u32 = 30;
        match self {
            Self::RateLimited(seconds) => Some(seconds.unwrap_or(SOON)),
            Self::ClientRefused => Some(LATER),
            _ if self.status() == StatusCode::SERVICE_UNAVAILABLE => Some(SOON),
            _ => None,
        }
    }

    /// For the caller: nothing of the key manager's address or words.
    pub fn detail(self) -> &'static str {
        match self {
            Self::ClientRefused | Self::NotReady => {
                "The gateway may not ask about access tokens at the moment"
            }
            Self::UnexpectedStatus(_) | Self::BadAnswer | Self::TooLarge => {
                "The answer about the access token made no sense"
            }
            Self::Overloaded => "Too many access tokens are being checked at the moment",
            Self::Lost => "The gateway failed",
            _ => "The access token cannot be checked at the moment",
        }
    }

    /// For the operator's log.
    pub fn cause(self) -> &'static str {
        match self {
            Self::Unreachable => "no connection, or it broke off",
            Self::Timeout => "no answer in time",
            Self::ServerError => "it answered 5xx",
            Self::RateLimited(_) => "it answered 429",
            Self::ClientRefused => "it refuses the gateway's own credentials",
            Self::UnexpectedStatus(_) => "it answered with an unexpected status",
            Self::BadAnswer => "its answer is not one of RFC 7662",
            Self::TooLarge => "its answer is too large",
            Self::Overloaded => "too many calls are under way",
            Self::NotReady => "the gateway has no token of its own, or no endpoint, yet",
            Self::NoKeys => "the issuer's keys have not been had yet",
            Self::Lost => "a call ended without a result",
        }
    }

    /// How the call is counted; `None` when there was no call.
    pub fn outcome(self) -> Option<Outcome> {
        Some(match self {
            Self::Unreachable => Outcome::ConnectError,
            Self::Timeout => Outcome::Timeout,
            Self::ServerError => Outcome::ServerError,
            Self::RateLimited(_) => Outcome::RateLimited,
            Self::ClientRefused => Outcome::ClientRefused,
            Self::UnexpectedStatus(_) => Outcome::ClientError,
            Self::BadAnswer => Outcome::BadBody,
            Self::TooLarge => Outcome::TooLarge,
            Self::Overloaded | Self::NotReady | Self::NoKeys | Self::Lost => return None,
        })
    }
}
