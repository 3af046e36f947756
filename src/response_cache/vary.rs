//! `Vary` (RFC 9111 §4.1): which of a request's fields shaped an answer.

use http::{HeaderMap, HeaderName, header};
use pingora::cache::{VarianceBuilder, key::HashBinary};

/// What the gateway tells an upstream of each request anew. An answer that depends on them is for
/// that request alone.
const OF_ONE_REQUEST: [&str; 7] = [
    "forwarded",
    "traceparent",
    "tracestate",
    "via",
    "x-forwarded-for",
    "x-real-ip",
    "x-request-id",
];

/// What the key of every answer holds already.
const IN_KEY: [&str; 3] = ["host", "x-forwarded-host", "x-forwarded-proto"];

/// Whether requests exist that the answer can be given to again.
pub fn can_match(answer: &HeaderMap) -> bool {
    names(answer).all(|name| {
        name != "*" && name.parse::<HeaderName>().is_ok() && !OF_ONE_REQUEST.contains(&&*name)
    })
}

/// What tells requests apart for this answer; `None`: nothing does. Fields of `identity` stand in
/// the key.
pub fn variance(
    answer: &HeaderMap,
    request: &HeaderMap,
    identity: &[(HeaderName, Box<str>)],
) -> Option<HashBinary> {
    if !answer.contains_key(header::VARY) {
        return None;
    }
    let mut variance = VarianceBuilder::new();
    for name in names(answer) {
        let keyed = IN_KEY.contains(&&*name) || identity.iter().any(|(known, _)| *known == *name);
        if !keyed {
            let value = normal(request, &name);
            variance.add_owned_name_value(name, value);
        }
    }
    variance.finalize()
}

/// Names in lower case, with `*` among them.
fn names(answer: &HeaderMap) -> impl Iterator<Item = String> {
    answer
        .get_all(header::VARY)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase())
        .filter(|name| !name.is_empty())
}

/// All lines of a field as one, without the white space around commas. A field that is there and
/// empty differs from one that is not there.
fn normal(request: &HeaderMap, name: &str) -> Vec<u8> {
    let mut value = Vec::new();
    for line in request.get_all(name) {
        for part in line.as_bytes().split(|byte| *byte == b',') {
            value.push(b',');
            value.extend_from_slice(part.trim_ascii());
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn some_answers_match_nobody() {
        for (line, expected) in [
            ("Accept", true),
            ("Accept, Accept-Language", true),
            ("", true),
            ("*", false),
            ("*, *", false),
            (", *", false),
            ("Accept, *", false),
            ("X-Forwarded-For", false),
            ("TraceParent", false),
            ("a b", false),
        ] {
            assert_eq!(can_match(&headers(&[("vary", line)])), expected, "{line}");
        }
        let two = headers(&[("vary", "accept"), ("vary", "*")]);
        assert!(!can_match(&two));
        assert!(can_match(&HeaderMap::new()));
    }

    #[test]
    fn requests_differ_in_what_is_named() {
        let answer = headers(&[("vary", "Accept, X-Auth-Subject, Host")]);
        let identity = [(HeaderName::from_static("x-auth-subject"), "sub".into())];
        let of = |lines: &[_]| variance(&answer, &headers(lines), &identity);
        let same = of(&[("accept", "a, b")]);
        assert_eq!(same, of(&[("accept", "a"), ("accept", "b")]));
        assert_eq!(
            same,
            of(&[("accept", "a,b"), ("host", "x"), ("other", "y")])
        );
        assert_eq!(same, of(&[("accept", "a,b"), ("x-auth-subject", "liar")]));
        assert_ne!(same, of(&[("accept", "b,a")]));
        assert_ne!(same, of(&[]));
        assert_ne!(of(&[("accept", "")]), of(&[]));
        assert_eq!(variance(&HeaderMap::new(), &headers(&[]), &identity), None);
    }
}
