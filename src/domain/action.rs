//! What becomes of a request that may pass.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::Rewrite;

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
    pub upstream: UpstreamId,
    /// Longest time to the end of an answer, instead of the upstream's; zero: no limit.
    pub timeout: Option<Duration>,
    /// `None`: the path goes on as it came.
    pub rewrite: Option<Rewrite>,
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
