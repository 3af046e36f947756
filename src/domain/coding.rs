//! Content codings: what a caller takes (RFC 9110 §12.5.3), and which answers may be coded.

use http::{HeaderMap, HeaderValue, StatusCode, header};

/// A way to compress an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    Brotli,
    Zstd,
}

/// Shorter answers fit into one packet as they are.
const SHORTEST: u64 = 1024;

/// Whole types that are text, or compress like text. Not those that are read while they are
/// written (`text/event-stream`, `application/x-ndjson`, gRPC): compression would hold them back.
const TEXT_TYPES: [&str; 10] = [
    "application/javascript",
    "application/json",
    "application/manifest+json",
    "application/wasm",
    "application/xml",
    "application/x-javascript",
    "application/x-www-form-urlencoded",
    "font/otf",
    "font/ttf",
    "image/svg+xml",
];

/// Weights in thousandths.
const BEST: u16 = 1000;

impl Coding {
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// Its name in `Accept-Encoding` and `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// The one of `offered` that the caller likes best; of equals, the first. `None`: the answer as
    /// it is, which is also what a caller gets who says nothing.
    pub fn choose(offered: &[Self], request: &HeaderMap) -> Option<Self> {
        let mut best = None;
        let mut best_weight = weight_of("identity", request).unwrap_or(0);
        for coding in offered {
            let weight = weight_of(coding.name(), request)
                .or_else(|| weight_of("*", request))
                .unwrap_or(0);
            let beats = match best {
                // As good as the plain answer is good enough: it is shorter.
                None => weight > 0 && weight >= best_weight,
                Some(_) => weight > best_weight,
            };
            if beats {
                (best, best_weight) = (Some(*coding), weight);
            }
        }
        best
    }
}

/// The weight that the caller gives to a coding by its name.
fn weight_of(name: &str, request: &HeaderMap) -> Option<u16> {
    request
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|item| {
            let (coding, parameters) = item.split_once(';').unwrap_or((item, ""));
            let coding = coding.trim();
            let is_meant = coding.eq_ignore_ascii_case(name)
                || (name == "gzip" && coding.eq_ignore_ascii_case("x-gzip"));
            // What cannot be read is not wanted.
            is_meant.then(|| weight(parameters.trim()).unwrap_or(0))
        })
}

/// `q=0.8`, or nothing (RFC 9110 §12.4.2).
fn weight(text: &str) -> Option<u16> {
    if text.is_empty() {
        return Some(BEST);
    }
    let text = text
        .strip_prefix("q=")
        .or_else(|| text.strip_prefix("Q="))?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match (whole, fraction) {
        ("0", fraction) => Some(fraction),
        ("1", 0) => Some(BEST),
        _ => None,
    }
}

/// Whether an answer may be coded at all, whoever it is for.
pub fn may_be_coded(status: StatusCode, answer: &HeaderMap) -> bool {
    let has_body = !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
        );
    let is_whole = status != StatusCode::PARTIAL_CONTENT;
    has_body
        && is_whole
        && is_text(answer.get(header::CONTENT_TYPE))
        && !says_what_its_bytes_are(answer)
        && !is_short(answer)
        && !forbids_transformation(answer)
}

/// Coded already, a part, or with a digest over its bytes (RFC 9530).
fn says_what_its_bytes_are(answer: &HeaderMap) -> bool {
    answer.contains_key(header::CONTENT_ENCODING)
        || answer.contains_key(header::CONTENT_RANGE)
        || answer.contains_key("content-digest")
        || answer.contains_key("digest")
        || answer.contains_key("content-md5")
}

fn is_short(answer: &HeaderMap) -> bool {
    let length = answer.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.is_some_and(|length: u64| length < SHORTEST)
}

fn is_text(content_type: Option<&HeaderValue>) -> bool {
    let Some(text) = content_type.and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let whole = text.split(';').next().unwrap_or_default().trim();
    let whole = whole.to_ascii_lowercase();
    let is_listed = TEXT_TYPES.contains(&whole.as_str());
    let is_text = whole.starts_with("text/") && whole != "text/event-stream";
    is_listed || is_text || whole.ends_with("+json") || whole.ends_with("+xml")
}

fn forbids_transformation(answer: &HeaderMap) -> bool {
    answer
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|directive| directive.trim().eq_ignore_ascii_case("no-transform"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(accept: &[&'static str]) -> Option<Coding> {
        let mut request = HeaderMap::new();
        for value in accept {
            request.append("accept-encoding", HeaderValue::from_static(value));
        }
        Coding::choose(&Coding::ALL, &request)
    }

    #[test]
    fn the_caller_chooses_by_weight_and_the_gateway_among_equals() {
        let cases: [(&[&str], _); 20] = [
            (&[], None),
            (&[""], None),
            (&["gzip"], Some(Coding::Gzip)),
            (&["x-gzip"], Some(Coding::Gzip)),
            (&["GZIP"], Some(Coding::Gzip)),
            (&["gzip, deflate, br, zstd"], Some(Coding::Zstd)),
            (&["gzip, br"], Some(Coding::Brotli)),
            (&["gzip", "br"], Some(Coding::Brotli)),
            (&["gzip;q=1.0, br;q=0.8"], Some(Coding::Gzip)),
            (&["gzip ; q=0.5 , br;Q=0.500"], Some(Coding::Brotli)),
            (&["br;q=0, gzip;q=0.001"], Some(Coding::Gzip)),
            (&["gzip;q=0"], None),
            (&["*"], Some(Coding::Zstd)),
            (&["*;q=0"], None),
            (&["zstd;q=0, *"], Some(Coding::Brotli)),
            (&["identity, gzip;q=0.5"], None),
            (&["identity;q=0.5, gzip;q=0.5"], Some(Coding::Gzip)),
            (&["deflate"], None),
            (&["gzip;q=2, br;q=0.1234, zstd;q=x"], None),
            (&["gzip;level=9"], None),
        ];
        for (accept, expected) in cases {
            assert_eq!(choose(accept), expected, "{accept:?}");
        }
        let only_gzip = [Coding::Gzip];
        let mut request = HeaderMap::new();
        request.insert(
            "accept-encoding",
            HeaderValue::from_static("br, gzip;q=0.1"),
        );
        assert_eq!(Coding::choose(&only_gzip, &request), Some(Coding::Gzip));
    }

    fn may(status: u16, headers: &[(&'static str, &'static str)]) -> bool {
        let mut answer = HeaderMap::new();
        for (name, value) in headers {
            answer.append(*name, HeaderValue::from_static(value));
        }
        may_be_coded(StatusCode::from_u16(status).unwrap(), &answer)
    }

    #[test]
    fn text_of_some_length_may_be_coded() {
        for content_type in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/problem+json",
            "text/html; charset=utf-8",
            "image/svg+xml",
        ] {
            assert!(
                may(200, &[("content-type", content_type)]),
                "{content_type}"
            );
        }
        assert!(may(
            404,
            &[("content-type", "text/html"), ("content-length", "1024")]
        ));
        for content_type in [
            "text/event-stream",
            "text/event-stream; charset=utf-8",
            "application/grpc",
            "application/grpc+proto",
            "application/x-ndjson",
            "application/octet-stream",
            "application/zip",
            "image/png",
            "video/mp4",
            "",
        ] {
            assert!(
                !may(200, &[("content-type", content_type)]),
                "{content_type}"
            );
        }
        assert!(!may(200, &[]));
    }

    #[test]
    fn some_answers_stay_as_they_are() {
        for (name, value) in [
            ("content-encoding", "gzip"),
            ("content-encoding", "identity"),
            ("content-range", "bytes 0-1/2"),
            ("content-digest", "sha-256=:x:"),
            ("content-length", "1023"),
            ("cache-control", "public, No-Transform"),
        ] {
            let headers = [("content-type", "text/html"), (name, value)];
            assert!(!may(200, &headers), "{name}");
        }
        for status in [101, 103, 204, 205, 206, 304] {
            assert!(!may(status, &[("content-type", "text/html")]), "{status}");
        }
    }
}
