//! Why the gateway answers itself: refusals and failures, before they are put into words.

use http::StatusCode;
use pingora::{ErrorSource, ErrorType};

use super::{attempt, limits::TOO_LARGE};
use crate::{
    auth::{NoVerdict, Unavailable},
    domain::{Denial, Reason},
};

/// Seconds until an upstream may be there again: about one round of checks.
const NO_UPSTREAM_RETRY: u32 = 5;
/// Seconds until it may have less to do.
const OVERLOADED_RETRY: u32 = 1;

/// An answer that is not the upstream's.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// As it is natively; see [`Refusal::status`].
    pub(super) native_status: StatusCode,
    pub reason: Reason,
    pub(super) detail: &'static str,
    /// Of RFC 6750.
    pub(super) challenge: Option<String>,
    pub(super) retry_after: Option<u32>,
    pub(super) allow: Option<String>,
    pub(super) location: Option<Box<str>>,
    /// Nothing that follows on the connection can be trusted.
    pub(super) closes: bool,
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self {
            native_status: denial.status(),
            reason: denial.reason(),
            detail: denial.detail(),
            challenge: denial.www_authenticate(),
            retry_after: match &denial {
                Denial::RateLimited { retry_after } | Denial::TierExceeded { retry_after, .. } => {
                    Some(*retry_after)
                }
                Denial::Overloaded | Denial::SubscriptionsNotReady => Some(1),
                _ => None,
            },
            allow: match &denial {
                Denial::MethodNotAllowed { allowed } => Some(allowed.to_string()),
                _ => None,
            },
            closes: denial == Denial::Ambiguous,
            location: match denial {
                Denial::TlsNeeded { location } => Some(location),
                _ => None,
            },
        }
    }
}

impl From<Unavailable> for Refusal {
    fn from(unavailable: Unavailable) -> Self {
        Self {
            retry_after: unavailable.retry_after(),
            ..Self::new(
                unavailable.status(),
                unavailable.reason(),
                unavailable.detail(),
            )
        }
    }
}

impl From<NoVerdict> for Refusal {
    fn from(why: NoVerdict) -> Self {
        match why {
            NoVerdict::Unavailable(unavailable) => unavailable.into(),
            NoVerdict::Untrusted(fault) => Denial::BadJwt(fault).into(),
        }
    }
}

impl Refusal {
    fn new(status: StatusCode, reason: Reason, detail: &'static str) -> Self {
        Self {
            native_status: status,
            reason,
            detail,
            challenge: None,
            retry_after: None,
            allow: None,
            location: None,
            closes: false,
        }
    }

    /// What a failure on the way to or from the upstream means to the caller; `None` when there is
    /// no caller any more.
    pub fn of_failure(failure: &pingora::Error) -> Option<Self> {
        use ErrorType::{
            ConnectTimedout, ConnectionClosed, HTTPStatus, ReadError, ReadTimedout,
            TLSHandshakeTimedout, WriteError, WriteTimedout,
        };
        const NO_UPSTREAM: &str = "The service behind this gateway cannot be reached";
        const SLOW_UPSTREAM: &str = "The service behind this gateway did not answer in time";
        const BROKEN_UPSTREAM: &str = "The service behind this gateway broke off its answer";
        const BAD_REQUEST: &str = "The request cannot be understood";
        const SLOW_CLIENT: &str = "The request did not arrive in time";
        if let Some(refusal) = Self::of_choice(failure.etype()) {
            return Some(refusal);
        }
        Some(match (failure.esource(), failure.etype()) {
            (ErrorSource::Downstream, ReadTimedout) => Self::new(
                StatusCode::REQUEST_TIMEOUT,
                Reason::MalformedRequest,
                SLOW_CLIENT,
            ),
            (
                ErrorSource::Downstream,
                ReadError | WriteError | WriteTimedout | ConnectionClosed,
            ) => return None,
            (ErrorSource::Downstream, _) => Self::new(
                StatusCode::BAD_REQUEST,
                Reason::MalformedRequest,
                BAD_REQUEST,
            ),
            (
                ErrorSource::Upstream,
                ConnectTimedout | TLSHandshakeTimedout | ReadTimedout | WriteTimedout,
            ) => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                Reason::UpstreamTimeout,
                SLOW_UPSTREAM,
            ),
            (ErrorSource::Upstream, kind) if is_connect(kind) => Self::new(
                StatusCode::BAD_GATEWAY,
                Reason::UpstreamConnect,
                NO_UPSTREAM,
            ),
            (ErrorSource::Upstream, _) => Self::new(
                StatusCode::BAD_GATEWAY,
                Reason::UpstreamReset,
                BROKEN_UPSTREAM,
            ),
            (_, kind) if *kind == TOO_LARGE => Denial::BodyTooLarge.into(),
            (_, HTTPStatus(400)) => Self::new(
                StatusCode::BAD_REQUEST,
                Reason::MalformedRequest,
                BAD_REQUEST,
            ),
            _ => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                Reason::Internal,
                "The gateway failed",
            ),
        })
    }

    /// There is no address to send the request to.
    fn of_choice(kind: &ErrorType) -> Option<Self> {
        let (reason, detail, seconds) = match kind {
            ErrorType::Custom(attempt::NO_UPSTREAM) => (
                Reason::NoUpstream,
                "The service behind this gateway is down",
                NO_UPSTREAM_RETRY,
            ),
            ErrorType::Custom(attempt::OVERLOADED) => (
                Reason::UpstreamOverloaded,
                "The service behind this gateway has too much to do",
                OVERLOADED_RETRY,
            ),
            _ => return None,
        };
        Some(Self {
            retry_after: Some(seconds),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, reason, detail)
        })
    }
}

fn is_connect(kind: &ErrorType) -> bool {
    use ErrorType::{
        ConnectError, ConnectNoRoute, ConnectRefused, HandshakeError, InvalidCert, SocketError,
        TLSHandshakeFailure,
    };
    matches!(
        kind,
        ConnectError
            | ConnectNoRoute
            | ConnectRefused
            | HandshakeError
            | InvalidCert
            | SocketError
            | TLSHandshakeFailure
    )
}
