//! Token introspection (RFC 7662): asks the key manager about one token.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use tokio::sync::Semaphore;

use super::{
    Unavailable,
    credential::Credential,
    outbound::{Answer, Fault, Outbound},
};
use crate::{
    config::KeyManagerSettings,
    domain::{BadAnswer, Secret, Verdict},
    metrics::{Metrics, Outcome},
};

/// Longest answer that is read, in bytes. Real ones have a few hundred.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Calls at a time; more wait within their own time limit.
const MAX_CALLS: usize = 512;

/// Asks about a token. The one trait of ours: tests put a fake in the key manager's place that
/// counts, blocks and fails.
#[async_trait]
pub trait Introspect: Send + Sync {
    /// # Errors
    /// [`Unavailable`] whenever there is no proper answer.
    async fn introspect(&self, token: &Secret) -> Result<Verdict, Unavailable>;
}

/// The key manager, as the gateway reaches it.
pub struct KeyManager {
    outbound: Outbound,
    url: Uri,
    host: HeaderValue,
    timeout: Duration,
    /// What follows the token in the form, encoded.
    suffix: String,
    credential: Credential,
    calls: Semaphore,
    metrics: Arc<Metrics>,
    /// Whether the last call failed: the log tells changes, not every call.
    failing: AtomicBool,
}

impl KeyManager {
    /// # Errors
    /// TLS cannot be set up, or the credentials cannot go into a header.
    pub fn new(settings: &KeyManagerSettings, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let url = settings.introspect_url.clone();
        let suffix = match &settings.token_type_hint {
            Some(hint) => form_urlencoded::Serializer::new(String::from("&"))
                .append_pair("token_type_hint", hint)
                .finish()
                .replace("&&", "&"),
            None => String::new(),
        };
        Ok(Self {
            outbound: Outbound::new(&url, settings.timeout)?,
            host: HeaderValue::from_str(url.authority().map_or("", |host| host.as_str()))?,
            url,
            timeout: settings.timeout,
            suffix,
            credential: Credential::new(&settings.credential)?,
            calls: Semaphore::new(MAX_CALLS),
            metrics,
            failing: AtomicBool::new(false),
        })
    }

    async fn call(&self, token: &Secret) -> Result<Verdict, Unavailable> {
        let work = async {
            let _permit = self
                .calls
                .acquire()
                .await
                .map_err(|_| Fail::new(Unavailable::Lost))?;
            self.metrics.introspection.in_flight.inc();
            let _in_flight = Landing(&self.metrics);
            let timed = Timed(&self.metrics, Instant::now());
            let answer = self.ask(token).await;
            drop(timed);
            read(&answer?)
        };
        let waiting_for_place = self.calls.available_permits() == 0;
        let result = match tokio::time::timeout(self.timeout, work).await {
            Ok(result) => result,
            Err(_) if waiting_for_place => Err(Fail::new(Unavailable::Overloaded)),
            Err(_) => Err(Fail::new(Unavailable::Timeout)),
        };
        self.tell(&result);
        result.map_err(|fail| fail.kind)
    }

    /// Sends the request, a second time when a kept connection turns out to be dead. Asking twice
    /// changes nothing at the key manager.
    async fn ask(&self, token: &Secret) -> Result<Answer, Fail> {
        for _ in 0..2 {
            match self
                .outbound
                .send(self.request(token), MAX_ANSWER_BYTES)
                .await
            {
                Ok(answer) => return Ok(answer),
                Err(Fault::Broken) => {}
                Err(Fault::TooLarge) => return Err(Fail::new(Unavailable::TooLarge)),
                Err(fault) => return Err(Fail::because(Unavailable::Unreachable, &fault)),
            }
        }
        Err(Fail::because(Unavailable::Unreachable, &Fault::Broken))
    }

    /// `POST` with the token in the form, never in the address (RFC 7662 §2.1).
    fn request(&self, token: &Secret) -> Request<Full<Bytes>> {
        let mut body = String::with_capacity(token.expose().len() + self.suffix.len() + 16);
        body.push_str("token=");
        body.extend(form_urlencoded::byte_serialize(token.expose().as_bytes()));
        body.push_str(&self.suffix);
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host.clone());
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static("portcullis"));
        if let Some(authorization) = self.credential.authorization() {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        request
    }

    /// Counts the call, and logs when things change for the worse or the better.
    fn tell(&self, result: &Result<Verdict, Fail>) {
        let metrics = &self.metrics.introspection;
        let outcome = match result {
            Ok(Verdict::Active(_)) => Some(Outcome::Active),
            Ok(Verdict::Inactive) => Some(Outcome::Inactive),
            Err(fail) => fail.kind.outcome(),
        };
        if let Some(outcome) = outcome {
            metrics.count(outcome);
        }
        let failing = result.is_err();
        let was_failing = self.failing.swap(failing, Ordering::Relaxed);
        match result {
            Ok(_) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                metrics
                    .last_success
                    .set(now.unwrap_or_default().as_secs_f64());
                if was_failing {
                    tracing::info!(issuer = %self.host.to_str().unwrap_or("?"), "the key manager answers again");
                }
            }
            Err(fail) if !was_failing => {
                tracing::warn!(
                    issuer = %self.host.to_str().unwrap_or("?"),
                    reason = fail.kind.reason().word(),
                    cause = fail.kind.cause(),
                    detail = fail.detail.as_deref().unwrap_or_default(),
                    "the key manager gives no verdict; more of this is counted, not logged"
                );
            }
            Err(_) => {}
        }
    }
}

#[async_trait]
impl Introspect for KeyManager {
    async fn introspect(&self, token: &Secret) -> Result<Verdict, Unavailable> {
        self.call(token).await
    }
}

/// A failed call, with what the log may say about it.
struct Fail {
    kind: Unavailable,
    detail: Option<String>,
}

impl Fail {
    fn new(kind: Unavailable) -> Self {
        Self { kind, detail: None }
    }

    fn because(kind: Unavailable, cause: &impl ToString) -> Self {
        Self {
            kind,
            detail: Some(cause.to_string()),
        }
    }
}

/// Observes the time of a call however it ends, cut off by its time limit too.
struct Timed<'a>(&'a Metrics, Instant);

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        let duration = &self.0.introspection.duration;
        duration.observe(self.1.elapsed().as_secs_f64());
    }
}

/// Takes a call off the gauge however it ends.
struct Landing<'a>(&'a Metrics);

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.0.introspection.in_flight.dec();
    }
}

/// The verdict of an answer: 200, JSON, a boolean `active`; everything else is a failure.
fn read(answer: &Answer) -> Result<Verdict, Fail> {
    match answer.status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(Fail::because(Unavailable::ClientRefused, &answer.status));
        }
        StatusCode::BAD_REQUEST if is_invalid_client(&answer.body) => {
            return Err(Fail::because(Unavailable::ClientRefused, &"invalid_client"));
        }
        StatusCode::TOO_MANY_REQUESTS => {
            return Err(Fail::new(Unavailable::RateLimited(retry_after(
                &answer.headers,
            ))));
        }
        status if status.is_server_error() => {
            return Err(Fail::because(Unavailable::ServerError, &status));
        }
        status => {
            return Err(Fail::because(
                Unavailable::UnexpectedStatus(status.as_u16()),
                &status,
            ));
        }
    }
    // Nothing is decompressed, so nothing can blow up; we asked for no encoding.
    let encoded = answer.headers.get(header::CONTENT_ENCODING);
    if encoded.is_some_and(|encoding| encoding != "identity") {
        return Err(Fail::because(
            Unavailable::BadAnswer,
            &"the answer is compressed",
        ));
    }
    Verdict::parse(&answer.body)
        .map_err(|fault: BadAnswer| Fail::because(Unavailable::BadAnswer, &fault))
}

/// An OAuth2 error of RFC 6749 §5.2 that blames the gateway's own credentials.
fn is_invalid_client(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct OAuthError {
        error: String,
    }
    serde_json::from_slice(body).is_ok_and(|OAuthError { error }| {
        error == "invalid_client" || error == "unauthorized_client" || error == "invalid_token"
    })
}

/// Seconds of a `Retry-After` header, within reason; the date form is not used by key managers.
fn retry_after(headers: &HeaderMap) -> Option<u32> {
    let seconds: u32 = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(seconds.clamp(1, 3600))
}
