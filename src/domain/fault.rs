//! What WSO2 API Microgateway 3.2 answers where this gateway refuses: codes, statuses and words, as its
//! clients know them (api_security_constants.bal, api_throttle_out_constants.bal, faultResponses.mustache).

use std::fmt::Write;

use http::StatusCode;

use super::{Grpc, Reason, grpc_status};

/// `[errors]`: in which form callers are told that they are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorFormat {
    /// Problem details (RFC 9457) and the challenges of RFC 6750.
    #[default]
    Problem,
    /// As WSO2 API Microgateway.
    Wso2(FaultStyle),
}

/// Where the form of WSO2 leaves a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultStyle {
    pub challenge: ChallengeStyle,
    pub outage: OutageStyle,
}

/// `WWW-Authenticate` of a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChallengeStyle {
    /// One text for every 401, and none beside others.
    #[default]
    Wso2,
    Rfc6750,
}

/// What a caller is told when the key manager cannot be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutageStyle {
    /// That: the token may be good.
    #[default]
    Unavailable,
    /// That the token is none, as the original does.
    InvalidToken,
}

/// The original's answer for a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `None`: the status that the refusal has anyway.
    status: Option<StatusCode>,
    body: Body,
}

/// The three forms that its bodies have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Fault {
        code: u32,
        message: &'static str,
        description: &'static str,
    },
    /// With the code of bad credentials, in other members and as a text.
    Bare(&'static str),
    /// The code is the status. `None`: the gateway's own words.
    Report(Option<&'static str>),
}

/// The text of `WWW-Authenticate` beside every 401, whatever the matter is.
pub const WSO2_CHALLENGE: &str = "OAuth2 realm=\"WSO2 API Microgateway\", error=\"invalid token\" , \
                                  error_description=\"The access token expired\"";

const RUNTIME_ERROR: &str = "Runtime Error";
const THROTTLED: &str = "Message throttled out";
const OVER_QUOTA: &str = "You have exceeded your quota";

impl Fault {
    /// For every reason, so that a new one has to be thought of here.
    #[allow(clippy::too_many_lines)] // a list
    pub const fn of(reason: Reason, outage: OutageStyle) -> Self {
        match reason {
            Reason::NoToken => Self::MISSING_CREDENTIALS,
            Reason::AudienceMismatch
            | Reason::Expired
            | Reason::Inactive
            | Reason::InactiveCached
            | Reason::IssuerMismatch
            | Reason::JwtAlgorithm
            | Reason::JwtBadSignature
            | Reason::JwtMalformed
            | Reason::JwtUnknownKey
            | Reason::MalformedToken
            | Reason::MultipleTokens
            | Reason::NotYetValid
            | Reason::Revoked
            | Reason::SubscriptionsOff
            | Reason::TokenTooLong
            | Reason::UnknownIssuer
            | Reason::WrongTokenType => Self::INVALID_CREDENTIALS,
            Reason::InsufficientScope => Self::INSUFFICIENT_SCOPE,
            Reason::NoClientId => Self::UNCLASSIFIED,
            Reason::SubscriptionBlocked => Self::BLOCKED,
            Reason::SubscriptionMissing | Reason::SubscriptionRejected => Self::FORBIDDEN,
            Reason::SubscriptionOnHold => Self::ON_HOLD,
            Reason::ApiTierExceeded => Self::throttled(900_800),
            Reason::ResourceTierExceeded => Self::throttled(900_802),
            Reason::ApplicationTierExceeded => Self::throttled(900_803),
            Reason::SubscriptionTierExceeded => Self::throttled(900_804),
            Reason::RateLimited => Self::throttled(900_806),
            Reason::UnknownTier => Self::UNKNOWN_TIER,
            Reason::NoProductionEndpoint => Self::NO_PRODUCTION,
            Reason::NoSandboxEndpoint => Self::NO_SANDBOX,
            Reason::IntrospectionTimeout
            | Reason::IntrospectionUnreachable
            | Reason::IntrospectionRateLimited
            | Reason::IntrospectionBadAnswer
            | Reason::IntrospectionClientRefused
            | Reason::IntrospectionNotReady
            | Reason::IntrospectionOverloaded
            | Reason::JwtKeysUnavailable
            | Reason::SubscriptionsNotReady => Self::outage(outage),
            Reason::NoUpstream
            | Reason::UpstreamConnect
            | Reason::UpstreamOverloaded
            | Reason::UpstreamReset => Self::back_end(101_503, "Error connecting to the back end"),
            Reason::UpstreamTimeout => Self::back_end(101_504, "Connection timed out"),
            Reason::Internal => Self::INTERNAL,
            Reason::RouteNotFound => {
                Self::report("No matching resource found for given API Request")
            }
            Reason::MethodNotAllowed => Self::report("Method not allowed for given API resource"),
            // It has no words for these, or does not refuse them.
            Reason::Active
            | Reason::BodyTooLarge
            | Reason::ClientClosed
            | Reason::HeaderTooLarge
            | Reason::MalformedRequest
            | Reason::Misdirected
            | Reason::OriginNotAllowed
            | Reason::Overloaded
            | Reason::Preflight
            | Reason::Public
            | Reason::TlsNeeded
            | Reason::UnknownExpectation
            | Reason::UriTooLong => Self::OTHER,
        }
    }

    const MISSING_CREDENTIALS: Self = Self::words(
        StatusCode::UNAUTHORIZED,
        900_902,
        "Missing Credentials",
        "Missing Credentials. Make sure your API request provides required credentials",
    );

    const INVALID_CREDENTIALS: Self = Self::words(
        StatusCode::UNAUTHORIZED,
        900_901,
        "Invalid Credentials",
        "Invalid Credentials. Make sure you have given the correct access token",
    );

    const UNCLASSIFIED: Self = Self::words(
        StatusCode::INTERNAL_SERVER_ERROR,
        900_900,
        "Unclassified Authentication Failure",
        "Unclassified Authentication Failure. Unclassified Authentication Failure",
    );

    const INSUFFICIENT_SCOPE: Self = Self::words(
        StatusCode::FORBIDDEN,
        900_910,
        "The access token does not allow you to access the requested resource",
        "The access token does not allow you to access the requested resource",
    );

    const BLOCKED: Self = Self::words(
        StatusCode::UNAUTHORIZED,
        900_907,
        "The requested API is temporarily blocked",
        "The requested API is temporarily blocked. Unclassified Authentication Failure",
    );

    const FORBIDDEN: Self = Self::words(
        StatusCode::FORBIDDEN,
        900_908,
        "Resource forbidden ",
        "Resource forbidden . Unclassified Authentication Failure",
    );

    const ON_HOLD: Self = Self::words(
        StatusCode::UNAUTHORIZED,
        900_909,
        "The subscription to the API is inactive",
        "The subscription to the API is inactive. Unclassified Authentication Failure",
    );

    const UNKNOWN_TIER: Self = Self::words(
        StatusCode::INTERNAL_SERVER_ERROR,
        900_809,
        "Internal server error occured",
        "POLICY ENFORCEMENT ERROR",
    );

    const INTERNAL: Self = Self::words(
        StatusCode::INTERNAL_SERVER_ERROR,
        900_808,
        "Internal server error occured",
        "Internal server error occured",
    );

    const NO_PRODUCTION: Self = Self {
        status: Some(StatusCode::FORBIDDEN),
        body: Body::Bare("Production key offered to the API with no production endpoint"),
    };

    const NO_SANDBOX: Self = Self {
        status: Some(StatusCode::FORBIDDEN),
        body: Body::Bare("Sandbox key offered to the API with no sandbox endpoint"),
    };

    const OTHER: Self = Self {
        status: None,
        body: Body::Report(None),
    };

    const fn outage(style: OutageStyle) -> Self {
        match style {
            OutageStyle::InvalidToken => Self::INVALID_CREDENTIALS,
            OutageStyle::Unavailable => Self {
                status: None,
                ..Self::UNCLASSIFIED
            },
        }
    }

    const fn words(
        status: StatusCode,
        code: u32,
        message: &'static str,
        description: &'static str,
    ) -> Self {
        Self {
            status: Some(status),
            body: Body::Fault {
                code,
                message,
                description,
            },
        }
    }

    const fn throttled(code: u32) -> Self {
        Self::words(StatusCode::TOO_MANY_REQUESTS, code, THROTTLED, OVER_QUOTA)
    }

    const fn back_end(code: u32, description: &'static str) -> Self {
        Self::words(
            StatusCode::INTERNAL_SERVER_ERROR,
            code,
            RUNTIME_ERROR,
            description,
        )
    }

    const fn report(description: &'static str) -> Self {
        Self {
            status: None,
            body: Body::Report(Some(description)),
        }
    }

    /// `native`: what the status is where the original has no word in it.
    pub fn status(&self, native: StatusCode) -> StatusCode {
        self.status.unwrap_or(native)
    }

    /// The body, in the spacing of the original. `status`, `detail`: of the refusal, where the original
    /// has no words.
    pub fn body(&self, status: StatusCode, detail: &str) -> String {
        let mut body = String::with_capacity(256);
        // Every part is a word of the gateway's without characters that JSON would escape.
        let written = match self.body {
            Body::Fault {
                code,
                message,
                description,
            } => write!(
                body,
                "{{\"fault\":{{\"code\":{code}, \"message\":\"{message}\", \
                 \"description\":\"{description}\"}}}}",
            ),
            Body::Bare(message) => write!(
                body,
                "{{\"ERROR_CODE\":\"900901\", \"ERROR_MESSAGE\":\"{message}\"}}",
            ),
            Body::Report(description) => write!(
                body,
                "{{\"code\":{}, \"type\":\"Status report\", \"message\":\"{RUNTIME_ERROR}\", \
                 \"description\":\"{}\"}}",
                status.as_u16(),
                description.unwrap_or(detail),
            ),
        };
        debug_assert!(written.is_ok());
        body
    }

    /// `grpc-message`: the original's message, or its description where the message says nothing.
    pub fn grpc_message(&self, detail: &'static str) -> &'static str {
        match self.body {
            Body::Fault {
                message,
                description,
                ..
            } if message == RUNTIME_ERROR => description,
            Body::Fault { message, .. } | Body::Bare(message) => message,
            Body::Report(description) => description.unwrap_or(detail),
        }
    }

    /// `grpc-status`: for 500 the original says UNKNOWN.
    pub fn grpc_status(status: StatusCode) -> u8 {
        match status {
            StatusCode::INTERNAL_SERVER_ERROR => Grpc::UNKNOWN,
            status => grpc_status(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [OutageStyle; 2] = [OutageStyle::Unavailable, OutageStyle::InvalidToken];

    #[test]
    fn every_reason_has_a_body_that_is_json_and_a_message_that_is_plain() {
        for reason in Reason::ALL {
            for outage in BOTH {
                let fault = Fault::of(*reason, outage);
                let status = fault.status(StatusCode::BAD_REQUEST);
                let body = fault.body(status, "Our own words");
                let body: serde_json::Value = serde_json::from_str(&body).unwrap();
                let codes = [&body["fault"]["code"], &body["code"], &body["ERROR_CODE"]];
                let codes = codes.iter().filter(|code| !code.is_null()).count();
                assert_eq!(codes, 1, "{}", reason.word());
                let message = fault.grpc_message("Our own words");
                assert!(message.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            }
        }
    }

    #[test]
    fn bodies_are_spaced_like_the_originals() {
        let body = |reason| Fault::of(reason, OutageStyle::Unavailable);
        assert_eq!(
            body(Reason::Inactive).body(StatusCode::UNAUTHORIZED, ""),
            "{\"fault\":{\"code\":900901, \"message\":\"Invalid Credentials\", \"description\":\"Invalid \
             Credentials. Make sure you have given the correct access token\"}}"
        );
        assert_eq!(
            body(Reason::RouteNotFound).body(StatusCode::NOT_FOUND, "x"),
            "{\"code\":404, \"type\":\"Status report\", \"message\":\"Runtime Error\", \
             \"description\":\"No matching resource found for given API Request\"}"
        );
        assert_eq!(
            body(Reason::UriTooLong).body(StatusCode::URI_TOO_LONG, "Too long"),
            "{\"code\":414, \"type\":\"Status report\", \"message\":\"Runtime Error\", \
             \"description\":\"Too long\"}"
        );
    }

    #[test]
    fn an_outage_is_the_callers_fault_only_where_that_was_asked_for() {
        let of = |outage| {
            let fault = Fault::of(Reason::IntrospectionTimeout, outage);
            fault.status(StatusCode::SERVICE_UNAVAILABLE).as_u16()
        };
        assert_eq!(BOTH.map(of), [503, 401]);
    }
}
