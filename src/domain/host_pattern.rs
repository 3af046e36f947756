//! Which hosts a route is for.

use std::fmt;

/// A host name without port, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPattern(pub(super) Box<str>);

impl HostPattern {
    /// # Errors
    /// What is wrong with `host`, in words that end a sentence.
    pub fn parse(host: &str) -> Result<Self, &'static str> {
        if host.is_empty() {
            return Err("a host name is empty");
        }
        if host.contains('*') {
            return Err("wildcards in host names are not supported yet");
        }
        if host.contains([':', '/', ' ', '@']) {
            return Err("a host is a name alone, without scheme, port or path");
        }
        Ok(Self(host.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
