//! Which web pages of other origins may use a route: the CORS protocol of the Fetch standard, §3.2.

use http::HeaderValue;

/// What browsers are told about a route. Header values are ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    pub origins: Origins,
    /// `Access-Control-Allow-Methods`.
    pub methods: HeaderValue,
    pub headers: AskedHeaders,
    /// `Access-Control-Expose-Headers`.
    pub expose: Option<HeaderValue>,
    /// Whether pages may send cookies and client certificates along.
    pub credentials: bool,
    /// `Access-Control-Max-Age`, in seconds.
    pub max_age: HeaderValue,
    /// Whether a page of a public network may call a gateway in a private one.
    pub private_network: bool,
}

/// The pages that may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    Any,
    These(Box<[OriginPattern]>),
}

/// The request headers that pages may set beside those that are always allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskedHeaders {
    /// Whatever is asked for. A `*` would not do: it does not stand for `Authorization`.
    Any,
    These(HeaderValue),
}

/// `https://app.example.com`, or with `*.` for any names below the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    /// With its `://`, in lower case.
    scheme: Box<str>,
    /// Host and port, in lower case; after a `*`: from the dot on.
    host: Box<str>,
    any_below: bool,
}

impl Cors {
    /// The `Access-Control-Allow-Origin` for a page of `origin`; `None` when it may not.
    pub fn allow_origin(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        match &self.origins {
            Origins::Any => Some(HeaderValue::from_static("*")),
            Origins::These(patterns) => patterns
                .iter()
                .any(|pattern| pattern.matches(origin.as_bytes()))
                .then(|| origin.clone()),
        }
    }

    /// Whether answers differ from origin to origin, which caches on the way must know.
    pub fn varies(&self) -> bool {
        self.origins != Origins::Any
    }
}

impl OriginPattern {
    /// An origin as browsers write it (RFC 6454 §6.2), or one whose host begins with `*.`.
    ///
    /// # Errors
    /// What is wrong with `text`, in words that end a sentence.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "null" {
            return Err("the origin `null` is that of every sandboxed page, so it names nobody");
        }
        let Some((scheme, host)) = text.split_once("://") else {
            return Err("an origin has a scheme, as in \"https://app.example.com\"");
        };
        let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if scheme.is_empty() || !scheme.bytes().all(is_scheme) {
            return Err("an origin has a scheme, as in \"https://app.example.com\"");
        }
        let (host, any_below) = match host.strip_prefix('*') {
            Some(rest) => (rest, true),
            None => (host, false),
        };
        if any_below && !(host.starts_with('.') && host[1..].contains('.')) {
            return Err("`*` stands for names below a domain, as in \"https://*.example.com\"");
        }
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_host) {
            return Err("an origin is scheme, host and port alone, without path");
        }
        let (scheme, host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
        // Browsers leave out the port that the scheme has anyway.
        let default_port = match scheme.as_str() {
            "https" => ":443",
            "http" => ":80",
            _ => "",
        };
        let host = match default_port {
            "" => &host,
            port => host.strip_suffix(port).unwrap_or(&host),
        };
        Ok(Self {
            scheme: format!("{scheme}://").into(),
            host: host.into(),
            any_below,
        })
    }

    /// Letter by letter: browsers write origins in one way.
    fn matches(&self, origin: &[u8]) -> bool {
        let Some(host) = origin.strip_prefix(self.scheme.as_bytes()) else {
            return false;
        };
        if !self.any_below {
            return host == self.host.as_bytes();
        }
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
        host.strip_suffix(self.host.as_bytes())
            .is_some_and(|below| !below.is_empty() && below.iter().all(is_name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, origin: &str) -> bool {
        OriginPattern::parse(pattern)
            .unwrap()
            .matches(origin.as_bytes())
    }

    #[test]
    fn an_origin_is_compared_whole() {
        let cases = [
            ("https://app.example.com", "https://app.example.com", true),
            ("HTTPS://App.Example.com", "https://app.example.com", true),
            (
                "https://app.example.com:443",
                "https://app.example.com",
                true,
            ),
            ("http://localhost:3000", "http://localhost:3000", true),
            ("http://localhost:80", "http://localhost", true),
            ("http://[::1]:3000", "http://[::1]:3000", true),
            ("https://app.example.com", "http://app.example.com", false),
            (
                "https://app.example.com",
                "https://app.example.com:8443",
                false,
            ),
            (
                "https://app.example.com",
                "https://app.example.com.evil.org",
                false,
            ),
            (
                "https://app.example.com",
                "https://evil.org/https://app.example.com",
                false,
            ),
            ("https://app.example.com", "https://APP.example.com", false),
            ("https://app.example.com", "null", false),
            ("https://app.example.com", "", false),
            ("capacitor://localhost", "capacitor://localhost", true),
        ];
        for (pattern, origin, expected) in cases {
            assert_eq!(matches(pattern, origin), expected, "{pattern} {origin}");
        }
    }

    #[test]
    fn a_star_stands_for_names_below_and_nothing_else() {
        let cases = [
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://a.b.example.com", true),
            (
                "https://*.example.com:8443",
                "https://a.example.com:8443",
                true,
            ),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://.example.com", false),
            ("https://*.example.com", "https://evilexample.com", false),
            ("https://*.example.com", "https://a.example.com:8443", false),
            ("https://*.example.com", "http://a.example.com", false),
            (
                "https://*.example.com",
                "https://evil.org/a.example.com",
                false,
            ),
            (
                "https://*.example.com",
                "https://evil.org:1@a.example.com",
                false,
            ),
            (
                "https://*.example.com",
                "https://a.example.com.evil.org",
                false,
            ),
        ];
        for (pattern, origin, expected) in cases {
            assert_eq!(matches(pattern, origin), expected, "{pattern} {origin}");
        }
    }

    #[test]
    fn what_is_no_origin_is_told() {
        for text in [
            "",
            "null",
            "app.example.com",
            "https://",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://user@app.example.com",
            "https://*",
            "https://*.com",
            "https://*example.com",
            "https://a.*.com",
            "https://a b",
            "ht tp://a",
            "://a",
        ] {
            assert!(OriginPattern::parse(text).is_err(), "{text}");
        }
    }
}
