//! What the gateway answers itself: refusals and failures, as `application/problem+json` (RFC 9457)
//! with the challenge of RFC 6750, or as gRPC statuses.

use std::fmt::Write;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use pingora::{
    ErrorSource, ErrorType, http::ResponseHeader, protocols::http::ServerSession, proxy::Session,
};

use super::{answer, attempt, context::Context, limits::TOO_LARGE};
use crate::{
    auth::Unavailable,
    domain::{Denial, Grpc, Reason, grpc_status},
};

/// Bodies up to here are read to their end, so that the connection can be kept; longer ones close
/// it. Either way the next request cannot be mistaken for the rest of this one.
const DRAINED_BODY: u64 = 64 * 1024;

/// Seconds until an upstream may be there again: about one round of checks.
const NO_UPSTREAM_RETRY: u32 = 5;
/// Seconds until it may have less to do.
const OVERLOADED_RETRY: u32 = 1;

/// An answer that is not the upstream's.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub reason: Reason,
    detail: &'static str,
    challenge: Option<String>,
    retry_after: Option<u32>,
    allow: Option<String>,
    location: Option<Box<str>>,
    /// Nothing that follows on the connection can be trusted.
    closes: bool,
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self {
            status: denial.status(),
            reason: denial.reason(),
            detail: denial.detail(),
            challenge: denial.www_authenticate(),
            retry_after: match &denial {
                Denial::RateLimited { retry_after } => Some(*retry_after),
                Denial::Overloaded => Some(1),
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

impl Refusal {
    fn new(status: StatusCode, reason: Reason, detail: &'static str) -> Self {
        Self {
            status,
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

    /// The body: nothing of the request but the id of its trace.
    fn body(&self, request_id: &str) -> String {
        let mut body = String::with_capacity(256);
        let title = self.status.canonical_reason().unwrap_or_default();
        // Every part is a word of ours without characters that JSON would escape.
        let written = write!(
            body,
            "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{},\"detail\":\"{}\",\
             \"reason\":\"{}\",\"request_id\":\"{request_id}\"}}",
            self.status.as_u16(),
            self.detail,
            self.reason.word(),
        );
        debug_assert!(written.is_ok());
        body
    }

    fn header(&self, length: usize) -> pingora::Result<ResponseHeader> {
        let mut answer = ResponseHeader::build(self.status, Some(6))?;
        answer.insert_header(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        )?;
        answer.insert_header(header::CONTENT_LENGTH, HeaderValue::from(length))?;
        // A refusal is true for this token at this moment and for nothing else.
        answer.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
        if let Some(challenge) = &self.challenge {
            answer.insert_header(header::WWW_AUTHENTICATE, challenge.as_str())?;
        }
        if let Some(seconds) = self.retry_after {
            answer.insert_header(header::RETRY_AFTER, HeaderValue::from(seconds))?;
        }
        if let Some(allow) = &self.allow {
            answer.insert_header(header::ALLOW, allow.as_str())?;
        }
        if let Some(location) = &self.location {
            answer.insert_header(header::LOCATION, &**location)?;
        }
        Ok(answer)
    }

    /// The refusal as gRPC callers understand it: a status in the header, and nothing after it.
    fn grpc_header(&self, call: Grpc) -> pingora::Result<ResponseHeader> {
        let mut answer = ResponseHeader::build(StatusCode::OK, Some(6))?;
        answer.insert_header(header::CONTENT_TYPE, call.content_type())?;
        answer.insert_header(header::CONTENT_LENGTH, HeaderValue::from_static("0"))?;
        let status = HeaderValue::from(u16::from(grpc_status(self.status)));
        answer.insert_header("grpc-status", status)?;
        // Words of ours without characters that would have to be escaped.
        let message = format!("{} ({})", self.detail, self.reason.word());
        answer.insert_header("grpc-message", message)?;
        if let Some(challenge) = &self.challenge {
            answer.insert_header(header::WWW_AUTHENTICATE, challenge.as_str())?;
        }
        Ok(answer)
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

/// Writes a refusal to the caller.
///
/// # Errors
/// The caller went away.
pub async fn refuse(
    session: &mut Session,
    refusal: &Refusal,
    context: &Context,
) -> pingora::Result<()> {
    let (mut header, body) = match Grpc::of(&session.req_header().headers) {
        Some(call) => (refusal.grpc_header(call)?, Bytes::new()),
        None => {
            let body = refusal.body(context.trace.trace_id());
            (refusal.header(body.len())?, Bytes::from(body))
        }
    };
    answer::dress_own(&mut header, session, context);
    if refusal.closes {
        session.set_keepalive(None);
    }
    write(session, header, body).await
}

/// Writes an answer of the gateway's own to the caller; the body is left out where the method wants
/// it so.
///
/// # Errors
/// The caller went away.
pub async fn write(
    session: &mut Session,
    header: ResponseHeader,
    body: Bytes,
) -> pingora::Result<()> {
    if may_keep_connection(session) {
        // What is left of the body is read away after the answer.
        session.set_close_on_response_before_downstream_finish(false);
    } else {
        session.set_keepalive(None);
    }
    let ends = body.is_empty() || session.req_header().method == Method::HEAD;
    // In one frame: gRPC takes a status from the header only if nothing can follow.
    if let (true, ServerSession::H2(stream)) = (ends, session.as_downstream_mut()) {
        return stream.write_response_header(Box::new(header), true);
    }
    session
        .write_response_header(Box::new(header), ends)
        .await?;
    if !ends {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// Whether what is left of the request can be read away. A caller that waits for `100 Continue`
/// will never send it.
fn may_keep_connection(session: &mut Session) -> bool {
    if session.req_header().method == Method::CONNECT {
        // What comes next may be meant for the tunnel that there is not.
        return false;
    }
    if session.is_body_done() {
        return true;
    }
    let headers = &session.req_header().headers;
    if headers.contains_key(header::EXPECT) {
        return false;
    }
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.is_some_and(|length: u64| length <= DRAINED_BODY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_whatever_is_refused() {
        let denials = [
            Denial::NoToken,
            Denial::Inactive { cached: true },
            Denial::InsufficientScope {
                required: "a".into(),
            },
            Denial::MalformedRequest,
            Denial::RouteNotFound,
        ];
        let refusals = denials.into_iter().map(Refusal::from).chain([
            Refusal::from(Unavailable::Timeout),
            Refusal::from(Unavailable::BadAnswer),
            Refusal::from(Unavailable::ClientRefused),
        ]);
        for refusal in refusals {
            let body: serde_json::Value = serde_json::from_str(&refusal.body("abc")).unwrap();
            assert_eq!(body["status"], refusal.status.as_u16());
            assert_eq!(body["reason"], refusal.reason.word());
            assert_eq!(body["request_id"], "abc");
            refusal.header(3).unwrap();
        }
    }

    #[test]
    fn a_key_manager_that_fails_is_never_the_callers_fault() {
        for unavailable in [
            Unavailable::Unreachable,
            Unavailable::Timeout,
            Unavailable::ServerError,
            Unavailable::RateLimited(Some(7)),
            Unavailable::ClientRefused,
            Unavailable::Overloaded,
        ] {
            let header = Refusal::from(unavailable).header(0).unwrap();
            assert_eq!(header.status, StatusCode::SERVICE_UNAVAILABLE);
            assert!(header.headers.contains_key(header::RETRY_AFTER));
            assert!(!header.headers.contains_key(header::WWW_AUTHENTICATE));
        }
        assert_eq!(
            Refusal::from(Unavailable::BadAnswer).status,
            StatusCode::BAD_GATEWAY
        );
    }
}
