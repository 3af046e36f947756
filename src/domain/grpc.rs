//! What gRPC callers understand: their status codes and their deadlines (the protocol over HTTP/2
//! of grpc.io, and its mapping of HTTP statuses).

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};

/// Which of the protocols a call speaks. They differ in the type of their answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grpc {
    Plain,
    /// For browsers.
    Web,
    /// The same in base64.
    WebText,
}

impl Grpc {
    /// A `grpc-status`.
    pub const UNKNOWN: u8 = 2;

    /// `None` for requests that are no gRPC call.
    pub fn of(request: &HeaderMap) -> Option<Self> {
        let name = request.get(header::CONTENT_TYPE)?.as_bytes();
        let rest = name.strip_prefix(b"application/grpc")?;
        let is_whole = |rest: &[u8]| matches!(rest.first(), None | Some(b'+' | b';' | b' '));
        if is_whole(rest) {
            return Some(Self::Plain);
        }
        let rest = rest.strip_prefix(b"-web")?;
        if is_whole(rest) {
            return Some(Self::Web);
        }
        is_whole(rest.strip_prefix(b"-text")?).then_some(Self::WebText)
    }

    pub fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Plain => "application/grpc",
            Self::Web => "application/grpc-web+proto",
            Self::WebText => "application/grpc-web-text+proto",
        })
    }
}

/// The `grpc-status` for an answer that would have this status over plain HTTP.
pub fn grpc_status(status: StatusCode) -> u8 {
    const DEADLINE_EXCEEDED: u8 = 4;
    const PERMISSION_DENIED: u8 = 7;
    const RESOURCE_EXHAUSTED: u8 = 8;
    const UNIMPLEMENTED: u8 = 12;
    const INTERNAL: u8 = 13;
    const UNAVAILABLE: u8 = 14;
    const UNAUTHENTICATED: u8 = 16;
    match status.as_u16() {
        400 | 500 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 | 405 => UNIMPLEMENTED,
        408 | 504 => DEADLINE_EXCEEDED,
        413 | 414 | 429 | 431 => RESOURCE_EXHAUSTED,
        502 | 503 => UNAVAILABLE,
        _ => Grpc::UNKNOWN,
    }
}

/// `grpc-timeout`: at most eight digits and a unit. `None` without one that can be read.
pub fn grpc_timeout(request: &HeaderMap) -> Option<Duration> {
    let text = request.get("grpc-timeout")?.as_bytes();
    let (unit, digits) = text.split_last()?;
    if digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        )])
    }

    #[test]
    fn calls_are_told_by_their_type() {
        for (content_type, expected) in [
            ("application/grpc", Some(Grpc::Plain)),
            ("application/grpc+proto", Some(Grpc::Plain)),
            ("application/grpc;charset=x", Some(Grpc::Plain)),
            ("application/grpc-web", Some(Grpc::Web)),
            ("application/grpc-web+proto", Some(Grpc::Web)),
            ("application/grpc-web-text", Some(Grpc::WebText)),
            ("application/grpc-web-text+proto", Some(Grpc::WebText)),
            ("application/grpcx", None),
            ("application/grpc-webx", None),
            ("application/json", None),
            ("", None),
        ] {
            let request = request("content-type", content_type);
            assert_eq!(Grpc::of(&request), expected, "{content_type}");
        }
        assert_eq!(Grpc::of(&HeaderMap::new()), None);
    }

    #[test]
    fn deadlines_have_a_number_and_a_unit() {
        for (text, expected) in [
            ("1S", Some(Duration::from_secs(1))),
            ("100m", Some(Duration::from_millis(100))),
            ("7u", Some(Duration::from_micros(7))),
            ("7n", Some(Duration::from_nanos(7))),
            ("2M", Some(Duration::from_secs(120))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("999999999S", None),
            ("S", None),
            ("1", None),
            ("", None),
            ("-1S", None),
            ("1.5S", None),
            ("1s", None),
        ] {
            assert_eq!(
                grpc_timeout(&request("grpc-timeout", text)),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn statuses_follow_the_mapping() {
        let of = |status| grpc_status(StatusCode::from_u16(status).unwrap());
        let cases = [
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 12),
            (405, 12),
            (408, 4),
            (413, 8),
            (421, 2),
            (429, 8),
            (500, 13),
            (502, 14),
            (503, 14),
            (504, 4),
        ];
        for (status, expected) in cases {
            assert_eq!(of(status), expected, "{status}");
        }
    }
}
