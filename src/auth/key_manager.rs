//! Token introspection (RFC 7662): asks the key manager about one token.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use tokio::sync::Semaphore;

use super::{
    Unavailable,
    control_plane::ControlPlane,
    credential::{Credential, Proof},
    outbound::{Answer, Fault, Outbound},
    upkeep::{Endpoint, KeyManagerReadiness, Upkeep},
};
use crate::{
    config::{EndpointSettings, KeyManagerSettings},
    domain::{BadAnswer, Secret, Verdict, VouchedBy},
    metrics::{IssuerMetrics, Metrics, Outcome},
    telemetry::{TRACEPARENT, TraceContext},
};

/// Longest answer that is read, in bytes. Real ones have a few hundred.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Calls at a time; more wait within their own time limit.
const MAX_CALLS: usize = 512;

/// Asks about a token. The one trait of ours: tests put a fake in the key manager's place that
/// counts, blocks and fails.
#[async_trait]
pub trait Introspect: Send + Sync {
    /// # Errors
    /// [`Unavailable`] whenever there is no proper answer.
    async fn introspect(&self, question: &Question) -> Result<Verdict, Unavailable>;
}

/// What the key manager is asked.
pub struct Question {
    pub token: Secret,
    /// The span of this call, in the trace of the request that asks first.
    pub trace: TraceContext,
}

/// The key manager, as the gateway reaches it.
pub struct KeyManager {
    outbound: Outbound,
    /// Host and port, for the log.
    name: String,
    endpoint: Arc<OnceLock<Endpoint>>,
    timeout: Duration,
    /// What follows the token in the form, encoded.
    suffix: String,
    extra_headers: Vec<(HeaderName, HeaderValue)>,
    credential: Credential,
    calls: Semaphore,
    /// Stands behind what it answers.
    vouched_by: Arc<VouchedBy>,
    metrics: Arc<IssuerMetrics>,
    /// Whether the last call failed: the log tells changes, not every call.
    failing: AtomicBool,
}

impl KeyManager {
    /// The key manager, and the work in the background that it needs.
    ///
    /// # Errors
    /// TLS cannot be set up, or the credentials cannot go into a header.
    pub fn new(settings: &KeyManagerSettings, metrics: &Metrics) -> anyhow::Result<(Self, Upkeep)> {
        let metrics = metrics.issuer(&settings.name);
        let (credential, source) = Credential::new(settings, &metrics)?;
        let endpoint = Arc::new(OnceLock::new());
        let issuer = match &settings.endpoint {
            EndpointSettings::At(url) => {
                let _ = endpoint.set(Endpoint::new(url.clone())?);
                None
            }
            EndpointSettings::DiscoveredFrom(issuer) => Some(issuer.clone()),
        };
        let upkeep = Upkeep::new(
            issuer,
            Arc::clone(&endpoint),
            ControlPlane::new(&settings.tls),
            credential.keeper().cloned().zip(source),
        );
        let key_manager = Self {
            outbound: Outbound::new(settings.endpoint.url(), &settings.tls, settings.timeout)?,
            name: settings.name.clone(),
            endpoint,
            timeout: settings.timeout,
            suffix: suffix(settings),
            extra_headers: settings.extra_headers.clone(),
            credential,
            calls: Semaphore::new(MAX_CALLS),
            vouched_by: Arc::new(VouchedBy::new(
                settings.known_as.as_deref(),
                settings.validate_subscriptions,
            )),
            metrics,
            failing: AtomicBool::new(false),
        };
        Ok((key_manager, upkeep))
    }

    /// Tells, from now on, whether the key manager can be asked.
    pub fn readiness(&self) -> KeyManagerReadiness {
        KeyManagerReadiness::new(
            Arc::clone(&self.endpoint),
            self.credential.keeper().cloned(),
        )
    }

    async fn call(&self, question: &Question) -> Result<Verdict, Unavailable> {
        let work = async {
            let _permit = {
                let _waiting = Queueing::new(&self.metrics);
                let place = self.calls.acquire().await;
                place.map_err(|_| Fail::new(Unavailable::Lost))?
            };
            self.metrics.introspection.in_flight.inc();
            let _in_flight = Landing(&self.metrics);
            self.ask_with_proof(question).await
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

    /// Asks; a second time, with a new token of our own, when the first one was refused. Never a
    /// third time.
    async fn ask_with_proof(&self, question: &Question) -> Result<Verdict, Fail> {
        let endpoint = self
            .endpoint
            .get()
            .ok_or(Fail::new(Unavailable::NotReady))?;
        let mut proof = self.credential.proof(&endpoint.url).map_err(Fail::new)?;
        let mut result = self.ask_once(endpoint, question, &proof).await;
        if let (Some(keeper), Some(generation)) = (self.credential.keeper(), proof.generation) {
            let refused = matches!(&result, Err(fail) if fail.kind == Unavailable::ClientRefused);
            if refused && keeper.replaced(generation, self.timeout / 2).await {
                proof = self.credential.proof(&endpoint.url).map_err(Fail::new)?;
                result = self.ask_once(endpoint, question, &proof).await;
            }
            if result.is_ok() {
                keeper.accepted(proof.generation.unwrap_or(generation));
            }
        }
        result
    }

    async fn ask_once(
        &self,
        endpoint: &Endpoint,
        question: &Question,
        proof: &Proof,
    ) -> Result<Verdict, Fail> {
        let timed = Timed(&self.metrics, Instant::now());
        let answer = self.ask(endpoint, question, proof).await;
        drop(timed);
        read(&answer?, &self.vouched_by)
    }

    /// Sends the request, a second time when a kept connection turns out to be dead. Asking twice
    /// changes nothing at the key manager.
    async fn ask(
        &self,
        endpoint: &Endpoint,
        question: &Question,
        proof: &Proof,
    ) -> Result<Answer, Fail> {
        for _ in 0..2 {
            let request = self.request(endpoint, question, proof);
            match self.outbound.send(request, MAX_ANSWER_BYTES).await {
                Ok(answer) => return Ok(answer),
                Err(Fault::Broken) => {}
                Err(Fault::TooLarge) => return Err(Fail::new(Unavailable::TooLarge)),
                Err(fault) => return Err(Fail::because(Unavailable::Unreachable, &fault)),
            }
        }
        Err(Fail::because(Unavailable::Unreachable, &Fault::Broken))
    }

    /// `POST` with the token in the form, never in the address (RFC 7662 §2.1).
    fn request(
        &self,
        endpoint: &Endpoint,
        question: &Question,
        proof: &Proof,
    ) -> Request<Full<Bytes>> {
        let token = question.token.expose();
        let form = proof.form.as_ref().map_or("", |form| form.as_str());
        let length = token.len() + self.suffix.len() + form.len() + 16;
        let mut body = String::with_capacity(length);
        body.push_str("token=");
        body.extend(form_urlencoded::byte_serialize(token.as_bytes()));
        body.push_str(&self.suffix);
        body.push_str(form);
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = endpoint.url.clone();
        let headers = request.headers_mut();
        headers.insert(header::HOST, endpoint.host.clone());
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static("portcullis"));
        headers.insert(TRACEPARENT, question.trace.header());
        for (name, value) in &self.extra_headers {
            headers.insert(name.clone(), value.clone());
        }
        if let Some(authorization) = &proof.authorization {
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
                    tracing::info!(issuer = %self.name, "the key manager answers again");
                }
            }
            Err(fail) if !was_failing => {
                tracing::warn!(
                    issuer = %self.name,
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
    async fn introspect(&self, question: &Question) -> Result<Verdict, Unavailable> {
        self.call(question).await
    }
}

/// What follows the token in the form: the hint, and whatever the operator adds.
fn suffix(settings: &KeyManagerSettings) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    if let Some(hint) = &settings.token_type_hint {
        form.append_pair("token_type_hint", hint);
    }
    form.extend_pairs(&settings.extra_params);
    match form.finish() {
        form if form.is_empty() => form,
        form => format!("&{form}"),
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
struct Timed<'a>(&'a IssuerMetrics, Instant);

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        let duration = &self.0.introspection.duration;
        duration.observe(self.1.elapsed().as_secs_f64());
    }
}

/// Counts a call that waits for its place, until it has it or gives up.
struct Queueing<'a>(&'a IssuerMetrics);

impl<'a> Queueing<'a> {
    fn new(metrics: &'a IssuerMetrics) -> Self {
        metrics.introspection.queue_depth.inc();
        Self(metrics)
    }
}

impl Drop for Queueing<'_> {
    fn drop(&mut self) {
        self.0.introspection.queue_depth.dec();
    }
}

/// Takes a call off the gauge however it ends.
struct Landing<'a>(&'a IssuerMetrics);

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.0.introspection.in_flight.dec();
    }
}

/// The verdict of an answer: 200, JSON, a boolean `active`; everything else is a failure.
fn read(answer: &Answer, vouched_by: &Arc<VouchedBy>) -> Result<Verdict, Fail> {
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
    Verdict::parse(&answer.body, vouched_by)
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
