//! A refusal in words: `application/problem+json` (RFC 9457) with the challenge of RFC 6750, the bodies and
//! codes of WSO2 API Microgateway, or a gRPC status.

use std::{borrow::Cow, fmt::Write};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;

use super::refusal::Refusal;
use crate::domain::{
    ChallengeStyle, ErrorFormat, Fault, FaultStyle, Grpc, WSO2_CHALLENGE, grpc_status,
};

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Refusal {
    /// The status that the caller gets.
    pub fn status(&self, format: ErrorFormat) -> StatusCode {
        match format {
            ErrorFormat::Problem => self.native_status,
            ErrorFormat::Wso2(style) => self.fault(style).status(self.native_status),
        }
    }

    /// Header and body. `call`: the protocol of gRPC that the caller speaks, if any; `request_id`: of its
    /// trace.
    ///
    /// # Errors
    /// Never in practice: every part is a word of ours.
    pub fn answer(
        &self,
        format: ErrorFormat,
        call: Option<Grpc>,
        request_id: &str,
    ) -> pingora::Result<(ResponseHeader, Bytes)> {
        match call {
            Some(call) => Ok((self.grpc_header(format, call)?, Bytes::new())),
            None => {
                let body = self.body(format, request_id);
                Ok((self.header(format, body.len())?, Bytes::from(body)))
            }
        }
    }

    fn fault(&self, style: FaultStyle) -> Fault {
        Fault::of(self.reason, style.outage)
    }

    fn body(&self, format: ErrorFormat, request_id: &str) -> String {
        match format {
            ErrorFormat::Problem => self.problem(request_id),
            ErrorFormat::Wso2(style) => self.fault(style).body(self.status(format), self.detail),
        }
    }

    /// Nothing of the request but the id of its trace.
    fn problem(&self, request_id: &str) -> String {
        let mut body = String::with_capacity(256);
        let title = self.native_status.canonical_reason().unwrap_or_default();
        // Every part is a word of ours without characters that JSON would escape.
        let written = write!(
            body,
            "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{},\"detail\":\"{}\",\
             \"reason\":\"{}\",\"request_id\":\"{request_id}\"}}",
            self.native_status.as_u16(),
            self.detail,
            self.reason.word(),
        );
        debug_assert!(written.is_ok());
        body
    }

    fn challenge(&self, format: ErrorFormat) -> Option<Cow<'_, str>> {
        let own = self.challenge.as_deref().map(Cow::Borrowed);
        let is_401 = self.status(format) == StatusCode::UNAUTHORIZED;
        match format {
            ErrorFormat::Problem => own,
            ErrorFormat::Wso2(style) => match style.challenge {
                ChallengeStyle::Wso2 => is_401.then_some(Cow::Borrowed(WSO2_CHALLENGE)),
                // Where the original says 401 and we do not, there still has to be one (RFC 9110 §15.5.2).
                ChallengeStyle::Rfc6750 => own.or(is_401.then_some(Cow::Borrowed("Bearer"))),
            },
        }
    }

    /// When to try again, where the status has a place for it.
    fn retry_after(&self, format: ErrorFormat) -> Option<u32> {
        let has_place = matches!(
            self.status(format),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        self.retry_after.filter(|_| has_place)
    }

    fn header(&self, format: ErrorFormat, length: usize) -> pingora::Result<ResponseHeader> {
        let mut answer = ResponseHeader::build(self.status(format), Some(6))?;
        let content_type = match format {
            ErrorFormat::Problem => PROBLEM,
            ErrorFormat::Wso2(_) => JSON,
        };
        answer.insert_header(header::CONTENT_TYPE, content_type)?;
        answer.insert_header(header::CONTENT_LENGTH, HeaderValue::from(length))?;
        // A refusal is true for this token at this moment and for nothing else.
        answer.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
        if let Some(challenge) = self.challenge(format) {
            answer.insert_header(header::WWW_AUTHENTICATE, &*challenge)?;
        }
        if let Some(seconds) = self.retry_after(format) {
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
    fn grpc_header(&self, format: ErrorFormat, call: Grpc) -> pingora::Result<ResponseHeader> {
        let mut answer = ResponseHeader::build(StatusCode::OK, Some(6))?;
        answer.insert_header(header::CONTENT_TYPE, call.content_type())?;
        answer.insert_header(header::CONTENT_LENGTH, HeaderValue::from_static("0"))?;
        let status = self.status(format);
        // Words of ours without characters that would have to be escaped.
        let (status, message) = match format {
            ErrorFormat::Problem => {
                let message = format!("{} ({})", self.detail, self.reason.word());
                (grpc_status(status), Cow::Owned(message))
            }
            ErrorFormat::Wso2(style) => {
                let message = self.fault(style).grpc_message(self.detail);
                (Fault::grpc_status(status), Cow::Borrowed(message))
            }
        };
        answer.insert_header("grpc-status", HeaderValue::from(u16::from(status)))?;
        answer.insert_header("grpc-message", &*message)?;
        if let Some(challenge) = self.challenge(format) {
            answer.insert_header(header::WWW_AUTHENTICATE, &*challenge)?;
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{auth::Unavailable, domain::Denial};

    const NATIVE: ErrorFormat = ErrorFormat::Problem;

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
            let body: serde_json::Value =
                serde_json::from_str(&refusal.body(NATIVE, "abc")).unwrap();
            assert_eq!(body["status"], refusal.status(NATIVE).as_u16());
            assert_eq!(body["reason"], refusal.reason.word());
            assert_eq!(body["request_id"], "abc");
            refusal.header(NATIVE, 3).unwrap();
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
            let header = Refusal::from(unavailable).header(NATIVE, 0).unwrap();
            assert_eq!(header.status, StatusCode::SERVICE_UNAVAILABLE);
            assert!(header.headers.contains_key(header::RETRY_AFTER));
            assert!(!header.headers.contains_key(header::WWW_AUTHENTICATE));
        }
        assert_eq!(
            Refusal::from(Unavailable::BadAnswer).status(NATIVE),
            StatusCode::BAD_GATEWAY
        );
    }
}
