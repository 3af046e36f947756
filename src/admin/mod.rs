//! The admin listener: metrics and health, on an address of its own. Read-only, but for the reload.

mod reload;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use pingora::{apps::http_app::ServeHttp, protocols::http::ServerSession};
use ring::{digest, hmac};

pub use reload::{GUARD as RELOAD_GUARD, PATH as RELOAD_PATH};

use crate::{
    auth::Readiness,
    domain::Secret,
    lifecycle::{Lifecycle, Reloader},
    metrics::Metrics,
};

const TEXT: &str = "text/plain; charset=utf-8";
const INDEX: &str = "portcullis admin\n\n\
    /metrics  Prometheus text format\n\
    /healthz  the process is alive\n\
    /readyz   it takes requests\n\n\
    POST /admin/reload  take up the changed configuration\n";

/// Answers on the admin listener.
pub struct Admin {
    metrics: Arc<Metrics>,
    lifecycle: Arc<Lifecycle>,
    /// The gateway is not ready before it can ask about tokens.
    asking: Arc<ArcSwapOption<Readiness>>,
    reloader: Reloader,
    /// Digest of the token that `/metrics` asks for.
    token: Option<digest::Digest>,
}

impl Admin {
    pub fn new(
        metrics: Arc<Metrics>,
        lifecycle: Arc<Lifecycle>,
        asking: Arc<ArcSwapOption<Readiness>>,
        reloader: Reloader,
        token: Option<&Secret>,
    ) -> Self {
        let token = token.map(|token| digest::digest(&digest::SHA256, token.expose().as_bytes()));
        Self {
            metrics,
            lifecycle,
            asking,
            reloader,
            token,
        }
    }

    fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Vec<u8>> {
        if method != Method::GET && method != Method::HEAD {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            let allow = HeaderValue::from_static("GET, HEAD");
            answer.headers_mut().insert(header::ALLOW, allow);
            return answer;
        }
        match path {
            "/healthz" | "/livez" => plain(StatusCode::OK, "ok\n"),
            "/readyz" if !self.can_ask() => plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "waiting for the gateway's own token, or for the key manager's endpoints\n",
            ),
            "/readyz" => {
                let stage = self.lifecycle.stage();
                let status = match stage.is_ready() {
                    true => StatusCode::OK,
                    false => StatusCode::SERVICE_UNAVAILABLE,
                };
                answer(status, TEXT, format!("{}\n", stage.word()).into())
            }
            _ if !self.may_see(headers) => unauthorized(),
            "/" => plain(StatusCode::OK, INDEX),
            "/metrics" => self.metrics(),
            _ => plain(StatusCode::NOT_FOUND, "there is nothing here: see /\n"),
        }
    }

    fn can_ask(&self) -> bool {
        let asking = self.asking.load();
        asking.as_ref().is_none_or(|asking| asking.is_ready())
    }

    fn needs_token(&self) -> bool {
        self.token.is_some()
    }

    /// Probes carry no token and tell nothing; everything else may name upstreams.
    fn may_see(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        given.is_some_and(|given| is_same(&digest::digest(&digest::SHA256, given), token))
    }

    fn metrics(&self) -> Response<Vec<u8>> {
        match self.metrics.encode() {
            Ok(text) => answer(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                text,
            ),
            Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "metrics failed\n"),
        }
    }
}

/// Compares in a time that does not depend on where two digests differ.
fn is_same(one: &digest::Digest, other: &digest::Digest) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, one.as_ref());
    let tag = hmac::sign(&key, one.as_ref());
    hmac::verify(&key, other.as_ref(), tag.as_ref()).is_ok()
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        if request.method == Method::POST && request.uri.path() == reload::PATH {
            return match self.may_see(&request.headers) {
                true => self.reload(&request.headers).await,
                false => unauthorized(),
            };
        }
        let mut answer = self.answer(&request.method, request.uri.path(), &request.headers);
        if request.method == Method::HEAD {
            answer.body_mut().clear();
        }
        answer
    }
}

fn unauthorized() -> Response<Vec<u8>> {
    let mut answer = plain(StatusCode::UNAUTHORIZED, "this needs the admin token\n");
    let challenge = HeaderValue::from_static("Bearer");
    answer
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    answer
}

fn plain(status: StatusCode, text: &'static str) -> Response<Vec<u8>> {
    answer(status, TEXT, text.into())
}

fn answer(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let length = HeaderValue::from(body.len());
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::Stage;

    fn admin(token: Option<&str>) -> Admin {
        let metrics = Arc::new(Metrics::new().unwrap());
        let lifecycle = Arc::new(Lifecycle::new(Arc::clone(&metrics)));
        let (reloader, _) = crate::lifecycle::channel();
        Admin::new(
            metrics,
            lifecycle,
            Arc::default(),
            reloader,
            token.map(Secret::new).as_ref(),
        )
    }

    fn get(admin: &Admin, path: &str, authorization: Option<&str>) -> u16 {
        let mut headers = HeaderMap::new();
        if let Some(authorization) = authorization {
            headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        }
        admin.answer(&Method::GET, path, &headers).status().as_u16()
    }

    #[test]
    fn readiness_follows_the_life_of_the_process() {
        let admin = admin(None);
        assert_eq!(get(&admin, "/readyz", None), 503);
        admin.lifecycle.enter(Stage::Ready);
        assert_eq!(get(&admin, "/readyz", None), 200);
        admin.lifecycle.enter(Stage::LameDuck);
        assert_eq!(get(&admin, "/readyz", None), 503);
        assert_eq!(get(&admin, "/healthz", None), 200);
    }

    #[test]
    fn a_token_guards_all_but_the_probes() {
        let admin = admin(Some("s3cret"));
        for (path, authorization, status) in [
            ("/metrics", None, 401),
            ("/metrics", Some("Bearer s3cre"), 401),
            ("/metrics", Some("Bearer s3cret2"), 401),
            ("/metrics", Some("Bearer s3cret"), 200),
            ("/nothing", None, 401),
            ("/healthz", None, 200),
        ] {
            assert_eq!(get(&admin, path, authorization), status, "{path}");
        }
    }

    #[test]
    fn nothing_but_reading() {
        let answer = admin(None).answer(&Method::POST, "/metrics", &HeaderMap::new());
        assert_eq!(answer.status(), 405);
        assert_eq!(answer.headers()[header::ALLOW], "GET, HEAD");
    }
}
