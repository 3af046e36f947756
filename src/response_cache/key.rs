//! What an answer is kept under: everything that the upstream may have shaped it by.
//!
//! Each part stands behind its length, so that no two requests have one key by moving a border
//! (CVE-2026-2836). The address of the resource comes first: whoever changes or purges it finds
//! all answers about it, whoever they were for.

use std::fmt::Write;

use http::{HeaderValue, Uri};

use crate::domain::{CacheScope, Grant, RequestPath, Route, Subscriber, TokenKey};

/// Bytes of a length.
const LENGTH: usize = size_of::<u32>();

/// Scheme, host, port, path and query in one form: `http://api.example/orders/1?x=y`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource(String);

impl Resource {
    /// `authority`: of the request, with its port where it has one; `path`: in its normal form.
    pub fn new(secure: bool, authority: &str, path: &str, query: Option<&str>) -> Self {
        let (scheme, port) = match secure {
            true => ("https", ":443"),
            false => ("http", ":80"),
        };
        let authority = authority.strip_suffix(port).unwrap_or(authority);
        let query_length = query.map_or(0, |query| query.len() + 1);
        let length = scheme.len() + 3 + authority.len() + path.len() + query_length;
        let mut text = String::with_capacity(length);
        text.push_str(scheme);
        text.push_str("://");
        text.push_str(authority);
        // Only the host and what stands before it: a path has its case.
        text[scheme.len()..].make_ascii_lowercase();
        text.push_str(path);
        if let Some(query) = query {
            // Writing to memory cannot fail.
            let _ = write!(text, "?{query}");
        }
        Self(text)
    }

    /// An address as people write it; `None`: it is none that could have been asked for here.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let secure = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let path = RequestPath::parse(uri.path()).ok()?;
        let authority = uri.authority()?.as_str();
        Some(Self::new(secure, authority, &path.sent, uri.query()))
    }

    /// What `reference`, as it stands in `Location`, means here; `None` when that is on another
    /// host (RFC 9111 §4.4).
    pub fn join(&self, reference: &HeaderValue) -> Option<Self> {
        let reference = reference.to_str().ok()?;
        let reference = reference.split('#').next()?;
        let here = &self.0[..self.path_start()];
        let other = match reference.strip_prefix('/') {
            Some(rest) if !rest.starts_with('/') => Self::parse(&format!("{here}{reference}")),
            _ => Self::parse(reference),
        }?;
        (other.0[..other.path_start()] == *here).then_some(other)
    }

    fn path_start(&self) -> usize {
        let authority = self.0.find("://").map_or(0, |scheme| scheme + 3);
        let rest = &self.0[authority..];
        authority + rest.find(['/', '?']).unwrap_or(rest.len())
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Who is asking, as far as an answer can be meant for somebody.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    pub grant: Option<&'a Grant>,
    pub token: Option<TokenKey>,
    pub subscriber: Option<&'a Subscriber>,
    /// The host that a trusted proxy says was asked for, which the upstream is told too.
    pub forwarded_host: Option<&'a HeaderValue>,
}

/// The key of an answer. `upstream`: where the route sends its requests, so that a route that was
/// pointed elsewhere begins anew.
pub fn key(
    resource: &Resource,
    route: &Route,
    upstream: &str,
    scope: CacheScope,
    caller: Caller<'_>,
) -> Vec<u8> {
    let mut key = Vec::with_capacity(resource.0.len() + route.name.len() + upstream.len() + 96);
    part(&mut key, resource.as_bytes());
    part(&mut key, route.name.as_bytes());
    part(&mut key, upstream.as_bytes());
    // Answers of one kind never serve the other, whatever a reload made of the route.
    key.push(scope as u8);
    if scope == CacheScope::PerClient {
        owner(&mut key, route, caller);
    }
    let host = caller.forwarded_host.map(HeaderValue::as_bytes);
    optional(&mut key, host);
    for (name, claim) in &route.identity_headers {
        let of_token = caller.grant.and_then(|grant| grant.claims().text(claim));
        let known = caller.subscriber.and_then(|known| known.claim(claim));
        let is_known = claim.starts_with(Subscriber::PREFIX);
        let value = if is_known { known.as_deref() } else { of_token };
        part(&mut key, name.as_str().as_bytes());
        optional(&mut key, value.map(str::as_bytes));
    }
    key
}

/// The subject and the client of a key manager; the token itself where that is not known, or where the
/// upstream sees the token and may look at more of it.
fn owner(key: &mut Vec<u8>, route: &Route, caller: Caller<'_>) {
    let claims = caller.grant.map(Grant::claims);
    let subject = claims.and_then(|claims| claims.text("sub"));
    match (subject, caller.token) {
        (Some(_), _) if !route.forward_token => {
            let known_as = caller.grant.and_then(|grant| grant.vouched_by().known_as());
            optional(key, known_as.map(str::as_bytes));
            for claim in ["iss", "sub", "client_id"] {
                let value = claims.and_then(|claims| claims.text(claim));
                optional(key, value.map(str::as_bytes));
            }
        }
        (_, Some(token)) => part(key, token.as_bytes()),
        (_, None) => key.push(0),
    }
}

fn optional(key: &mut Vec<u8>, bytes: Option<&[u8]>) {
    key.push(u8::from(bytes.is_some()));
    part(key, bytes.unwrap_or_default());
}

fn part(key: &mut Vec<u8>, bytes: &[u8]) {
    // Longer ones than this do not come in through a header.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(bytes);
}

/// The address that a key is about.
pub fn resource_of(key: &[u8]) -> &[u8] {
    let Some((length, rest)) = key.split_first_chunk::<LENGTH>() else {
        return &[];
    };
    let length = u32::from_be_bytes(*length) as usize;
    rest.get(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        config::{Environment, Source, load_source},
        domain::{Verdict, VouchedBy},
    };

    fn route(lines: &str) -> Route {
        let text = format!(
            "[keyManager]\nserverUrl = \"http://127.0.0.1:1\"\n[[route]]\nname = \"r\"\n\
             path = \"/*\"\nupstream = \"http://127.0.0.1:2\"\n{lines}"
        );
        let loaded = load_source(Source::memory(&*text), &Environment::default())
            .unwrap_or_else(|problems| panic!("{problems}"));
        loaded.settings.routes.route(0).clone()
    }

    fn grant(json: &str) -> Arc<Grant> {
        grant_of(json, None)
    }

    fn grant_of(json: &str, known_as: Option<&str>) -> Arc<Grant> {
        let key_manager = Arc::new(VouchedBy::new(known_as, None));
        match Verdict::parse(json.as_bytes(), &key_manager) {
            Ok(Verdict::Active(grant)) => grant,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_form_of_an_address() {
        for (secure, authority, path, query, expected) in [
            (false, "API.example", "/A", None, "http://api.example/A"),
            (false, "api.example:80", "/", None, "http://api.example/"),
            (true, "api.example:80", "/", None, "https://api.example:80/"),
            (true, "a:443", "/x", Some("B=c"), "https://a/x?B=c"),
            (false, "a", "/x", Some(""), "http://a/x?"),
            (false, "[::1]:8080", "/", None, "http://[::1]:8080/"),
        ] {
            let resource = Resource::new(secure, authority, path, query);
            assert_eq!(resource.0, expected);
            assert_eq!(Resource::parse(expected), Some(resource));
        }
        for text in ["/x", "ftp://a/x", "http://a/../x", "a", "http://a//x"] {
            assert_eq!(Resource::parse(text), None, "{text}");
        }
        let escaped = Resource::parse("http://a/%61%20b").unwrap();
        assert_eq!(escaped.0, "http://a/a%20b");
    }

    #[test]
    fn locations_on_the_same_host() {
        let here = Resource::new(false, "a:8080", "/x/y", Some("q"));
        for (reference, expected) in [
            ("/z", Some("http://a:8080/z")),
            ("http://A:8080/z?q#part", Some("http://a:8080/z?q")),
            ("http://b:8080/z", None),
            ("http://a/z", None),
            ("https://a:8080/z", None),
            ("//a:8080/z", None),
            ("z", None),
        ] {
            let reference = HeaderValue::from_str(reference).unwrap();
            let found = here.join(&reference);
            assert_eq!(found.as_ref().map(|other| &*other.0), expected);
        }
    }

    #[test]
    fn what_shapes_an_answer_is_in_its_key() {
        let one = Resource::new(false, "a", "/x", None);
        let plain = route("");
        let told = route("identity_headers = { \"X-Sub\" = \"sub\" }");
        let forwarding = route("forward_token = true");
        let joe = grant(r#"{"active":true,"sub":"joe","client_id":"shop"}"#);
        let ann = grant(r#"{"active":true,"sub":"ann","client_id":"shop"}"#);
        let nobody = grant(r#"{"active":true,"client_id":"shop"}"#);
        let of = |route: &Route, scope, grant: &Grant, token: u8| {
            let caller = Caller {
                grant: Some(grant),
                token: Some(TokenKey::from_bytes([token; 32])),
                subscriber: None,
                forwarded_host: None,
            };
            key(&one, route, "u", scope, caller)
        };
        use CacheScope::{PerClient, Shared};
        // Shared: by what the upstream is told of the caller, and by nothing else of him.
        assert_eq!(of(&plain, Shared, &joe, 1), of(&plain, Shared, &ann, 2));
        assert_ne!(of(&told, Shared, &joe, 1), of(&told, Shared, &ann, 1));
        assert_ne!(of(&told, Shared, &joe, 1), of(&plain, Shared, &joe, 1));
        // Per client: by subject and client, if there is a subject.
        assert_eq!(
            of(&plain, PerClient, &joe, 1),
            of(&plain, PerClient, &joe, 2)
        );
        assert_ne!(
            of(&plain, PerClient, &joe, 1),
            of(&plain, PerClient, &ann, 1)
        );
        assert_ne!(of(&plain, PerClient, &joe, 1), of(&plain, Shared, &joe, 1));
        let elsewhere = grant_of(
            r#"{"active":true,"sub":"joe","client_id":"shop"}"#,
            Some("other"),
        );
        assert_ne!(
            of(&plain, PerClient, &joe, 1),
            of(&plain, PerClient, &elsewhere, 1)
        );
        let unnamed = of(&plain, PerClient, &nobody, 1);
        assert_ne!(unnamed, of(&plain, PerClient, &nobody, 2));
        let seen = of(&forwarding, PerClient, &joe, 1);
        assert_ne!(seen, of(&forwarding, PerClient, &joe, 2));
    }

    #[test]
    fn borders_do_not_move() {
        let plain = route("");
        let caller = Caller {
            grant: None,
            token: None,
            subscriber: None,
            forwarded_host: None,
        };
        let of = |resource: &Resource, upstream: &str| {
            key(resource, &plain, upstream, CacheScope::Shared, caller)
        };
        let long = Resource::new(false, "a", "/xr", None);
        let short = Resource::new(false, "a", "/x", None);
        assert_ne!(of(&long, "u"), of(&short, "ru"));
        assert_ne!(of(&short, "u"), of(&short, "v"));
        assert_eq!(resource_of(&of(&long, "u")), b"http://a/xr");
        assert_eq!(resource_of(&[0, 0]), b"");
        assert_eq!(resource_of(&[0xff; 8]), b"");
    }
}
