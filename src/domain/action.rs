//! What becomes of a request that may pass.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::{Denial, KeyType, Rewrite};

/// What a route does with its requests.
#[derive(Clone, Debug)]
pub enum Action {
    Forward(Forward),
    Redirect(Redirect),
    Respond(StaticAnswer),
}

/// The request goes to an upstream.
#[derive(Clone, Debug)]
pub struct Forward {
    pub to: Destination,
    /// Longest time to the end of an answer, instead of the upstream's; zero: no limit.
    pub timeout: Option<Duration>,
    /// `None`: the path goes on as it came.
    pub rewrite: Option<Rewrite>,
    /// What callers get when no upstream answers; `None`: what they get everywhere.
    pub on_failure: Option<Box<StaticAnswer>>,
}

/// Where requests go, by the kind of key that the caller's application has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    Production(UpstreamId),
    Sandbox(UpstreamId),
    Both {
        production: UpstreamId,
        sandbox: UpstreamId,
    },
}

impl Destination {
    /// `None`: nowhere.
    pub fn new(production: Option<UpstreamId>, sandbox: Option<UpstreamId>) -> Option<Self> {
        match (production, sandbox) {
            (Some(production), Some(sandbox)) => Some(Self::Both {
                production,
                sandbox,
            }),
            (Some(production), None) => Some(Self::Production(production)),
            (None, Some(sandbox)) => Some(Self::Sandbox(sandbox)),
            (None, None) => None,
        }
    }

    /// Whether the kind of key decides where a request goes.
    pub fn depends_on_key(self) -> bool {
        matches!(self, Self::Both { .. })
    }

    /// For callers with such a key; those with the other kind's are not sent there.
    ///
    /// # Errors
    /// There is none for them.
    pub fn of(self, key_type: KeyType) -> Result<UpstreamId, Denial> {
        match (self, key_type) {
            (Self::Production(upstream), KeyType::Production)
            | (Self::Sandbox(upstream), KeyType::Sandbox) => Ok(upstream),
            (Self::Both { production, .. }, KeyType::Production) => Ok(production),
            (Self::Both { sandbox, .. }, KeyType::Sandbox) => Ok(sandbox),
            (Self::Sandbox(_), KeyType::Production) | (Self::Production(_), KeyType::Sandbox) => {
                Err(Denial::NoEndpoint(key_type))
            }
        }
    }
}

/// Position of an upstream in the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub usize);

/// The caller is sent elsewhere (RFC 9110 §15.4).
#[derive(Clone, Debug)]
pub struct Redirect {
    /// Scheme and authority, as in `https://api.example.com`; empty for a path of the same origin.
    pub origin: Box<str>,
    pub path: Rewrite,
    pub status: StatusCode,
}

/// The same answer for every request.
#[derive(Clone, Debug)]
pub struct StaticAnswer {
    pub status: StatusCode,
    /// All but `Content-Length`.
    pub headers: Box<[(HeaderName, HeaderValue)]>,
    pub body: Bytes,
}

impl Redirect {
    /// The `Location` for a request: `sent` is its path in normal form; its query is kept.
    pub fn location(&self, sent: &str, query: Option<&str>) -> String {
        let mut location = String::from(&*self.origin);
        self.path.apply_to(sent, &mut location);
        if let Some(query) = query {
            location.push('?');
            location.push_str(query);
        }
        location
    }
}

impl StaticAnswer {
    /// Whether an answer with this status has content at all (RFC 9110 §15.3.5, §15.3.6, §15.4.5).
    pub fn has_content(status: StatusCode) -> bool {
        !matches!(
            status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
        )
    }
}
