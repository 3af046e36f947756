//! What an operator adds to the headers of requests and answers, or takes away.

use http::{HeaderName, HeaderValue};

/// A route's changes, those for all routes included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderRules {
    /// On the way to the upstream.
    pub request: HeaderChanges,
    /// On the way to the caller.
    pub response: HeaderChanges,
    /// Whether answers get the headers that browsers are made more careful by.
    pub security: bool,
}

/// Done in this order: remove, set, add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    pub remove: Box<[HeaderName]>,
    /// Instead of what is there.
    pub set: Box<[(HeaderName, HeaderValue)]>,
    /// Beside what is there.
    pub add: Box<[(HeaderName, HeaderValue)]>,
}

/// Which headers are meant: not every name may be touched on either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Request,
    Response,
}

/// The connection's, and those that frame a message (RFC 9110 §7.6.1, RFC 9112 §6).
const FRAMING: [&str; 12] = [
    "connection",
    "content-length",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What the gateway itself says in a request, or reads there; and what would change its meaning.
const REQUEST_ONLY: [&str; 9] = [
    "authorization",
    "content-encoding",
    "cookie",
    "expect",
    "forwarded",
    "range",
    "traceparent",
    "tracestate",
    "via",
];

/// What the gateway itself says in an answer, or what says how its body is to be read.
const RESPONSE_ONLY: [&str; 7] = [
    "content-encoding",
    "content-range",
    "date",
    "etag",
    "vary",
    "via",
    "www-authenticate",
];

impl HeaderRules {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl HeaderChanges {
    /// These, and then `later` ones, which go before them.
    #[must_use]
    pub fn and(&self, later: &Self) -> Self {
        let overruled = |name: &HeaderName| {
            later.remove.contains(name) || later.set.iter().any(|(other, _)| other == name)
        };
        let kept = |list: &[(HeaderName, HeaderValue)]| {
            let kept = list.iter().filter(|(name, _)| !overruled(name));
            kept.cloned().collect::<Vec<_>>()
        };
        let join = |first: &[(HeaderName, HeaderValue)], then: &[(HeaderName, HeaderValue)]| {
            let mut all = kept(first);
            all.extend_from_slice(then);
            all.into()
        };
        Self {
            remove: [&*self.remove, &*later.remove].concat().into(),
            set: join(&self.set, &later.set),
            add: join(&self.add, &later.add),
        }
    }
}

/// Whether no rule may touch this header.
pub fn is_untouchable(name: &HeaderName, way: Way) -> bool {
    let name = name.as_str();
    let own = match way {
        // `X-Forwarded-For` and its like; with `_` many servers read the same name as with `-`.
        Way::Request => {
            REQUEST_ONLY.contains(&name) || name.starts_with("x-forwarded") || name.contains('_')
        }
        Way::Response => RESPONSE_ONLY.contains(&name) || name.starts_with("access-control-"),
    };
    own || FRAMING.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&'static str, &'static str)]) -> Box<[(HeaderName, HeaderValue)]> {
        let pair = |(name, value): &(&'static str, &'static str)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        };
        list.iter().map(pair).collect()
    }

    #[test]
    fn what_a_route_says_goes_before_what_is_said_for_all() {
        let all = HeaderChanges {
            remove: Box::from([HeaderName::from_static("x-gone")]),
            set: pairs(&[("x-a", "1"), ("x-b", "1")]),
            add: pairs(&[("x-c", "1"), ("x-d", "1")]),
        };
        let route = HeaderChanges {
            remove: Box::from([HeaderName::from_static("x-c")]),
            set: pairs(&[("x-b", "2")]),
            add: pairs(&[("x-d", "2")]),
        };
        let both = all.and(&route);
        assert_eq!(both.remove.len(), 2);
        assert_eq!(both.set, pairs(&[("x-a", "1"), ("x-b", "2")]));
        assert_eq!(both.add, pairs(&[("x-d", "1"), ("x-d", "2")]));
        assert_eq!(all.and(&HeaderChanges::default()), all);
        assert_eq!(HeaderChanges::default().and(&route), route);
    }

    #[test]
    fn some_headers_are_nobodys_to_touch() {
        let untouchable = |name: &str, way| is_untouchable(&name.parse().unwrap(), way);
        for name in ["Host", "Connection", "Content-Length", "TE", "Upgrade"] {
            assert!(untouchable(name, Way::Request), "{name}");
            assert!(untouchable(name, Way::Response), "{name}");
        }
        for name in [
            "Authorization",
            "X-Forwarded-For",
            "x_api_key",
            "Traceparent",
        ] {
            assert!(untouchable(name, Way::Request), "{name}");
        }
        for name in ["Vary", "Access-Control-Allow-Origin", "ETag"] {
            assert!(untouchable(name, Way::Response), "{name}");
        }
        for name in ["X-Api-Version", "Accept", "User-Agent"] {
            assert!(!untouchable(name, Way::Request), "{name}");
        }
        for name in ["Server", "X-Powered-By", "Cache-Control", "Set-Cookie"] {
            assert!(!untouchable(name, Way::Response), "{name}");
        }
    }
}
