//! A fake key manager: OAuth2 token, introspection and revocation endpoints with tokens that show
//! every branch. The demo, the tests and the load test all ask this one.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use parking_lot::Mutex;
use pingora::{apps::http_app::ServeHttp, protocols::http::ServerSession};

/// Who may introspect.
pub const CLIENT_ID: &str = "gateway";
pub const CLIENT_SECRET: &str = "demo-secret";

const MAX_BODY: usize = 64 * 1024;
const LIFE: u64 = 3600;

/// How the key manager answers about a token.
#[derive(Clone, Debug)]
pub enum Reply {
    /// 200 with this JSON.
    Json(String),
    /// Anything.
    Raw {
        status: u16,
        content_type: &'static str,
        body: Vec<u8>,
    },
    /// The same, later.
    Slow(Duration, Box<Reply>),
}

impl Reply {
    /// An active token with these scopes, for an hour.
    pub fn active(client_id: &str, scope: &str) -> Self {
        let now = now();
        Self::Json(
            serde_json::json!({
                "active": true,
                "client_id": client_id,
                "sub": format!("user-of-{client_id}"),
                "username": "demo",
                "scope": scope,
                "token_type": "Bearer",
                "iat": now,
                "exp": now + LIFE,
            })
            .to_string(),
        )
    }

    pub fn inactive() -> Self {
        Self::Json(r#"{"active":false}"#.to_owned())
    }

    pub fn status(status: u16, content_type: &'static str, body: &str) -> Self {
        Self::Raw {
            status,
            content_type,
            body: body.into(),
        }
    }
}

/// An introspection request, as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

/// The fake. Clones share its state.
#[derive(Clone, Default)]
pub struct FakeKeyManager(Arc<State>);

#[derive(Default)]
struct State {
    tokens: Mutex<HashMap<String, Reply>>,
    /// What is said of tokens that are not known; inactive when `None`.
    unknown: Mutex<Option<Reply>>,
    latency: Mutex<Duration>,
    introspections: AtomicUsize,
    minted: AtomicUsize,
    last: Mutex<Option<Seen>>,
}

impl FakeKeyManager {
    /// `latency`: how long it takes over each answer.
    pub fn new(latency: Duration) -> Self {
        let fake = Self::default();
        *fake.0.latency.lock() = latency;
        fake
    }

    /// Sets what is said of a token from now on.
    pub fn set(&self, token: &str, reply: Reply) {
        self.0.tokens.lock().insert(token.to_owned(), reply);
    }

    /// Sets what is said of all other tokens.
    pub fn set_unknown(&self, reply: Reply) {
        *self.0.unknown.lock() = Some(reply);
    }

    pub fn set_latency(&self, latency: Duration) {
        *self.0.latency.lock() = latency;
    }

    /// Introspection requests so far.
    pub fn introspections(&self) -> usize {
        self.0.introspections.load(Ordering::SeqCst)
    }

    /// The last introspection request.
    pub fn last(&self) -> Option<Seen> {
        self.0.last.lock().clone()
    }

    async fn handle(&self, seen: Seen) -> Response<Vec<u8>> {
        match (seen.method.as_str(), seen.path.as_str()) {
            ("POST", "/oauth2/introspect") => self.introspect(seen).await,
            ("POST", "/oauth2/token" | "/token") => self.mint(&seen),
            ("POST", "/oauth2/revoke" | "/revoke") => self.revoke(&seen),
            ("GET", "/calls") => reply(200, "text/plain", self.introspections().to_string()),
            _ => reply(404, "text/plain", "not found\n"),
        }
    }

    async fn introspect(&self, seen: Seen) -> Response<Vec<u8>> {
        self.0.introspections.fetch_add(1, Ordering::SeqCst);
        *self.0.last.lock() = Some(seen.clone());
        let latency = *self.0.latency.lock();
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        if !has_credentials(&seen.headers) {
            return reply(401, "application/json", r#"{"error":"invalid_client"}"#);
        }
        let token = form(&seen.body).remove("token").unwrap_or_default();
        let known = self.0.tokens.lock().get(&token).cloned();
        let mut answer = known
            .or_else(|| self.0.unknown.lock().clone())
            .unwrap_or_else(Reply::inactive);
        while let Reply::Slow(delay, later) = answer {
            tokio::time::sleep(delay).await;
            answer = *later;
        }
        match answer {
            Reply::Json(json) => reply(200, "application/json", json),
            Reply::Raw {
                status,
                content_type,
                body,
            } => reply(status, content_type, body),
            Reply::Slow(..) => unreachable!("taken off above"),
        }
    }

    /// Client credentials, for anybody: this is a fake.
    fn mint(&self, seen: &Seen) -> Response<Vec<u8>> {
        let form = form(&seen.body);
        if form.get("grant_type").map(String::as_str) != Some("client_credentials") {
            return reply(
                400,
                "application/json",
                r#"{"error":"unsupported_grant_type"}"#,
            );
        }
        let number = self.0.minted.fetch_add(1, Ordering::SeqCst);
        let token = format!("minted-{number}-{:016x}", fastrand::u64(..));
        let scope = form.get("scope").map_or("", String::as_str);
        self.set(&token, Reply::active("minted", scope));
        let answer = serde_json::json!({
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": LIFE,
            "scope": scope,
        });
        reply(200, "application/json", answer.to_string())
    }

    fn revoke(&self, seen: &Seen) -> Response<Vec<u8>> {
        let token = form(&seen.body).remove("token").unwrap_or_default();
        self.set(&token, Reply::inactive());
        reply(200, "text/plain", "")
    }
}

#[async_trait]
impl ServeHttp for FakeKeyManager {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = session.read_request_body().await {
            if body.len() + chunk.len() > MAX_BODY {
                return reply(413, "text/plain", "too large\n");
            }
            body.extend_from_slice(&chunk);
        }
        let request = session.req_header();
        let seen = Seen {
            method: request.method.clone(),
            path: request.uri.path().to_owned(),
            headers: request.headers.clone(),
            body: String::from_utf8_lossy(&body).into_owned(),
        };
        self.handle(seen).await
    }
}

/// Basic, as RFC 6749 §2.3.1 has it; nothing in the demo's credentials needs encoding.
fn has_credentials(headers: &HeaderMap) -> bool {
    let expected = BASE64_STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
    headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "))
        .is_some_and(|given| given == expected)
}

fn form(body: &str) -> HashMap<String, String> {
    form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect()
}

fn reply(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Response<Vec<u8>> {
    let body = body.into();
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, length);
    response
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}
