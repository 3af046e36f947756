//! The admin listener: metrics, health and the status page, on an address of its own. Read-only, but for
//! the reload and the purge of the response cache.

mod purge;
mod reload;
mod status;

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use pingora::{apps::http_app::ServeHttp, protocols::http::ServerSession};
use ring::{digest, hmac};
use zeroize::Zeroizing;

pub use reload::{GUARD as RELOAD_GUARD, PATH as RELOAD_PATH};
pub use status::{INTERVAL, Status};

use crate::{
    auth::Readiness,
    domain::Secret,
    lifecycle::{Lifecycle, Reloader},
    metrics::Metrics,
    response_cache::ResponseCache,
};

const TEXT: &str = "text/plain; charset=utf-8";
/// What the status page may do in a browser: show itself.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers on the admin listener.
pub struct Admin {
    metrics: Arc<Metrics>,
    lifecycle: Arc<Lifecycle>,
    status: Arc<Status>,
    /// The gateway is not ready before it can ask about tokens.
    asking: Arc<ArcSwap<Readiness>>,
    reloader: Reloader,
    response_cache: ResponseCache,
    /// Digest of the token that `/metrics` asks for.
    token: Option<digest::Digest>,
}

impl Admin {
    pub fn new(
        metrics: Arc<Metrics>,
        lifecycle: Arc<Lifecycle>,
        status: Arc<Status>,
        asking: Arc<ArcSwap<Readiness>>,
        reloader: Reloader,
        response_cache: ResponseCache,
        token: Option<&Secret>,
    ) -> Self {
        let token = token.map(|token| digest::digest(&digest::SHA256, token.expose().as_bytes()));
        Self {
            metrics,
            lifecycle,
            status,
            asking,
            reloader,
            response_cache,
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
                "waiting for the gateway's own token, the key manager's endpoints, or an issuer's keys\n",
            ),
            "/readyz" if !self.status.knows_subscriptions() => plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "waiting for the first list of subscriptions\n",
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
            "/" => page(self.status.page()),
            "/metrics" => self.metrics(),
            _ => plain(StatusCode::NOT_FOUND, "there is nothing here: see /\n"),
        }
    }

    fn can_ask(&self) -> bool {
        self.asking.load().is_ready()
    }

    /// Whoever may change something has the admin token or, where there is none, is no web page.
    /// This is the answer for everybody else.
    fn may_not_act(&self, headers: &HeaderMap) -> Option<Response<Vec<u8>>> {
        if !self.may_see(headers) {
            return Some(unauthorized());
        }
        if self.token.is_none() && !headers.contains_key(reload::GUARD) {
            let words = "send the header X-Portcullis-Admin, which web pages cannot\n";
            return Some(plain(StatusCode::FORBIDDEN, words));
        }
        None
    }

    /// Probes carry no token and tell nothing; everything else may name upstreams.
    fn may_see(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| given_token(value.as_bytes()));
        given.is_some_and(|given| is_same(&digest::digest(&digest::SHA256, &given), token))
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

/// The token of an `Authorization` header: as a bearer token or, for browsers, as the password of any
/// user (RFC 7617).
fn given_token(value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if let Some(token) = value.strip_prefix(b"Bearer ") {
        return Some(token.to_vec().into());
    }
    let mut decoded = Zeroizing::new(
        BASE64_STANDARD
            .decode(value.strip_prefix(b"Basic ")?)
            .ok()?,
    );
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(decoded.split_off(colon + 1).into())
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
        if request.method == Method::POST
            && let path @ (reload::PATH | purge::PATH) = request.uri.path()
        {
            let purges = path == purge::PATH;
            return match self.may_not_act(&request.headers) {
                Some(refusal) => refusal,
                None if purges => self.purge(session).await,
                None => self.reload().await,
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
    for challenge in [
        "Bearer",
        "Basic realm=\"portcullis admin: the token as password\"",
    ] {
        let challenge = HeaderValue::from_static(challenge);
        answer
            .headers_mut()
            .append(header::WWW_AUTHENTICATE, challenge);
    }
    answer
}

fn page(body: Vec<u8>) -> Response<Vec<u8>> {
    let mut answer = answer(StatusCode::OK, "text/html; charset=utf-8", body);
    let policy = HeaderValue::from_static(PAGE_POLICY);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
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
    use arc_swap::ArcSwap;

    use super::*;
    use crate::lifecycle::Stage;
    use crate::{
        auth::Revocations,
        config::LimitSettings,
        domain::{ErrorFormat, RouteTable},
        gateway::{Parts, Snapshot},
        limits::Limiters,
        response_cache::Bounds,
    };

    fn admin(token: Option<&str>) -> Admin {
        let metrics = Arc::new(Metrics::new().unwrap());
        let lifecycle = Arc::new(Lifecycle::new(Arc::clone(&metrics)));
        let (reloader, _) = crate::lifecycle::channel();
        let parts = Parts {
            backend_jwt: None,
            routes: RouteTable::new(Vec::new()).unwrap(),
            upstreams: Vec::new(),
            verifier: None,
            subscriptions: None,
            errors: ErrorFormat::default(),
            revocations: Arc::new(Revocations::new(&[0; 32], Arc::clone(&metrics.revocation))),
            limits: LimitSettings::default(),
            limiters: Limiters::default(),
            tier_counts: Arc::default(),
        };
        let snapshot = ArcSwap::from_pointee(Snapshot::new(parts, &metrics));
        let status = Status::new(
            Arc::clone(&metrics),
            Arc::clone(&lifecycle),
            Arc::new(snapshot),
            Arc::default(),
        );
        let bounds = Bounds {
            memory: 1 << 20,
            disk: 0,
        };
        Admin::new(
            Arc::clone(&metrics),
            lifecycle,
            Arc::new(status),
            Arc::default(),
            reloader,
            ResponseCache::new(bounds, None, metrics.response_cache.clone()).unwrap(),
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
            ("/", None, 401),
            ("/", Some("Basic YW55Ym9keTpzM2NyZXQ="), 200),
            ("/", Some("Basic YW55Ym9keTpzM2NyZQ=="), 401),
            ("/", Some("Basic czNjcmV0"), 401),
            ("/", Some("Basic ==="), 401),
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
