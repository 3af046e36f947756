//! The request as the upstream gets it: without what only the gateway may say, with what it says.
//!
//! Pingora has removed the hop-by-hop fields, and those that `Connection` names, before this runs;
//! a caller can therefore not take away what is added here (CVE-2026-105299).

use http::{HeaderName, HeaderValue, header};
use pingora::http::{RequestHeader, ResponseHeader};

use super::{
    context::Context,
    trace::{TRACEPARENT, TRACESTATE},
    upstream::Upstream,
};
use crate::domain::Route;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// What callers may not say: where a request came from, and what to do instead of what it asks.
/// No proxy is trusted, so whatever stands there is somebody's claim.
const PROTECTED: [&str; 14] = [
    "forwarded",
    "x-client-ip",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-real-ip",
];
const ALSO_PROTECTED: &str = "x-rewrite-url";

/// The names that are removed from every request before it goes on.
pub struct Protected {
    /// Identity headers of all routes: one that this route does not set must not slip through to an
    /// upstream that trusts it.
    identity: Box<[HeaderName]>,
}

impl Protected {
    pub fn new<'a>(routes: impl Iterator<Item = &'a Route>) -> Self {
        let mut identity: Vec<HeaderName> = routes
            .flat_map(|route| route.identity_headers.iter().map(|(name, _)| name.clone()))
            .collect();
        identity.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        identity.dedup();
        Self {
            identity: identity.into(),
        }
    }

    fn has(&self, name: &HeaderName) -> bool {
        let text = name.as_str();
        if text.as_bytes().contains(&b'_') {
            // Servers of the CGI kind read `X_Auth_Subject` and `X-Auth-Subject` alike.
            let twin = text.replace('_', "-");
            return self.has_text(&twin);
        }
        // `forwarded` and the `x-` names; identity headers may begin with anything.
        (text.starts_with("x-") || text == "forwarded") && is_protected(text)
            || self.identity.contains(name)
    }

    fn has_text(&self, text: &str) -> bool {
        is_protected(text) || self.identity.iter().any(|name| name.as_str() == text)
    }

    fn strip(&self, request: &mut RequestHeader) {
        // Looking is free of allocation; only a request that carries one pays for the list.
        if !request.headers.keys().any(|name| self.has(name)) {
            return;
        }
        let found: Vec<HeaderName> = request
            .headers
            .keys()
            .filter(|name| self.has(name))
            .cloned()
            .collect();
        for name in &found {
            request.remove_header(name);
        }
    }
}

fn is_protected(name: &str) -> bool {
    PROTECTED.contains(&name) || name == ALSO_PROTECTED
}

/// Who sent the request, as the upstream is told.
pub struct Client {
    pub address: Option<HeaderValue>,
    pub host: Option<HeaderValue>,
}

/// Changes the request for its upstream.
///
/// # Errors
/// Never in practice: every name and value is a valid header.
pub fn prepare(
    request: &mut RequestHeader,
    route: &Route,
    upstream: &Upstream,
    protected: &Protected,
    client: Client,
    context: &Context,
) -> pingora::Result<()> {
    protected.strip(request);
    if !route.forward_token {
        request.remove_header(&header::AUTHORIZATION);
    }
    if let Some(path) = &context.normal_path {
        set_path(request, path)?;
    }
    if let Some(address) = client.address {
        request.insert_header(X_FORWARDED_FOR, address)?;
    }
    if let Some(host) = client.host {
        request.insert_header(X_FORWARDED_HOST, host)?;
    }
    request.insert_header(X_FORWARDED_PROTO, HeaderValue::from_static("http"))?;
    request.insert_header(header::HOST, upstream.host.clone())?;
    if let Some(grant) = context.grant() {
        for (name, claim) in &route.identity_headers {
            if let Some(value) = grant.claims().header(claim) {
                request.insert_header(name.clone(), value)?;
            }
        }
    }
    if !context.trace.continued {
        request.remove_header(&TRACESTATE);
    }
    request.insert_header(TRACEPARENT, context.trace.header())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twins_with_underscores_are_protected_too() {
        let protected = Protected {
            identity: Box::from([HeaderName::from_static("x-auth-subject")]),
        };
        for name in [
            "x-auth-subject",
            "x_auth_subject",
            "x-auth_subject",
            "x-forwarded-for",
            "x_forwarded_for",
            "forwarded",
            "x-rewrite-url",
        ] {
            assert!(protected.has(&name.parse().unwrap()), "{name}");
        }
        for name in ["x-auth-subject-2", "accept", "x-request-id", "my_header"] {
            assert!(!protected.has(&name.parse().unwrap()), "{name}");
        }
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
