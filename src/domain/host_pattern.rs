//! Which hosts a route is for.

use std::fmt;

/// Longest host name that there is (RFC 1035 §2.3.4), without the dot at its end.
pub const MAX_HOST_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// A host name without port, in lower case, or `*.` and the name that hosts end in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    Exact(Box<str>),
    /// All names with one label or more before this one; not this one itself.
    Below(Box<str>),
}

impl HostPattern {
    /// # Errors
    /// What is wrong with `host`, in words that end a sentence.
    pub fn parse(host: &str) -> Result<Self, &'static str> {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let (name, below) = match host.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (&*host, false),
        };
        check_name(name)?;
        Ok(match below {
            true => Self::Below(name.into()),
            false => Self::Exact(name.into()),
        })
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("a host name is empty");
    }
    if name.contains('*') {
        return Err("`*` stands alone in the first place, as in `*.example.com`");
    }
    if name.contains([':', '/', ' ', '@']) {
        return Err("a host is a name alone, without scheme, port or path");
    }
    if !name.is_ascii() {
        return Err("a host name is written as it is sent, as in `xn--bcher-kva.example`");
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label =
        |label: &str| (1..=MAX_LABEL_BYTES).contains(&label.len()) && label.bytes().all(legal);
    match name.len() <= MAX_HOST_BYTES && name.split('.').all(label) {
        true => Ok(()),
        false => Err("this is not a host name"),
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_wildcards() {
        for (text, expected) in [
            ("API.Example.com", "api.example.com"),
            ("api.example.com.", "api.example.com"),
            ("*.Example.com", "*.example.com"),
            ("*.com", "*.com"),
            ("localhost", "localhost"),
            ("10.0.0.1", "10.0.0.1"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("a_b.example", "a_b.example"),
        ] {
            assert_eq!(HostPattern::parse(text).unwrap().to_string(), expected);
        }
        let long = format!("{}.example", "a".repeat(64));
        for bad in [
            "",
            ".",
            "*",
            "*.",
            "a.*",
            "*a.example",
            "a.*.example",
            "*.*.example",
            "a..b",
            ".a",
            "a:80",
            "http://a",
            "a/b",
            "a b",
            "bücher.example",
            "a!b",
            "..",
            &long,
        ] {
            assert!(HostPattern::parse(bad).is_err(), "{bad}");
        }
    }
}
