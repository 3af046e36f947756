//! The request as the upstream gets it: without what only the gateway may say, with what it says.
//!
//! Pingora has removed the hop-by-hop fields, and those that `Connection` names, before this runs;
//! a caller can therefore not take away what is added here (CVE-2026-105299).

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use pingora::{
    Error, ErrorType,
    http::{RequestHeader, ResponseHeader},
};

use super::{caller::Way, context::Context};
use crate::{
    domain::{BackendJwt, Grant, Grpc, HeaderChanges, Route, Subscriber},
    telemetry::{TRACEPARENT, TRACESTATE},
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Headers that [`prepare`] adds to every request.
const ADDED_HEADERS: usize = 4;

/// What callers may not say: where a request came from, who sent it, and what to do instead of what
/// it asks. What a trusted proxy says of it has been taken up before.
const PROTECTED: [&str; 20] = [
    "forwarded",
    "x-client-ip",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-uri",
    "x-rewrite-url",
];
/// The rest of these, such as `X-Forwarded-User` and `X-Forwarded-Client-Cert`, is for proxies that are
/// trusted: they may have something to say that the gateway knows nothing of.
const FORWARDED: &str = "x-forwarded-";

/// The names that are removed from every request before it goes on.
pub struct Protected {
    /// Identity headers of all routes, and that of the gateway's own JWT: one that this route does not set must not slip through to an
    /// upstream that trusts it. With dashes in the place of underscores.
    identity: Box<[Box<str>]>,
    /// What any of the names begins with.
    first: [bool; 256],
}

impl Protected {
    pub fn new<'a>(
        routes: impl Iterator<Item = &'a Route>,
        backend_jwt: Option<&BackendJwt>,
    ) -> Self {
        let of_routes =
            routes.flat_map(|route| route.identity_headers.iter().map(|(name, _)| name));
        Self::of(of_routes.chain(backend_jwt.map(|settings| &settings.header)))
    }

    fn of<'a>(names: impl Iterator<Item = &'a HeaderName>) -> Self {
        let mut identity: Vec<Box<str>> = names.map(|name| twin(name).into()).collect();
        identity.sort_unstable();
        identity.dedup();
        let mut first = [false; 256];
        let own = identity.iter().map(|name| &**name);
        for name in own.chain(["forwarded", "x-"]) {
            first[first_of(name)] = true;
        }
        // The twin of a name with a dash there.
        first[usize::from(b'_')] = first[usize::from(b'-')];
        Self {
            identity: identity.into(),
            first,
        }
    }

    /// `is_trusted`: it comes from a proxy that is.
    fn has(&self, name: &HeaderName, is_trusted: bool) -> bool {
        // Most names are passed over at their first letter.
        if !self.first[first_of(name.as_str())] {
            return false;
        }
        let name = twin(name);
        is_protected(&name, is_trusted) || self.identity.iter().any(|own| **own == *name)
    }

    /// Removes what only the gateway may say; `orphan`: also a `tracestate` that has lost its trace.
    fn strip(&self, headers: &mut HeaderMap, orphan: bool, is_trusted: bool) {
        let unwanted =
            |name: &HeaderName| self.has(name, is_trusted) || (orphan && *name == TRACESTATE);
        // Looking is free of allocation; only a request that carries one pays for the list.
        if !headers.keys().any(unwanted) {
            return;
        }
        let found: Vec<HeaderName> = headers
            .keys()
            .filter(|name| unwanted(name))
            .cloned()
            .collect();
        for name in &found {
            headers.remove(name);
        }
    }
}

fn first_of(name: &str) -> usize {
    name.bytes().next().unwrap_or_default().into()
}

/// Servers of the CGI kind read `X_Auth_Subject` and `X-Auth-Subject` alike.
fn twin(name: &HeaderName) -> Cow<'_, str> {
    let text = name.as_str();
    match text.as_bytes().contains(&b'_') {
        true => text.replace('_', "-").into(),
        false => text.into(),
    }
}

fn is_protected(name: &str, is_trusted: bool) -> bool {
    (name.starts_with("x-") || name == "forwarded")
        && (PROTECTED.contains(&name) || !is_trusted && name.starts_with(FORWARDED))
}

/// Whether a proxy that is trusted says what goes on as it is: it may be about who is asking.
pub fn says_more(headers: &HeaderMap) -> bool {
    let is_more = |name: &HeaderName| {
        let twin = twin(name);
        is_protected(&twin, false) && !is_protected(&twin, true)
    };
    headers.keys().any(is_more)
}

/// Changes the request for its upstream. `route` is its position.
///
/// The header is taken apart once: through Pingora's own interface each name is kept a second time,
/// in the caller's spelling, which costs more than everything else here. Names therefore go out as
/// HTTP/2 has them, in lower case; they mean the same (RFC 9110 §5.1).
///
/// # Errors
/// Never in practice: the path has been parsed before.
pub fn prepare(
    request: &mut RequestHeader,
    route: usize,
    context: &Context,
) -> pingora::Result<()> {
    let snapshot = &context.snapshot;
    let route = snapshot.route(route);
    let nothing = RequestHeader::from(http::Request::new(()).into_parts().0);
    let mut parts = http::request::Parts::from(std::mem::replace(request, nothing));
    let headers = &mut parts.headers;
    if let Some(rules) = &route.headers {
        change(headers, &rules.request);
    }
    headers.reserve(ADDED_HEADERS + route.identity_headers.len());
    let way = Way::new(headers, &context.caller);
    let orphan = !context.trace.is_continued();
    snapshot
        .protected
        .strip(headers, orphan, context.caller.is_trusted);
    if !route.forward_token {
        match &route.token_header {
            None => headers.remove(header::AUTHORIZATION),
            Some(name) => headers.remove(name),
        };
    }
    let host = context.attempt.host().cloned();
    let host = host.and_then(|own| headers.insert(header::HOST, own));
    way.tell(headers, host);
    if let Some(grant) = context.grant() {
        for (name, claim) in &route.identity_headers {
            if let Some(value) = told(grant, context.subscriber.as_ref(), claim) {
                headers.insert(name.clone(), value);
            }
        }
    }
    if let (Some(jwts), Some(value)) = (&snapshot.backend_jwts, &context.backend_jwt) {
        headers.insert(jwts.header().clone(), value.clone());
    }
    let span = context.upstream.span.as_ref().unwrap_or(&context.trace);
    headers.insert(TRACEPARENT, span.header());
    if parts.version == Version::HTTP_2 && Grpc::of(&parts.headers).is_some() {
        // Servers tell by it that nobody on the way drops trailers.
        let trailers = HeaderValue::from_static("trailers");
        parts.headers.insert(header::TE, trailers);
    }
    *request = parts.into();
    match &context.normal_path {
        Some(path) => set_path(request, path),
        None => Ok(()),
    }
}

/// Rules come before what the gateway itself says and takes away, so that they can touch none of it.
fn change(headers: &mut HeaderMap, changes: &HeaderChanges) {
    for name in &changes.remove {
        headers.remove(name);
    }
    for (name, value) in &changes.set {
        headers.insert(name.clone(), value.clone());
    }
    for (name, value) in &changes.add {
        headers.append(name.clone(), value.clone());
    }
}

/// The path in its normal form, with the query as it came. Also turns the absolute form of a
/// request target, which only proxies are sent, into the usual one.
fn set_path(request: &mut RequestHeader, path: &str) -> pingora::Result<()> {
    let target = match request.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    request.set_raw_path(target.as_bytes())
}

/// What must not stand in trailers (RFC 9110 §6.5.1): framing, routing, credentials, what controls
/// the handling of the message, and what says how its body is to be read.
const NO_TRAILERS: [HeaderName; 22] = [
    header::AGE,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::DATE,
    header::EXPECT,
    header::EXPIRES,
    header::HOST,
    header::LOCATION,
    header::RETRY_AFTER,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::VARY,
    header::WARNING,
    header::WWW_AUTHENTICATE,
];

/// Removes from trailers what must not stand there.
pub fn strip_trailers(trailers: &mut HeaderMap) {
    for name in &NO_TRAILERS {
        trailers.remove(name);
    }
}

/// An answer whose end, or whose protocol, two readers could see differently goes to nobody
/// (RFC 9112 §6.1, RFC 9110 §15.2.2).
///
/// # Errors
/// The upstream's.
pub fn check_answer(request: &RequestHeader, answer: &ResponseHeader) -> pingora::Result<()> {
    let mut codings = answer.headers.get_all(header::TRANSFER_ENCODING).iter();
    let plain = codings
        .next()
        .is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        && codings.next().is_none();
    let uncalled = answer.status == StatusCode::SWITCHING_PROTOCOLS
        && !request.headers.contains_key(header::UPGRADE);
    if plain && !uncalled {
        return Ok(());
    }
    Err(Error::new_up(ErrorType::InvalidHTTPHeader))
}

/// Removes from an answer what concerns only the upstream's connection (RFC 9110 §7.6.1).
pub fn strip_answer(answer: &mut ResponseHeader) {
    let Some(connection) = answer.headers.get(header::CONNECTION) else {
        return;
    };
    let plain = matches!(connection.as_bytes(), b"keep-alive" | b"close");
    if !plain {
        let nominated: Vec<HeaderName> = answer
            .headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse::<HeaderName>().ok())
            .filter(|name| *name != header::UPGRADE && *name != header::CONNECTION)
            .collect();
        for name in &nominated {
            answer.remove_header(name);
        }
    }
    answer.remove_header(&KEEP_ALIVE);
}

/// A claim of the key manager's answer, or something that is known of the client's subscription.
fn told(grant: &Grant, subscriber: Option<&Subscriber>, claim: &str) -> Option<HeaderValue> {
    match claim.starts_with(Subscriber::PREFIX) {
        true => HeaderValue::from_maybe_shared(Bytes::from(subscriber?.claim(claim)?)).ok(),
        false => grant.claims().header(claim),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twins_with_underscores_are_protected_too() {
        let own = ["x-auth-subject", "user_id", "_odd"].map(HeaderName::from_static);
        let protected = Protected::of(own.iter());
        for name in [
            "x-auth-subject",
            "x_auth_subject",
            "x-auth_subject",
            "x-forwarded-for",
            "x_forwarded_for",
            "forwarded",
            "x-rewrite-url",
            "user_id",
            "user-id",
            "_odd",
            "-odd",
        ] {
            for is_trusted in [false, true] {
                assert!(protected.has(&name.parse().unwrap(), is_trusted), "{name}");
            }
        }
        for name in ["x-auth-subject-2", "accept", "x-request-id", "my_header"] {
            assert!(!protected.has(&name.parse().unwrap(), false), "{name}");
        }
        for name in ["x-forwarded-user", "x_forwarded_client_cert"] {
            assert!(protected.has(&name.parse().unwrap(), false), "{name}");
            assert!(!protected.has(&name.parse().unwrap(), true), "{name}");
        }
    }

    #[test]
    fn trailers_carry_nothing_that_a_header_decides() {
        let names = [
            "grpc-status",
            "content-length",
            "set-cookie",
            "transfer-encoding",
            "server-timing",
        ];
        let mut trailers: HeaderMap = names
            .map(|name| (name.parse().unwrap(), HeaderValue::from_static("1")))
            .into_iter()
            .collect();
        strip_trailers(&mut trailers);
        let mut left: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["grpc-status", "server-timing"]);
    }

    #[test]
    fn what_an_answer_nominates_is_removed() {
        let mut answer = ResponseHeader::build(200, None).unwrap();
        for (name, value) in [
            ("connection", "close, X-Internal"),
            ("x-internal", "1"),
            ("keep-alive", "timeout=5"),
            ("x-kept", "1"),
        ] {
            answer.append_header(name, value).unwrap();
        }
        strip_answer(&mut answer);
        assert!(!answer.headers.contains_key("x-internal"));
        assert!(!answer.headers.contains_key("keep-alive"));
        assert!(answer.headers.contains_key("x-kept"));
    }
}
