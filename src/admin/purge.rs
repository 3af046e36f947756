//! `POST /admin/response_cache/purge`: removes answers that are kept.

use http::{Response, StatusCode};
use pingora::protocols::http::ServerSession;
use serde::Deserialize;

use super::{Admin, answer, plain};
use crate::response_cache::{Resource, ResponseCache};

pub const PATH: &str = "/admin/response_cache/purge";
/// Longest body of a request, in bytes.
const MAX_BODY: usize = 16 * 1024;
const FORM: &str = "send {\"url\": \"http://host/path\"}, {\"prefix\": \"http://host/path/\"} or {\"all\": true}\n";

/// What to remove.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Purge {
    /// The answers about one resource, whoever they are for.
    Url(String),
    /// Those about all resources whose address begins like this.
    Prefix(String),
    All(bool),
}

impl Admin {
    pub(super) async fn purge(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let Some(body) = body(session).await else {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long\n");
        };
        match remove(self.response_cache, &body) {
            Some(removed) => {
                tracing::info!(removed, "answers purged from the response cache");
                let text = format!("{{\"removed\":{removed}}}\n");
                answer(StatusCode::OK, "application/json", text.into())
            }
            None => plain(StatusCode::BAD_REQUEST, FORM),
        }
    }
}

/// `None`: longer than it may be, or broken off.
async fn body(session: &mut ServerSession) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(part) = session.read_request_body().await.ok()? {
        if body.len() + part.len() > MAX_BODY {
            return None;
        }
        body.extend_from_slice(&part);
    }
    Some(body)
}

/// How many were removed; `None`: nobody knows what was meant.
fn remove(cache: ResponseCache, body: &[u8]) -> Option<usize> {
    match serde_json::from_slice(body).ok()? {
        Purge::Url(url) => Some(cache.purge(&Resource::parse(&url)?)),
        Purge::Prefix(prefix) => Some(cache.purge_below(&Resource::parse(&prefix)?)),
        Purge::All(true) => Some(cache.purge_all()),
        Purge::All(false) => None,
    }
}
