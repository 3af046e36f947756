//! What a route adds to answers on their way to the caller: what browsers may do, header rules,
//! compression. After the response cache, which keeps what the upstream said.

use http::{HeaderName, HeaderValue, StatusCode, Version, header};
use pingora::{http::ResponseHeader, proxy::Session};

use super::{compression, context::Context, cors, limits};
use crate::domain::HeaderChanges;

/// One year, for this host alone: names below it are somebody else's to decide about.
const TRANSPORT_SECURITY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// For answers that say nothing of their own about it.
const SECURITY: [(HeaderName, HeaderValue); 4] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("frame-ancestors 'none'"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
];

/// An answer of the gateway's own. Header rules are for the upstream's: `Cache-Control: public` on a
/// refusal would give it to everybody.
pub fn dress_own(answer: &mut ResponseHeader, session: &Session, context: &Context) {
    limits::tell(answer, context);
    let Some(route) = context.known_route() else {
        return;
    };
    if let Some(cors) = &route.cors {
        cors::allow(cors, session.req_header(), answer);
    }
    if route.headers.as_ref().is_some_and(|rules| rules.security) {
        secure(answer, context);
    }
}

/// An answer of the upstream or of the cache.
pub fn dress(answer: &mut ResponseHeader, session: &mut Session, context: &Context) {
    if answer.status == StatusCode::SWITCHING_PROTOCOLS {
        // Either side may be silent now. How long both may be is the upstream's read timeout.
        session.set_read_timeout(None);
    } else if session.req_header().version == Version::HTTP_10
        && !answer.headers.contains_key(header::CONTENT_LENGTH)
    {
        compression::without_chunks(session);
    }
    let Some(route) = context.known_route() else {
        return;
    };
    if answer.status.is_informational() && answer.status != StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    limits::tell(answer, context);
    if let Some(rules) = &route.headers {
        change(answer, &rules.response);
        if rules.security {
            secure(answer, context);
        }
    }
    if let Some(cors) = &route.cors {
        cors::allow(cors, session.req_header(), answer);
    }
    if !route.compression.is_empty() {
        compression::choose(answer, session, &route.compression);
    }
}

fn change(answer: &mut ResponseHeader, changes: &HeaderChanges) {
    for name in &changes.remove {
        answer.remove_header(name);
    }
    for (name, value) in &changes.set {
        let _ = answer.insert_header(name.clone(), value.clone());
    }
    for (name, value) in &changes.add {
        let _ = answer.append_header(name.clone(), value.clone());
    }
}

fn secure(answer: &mut ResponseHeader, context: &Context) {
    for (name, value) in SECURITY {
        if !answer.headers.contains_key(&name) {
            let _ = answer.insert_header(name, value);
        }
    }
    // In clear the header means nothing (RFC 6797 §7.2).
    if context.caller.is_https
        && !answer
            .headers
            .contains_key(header::STRICT_TRANSPORT_SECURITY)
    {
        let _ = answer.insert_header(header::STRICT_TRANSPORT_SECURITY, TRANSPORT_SECURITY);
    }
}

/// Adds a name to `Vary`, once.
pub fn add_vary(answer: &mut ResponseHeader, name: &'static str) {
    let there = answer
        .headers
        .get_all(header::VARY)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|other| other == b"*" || other.eq_ignore_ascii_case(name.as_bytes()));
    if !there {
        let _ = answer.append_header(header::VARY, HeaderValue::from_static(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vary(answer: &ResponseHeader) -> Vec<&str> {
        let values = answer.headers.get_all(header::VARY).iter();
        values.map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn vary_names_each_header_once() {
        let mut answer = ResponseHeader::build(200, None).unwrap();
        answer
            .insert_header("vary", "Accept-Language, Origin")
            .unwrap();
        add_vary(&mut answer, "origin");
        assert_eq!(vary(&answer), ["Accept-Language, Origin"]);
        add_vary(&mut answer, "accept-encoding");
        add_vary(&mut answer, "accept-encoding");
        assert_eq!(
            vary(&answer),
            ["Accept-Language, Origin", "accept-encoding"]
        );

        let mut answer = ResponseHeader::build(200, None).unwrap();
        answer.insert_header("vary", "*").unwrap();
        add_vary(&mut answer, "origin");
        assert_eq!(vary(&answer), ["*"]);
    }

    #[test]
    fn rules_remove_then_set_then_add() {
        let mut answer = ResponseHeader::build(200, None).unwrap();
        for (name, value) in [("server", "x"), ("x-a", "1"), ("x-a", "2"), ("link", "a")] {
            answer.append_header(name, value).unwrap();
        }
        let pair = |name, value| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        };
        change(
            &mut answer,
            &HeaderChanges {
                remove: Box::from([header::SERVER]),
                set: Box::from([pair("x-a", "3")]),
                add: Box::from([pair("link", "b")]),
            },
        );
        let all = |name| {
            let values = answer.headers.get_all(name).iter();
            values
                .map(|value| value.to_str().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(all("x-a"), ["3"]);
        assert_eq!(all("link"), ["a", "b"]);
        assert!(all("server").is_empty());
    }
}
