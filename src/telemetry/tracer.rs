//! Which traces are kept, and their way to a collector: a bounded queue, a thread of its own, OTLP over
//! HTTP. No request waits for it; what does not fit is dropped and counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};

use super::{Span, TraceContext, otlp};
use crate::{config::TracingSettings, metrics::Metrics};

/// Requests whose spans may wait.
const QUEUE: usize = 2048;
/// Spans in one export, and how long they are collected.
const MAX_BATCH: usize = 1024;
const COLLECT: Duration = Duration::from_secs(1);
/// For one export.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Pauses after a failure that may pass, one before each new try.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];
/// Longest answer of a collector that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// Decides which traces are kept, and takes their spans.
pub struct Tracer {
    /// Part of the traces that begin here which is kept.
    sample: f64,
    queue: SyncSender<Message>,
    closing: Arc<AtomicBool>,
    exporter: Mutex<Option<JoinHandle<()>>>,
    metrics: Arc<Metrics>,
}

enum Message {
    Spans(Vec<Span>),
    /// Nothing comes after this.
    End,
}

impl Tracer {
    /// Starts the exporter; `None` where there is nowhere to send to.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        settings: &TracingSettings,
        metrics: &Arc<Metrics>,
    ) -> std::io::Result<Option<Self>> {
        let Some(endpoint) = &settings.endpoint else {
            return Ok(None);
        };
        let (queue, waiting) = sync_channel(QUEUE);
        let closing = Arc::new(AtomicBool::new(false));
        let exporter = Exporter {
            agent: agent(),
            endpoint: endpoint.clone(),
            settings: settings.clone(),
            closing: Arc::clone(&closing),
            metrics: Arc::clone(metrics),
            failing: false,
        };
        let exporter = std::thread::Builder::new()
            .name("traces".to_owned())
            .spawn(move || exporter.run(&waiting))?;
        Ok(Some(Self {
            sample: settings.sample,
            queue,
            closing,
            exporter: Mutex::new(Some(exporter)),
            metrics: Arc::clone(metrics),
        }))
    }

    /// Decides about a trace that begins here. One that goes on here has been decided about by whoever
    /// began it: half of a trace helps nobody.
    pub fn decide(&self, trace: &mut TraceContext) {
        if !trace.is_continued() && fastrand::f64() < self.sample {
            trace.set_sampled();
        }
    }

    /// Takes the spans of one request.
    pub fn take(&self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        if self.queue.try_send(Message::Spans(spans)).is_err() {
            self.metrics.trace_spans_dropped.inc_by(count);
        }
    }

    /// Sends what is there, once, and ends. Spans that come after this are lost.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        if let Some(exporter) = self.exporter.lock().take() {
            exporter.thread().unpark();
            // The exporter goes on to read, so there is room in the end.
            let _ = self.queue.send(Message::End);
            // One that panicked has nothing more to say.
            let _ = exporter.join();
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.close();
    }
}

/// Follows no redirects and reads no proxy variables.
fn agent() -> Agent {
    let roots = rustls_native_certs::load_native_certs()
        .certs
        .iter()
        .map(|authority| Certificate::from_der(authority).to_owned())
        .collect();
    let provider: CryptoProvider = rustls::crypto::ring::default_provider();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(provider))
        .build();
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(TIMEOUT))
        .tls_config(tls)
        .user_agent("portcullis")
        .build()
        .new_agent()
}

struct Exporter {
    agent: Agent,
    endpoint: http::Uri,
    settings: TracingSettings,
    closing: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    /// Whether the last export failed: the log tells changes, not every one.
    failing: bool,
}

/// Why an export failed.
struct Failure {
    what: String,
    /// Whether it may go better soon (OTLP specification, "Failures").
    passing: bool,
}

impl Exporter {
    fn run(mut self, waiting: &Receiver<Message>) {
        while let Ok(Message::Spans(spans)) = waiting.recv() {
            let (batch, ended) = collect(spans, waiting);
            self.deliver(&batch);
            if ended {
                return;
            }
        }
    }

    /// Exports a batch, or counts it as dropped.
    fn deliver(&mut self, batch: &[Span]) {
        let count = batch.len() as u64;
        if self.failing && self.closing.load(Ordering::Acquire) {
            return self.metrics.trace_spans_dropped.inc_by(count);
        }
        let body = otlp::body(&self.settings.service_name, batch);
        let mut result = self.export(&body);
        for pause in PAUSES {
            let again = matches!(&result, Err(failure) if failure.passing);
            if !again || self.closing.load(Ordering::Acquire) {
                break;
            }
            std::thread::park_timeout(pause);
            result = self.export(&body);
        }
        let was_failing = std::mem::replace(&mut self.failing, result.is_err());
        match result {
            Ok(rejected) => {
                self.metrics.trace_spans_dropped.inc_by(rejected.min(count));
                if was_failing {
                    tracing::info!("the collector takes traces again");
                }
            }
            Err(failure) => {
                self.metrics.trace_spans_dropped.inc_by(count);
                if !was_failing {
                    tracing::warn!(
                        endpoint = %self.endpoint,
                        cause = failure.what,
                        "traces cannot be exported; more of this is counted, not logged"
                    );
                }
            }
        }
    }

    /// How many of the spans the collector took back.
    fn export(&self, body: &[u8]) -> Result<u64, Failure> {
        let mut request = self
            .agent
            .post(&self.endpoint)
            .header(http::header::CONTENT_TYPE, "application/json");
        for (name, value) in &self.settings.headers {
            request = request.header(name, value);
        }
        let mut answer = request.send(body).map_err(|fault| Failure {
            what: told(&fault),
            passing: true,
        })?;
        let status = answer.status();
        if !status.is_success() {
            return Err(Failure {
                what: status.to_string(),
                passing: matches!(status.as_u16(), 429 | 502 | 503 | 504),
            });
        }
        let answer = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES);
        // It took the spans, whatever it says of them.
        let answer = answer.read_to_vec().unwrap_or_default();
        Ok(otlp::rejected(&answer))
    }
}

/// Adds to `batch` what comes within a while; also whether that was the last.
fn collect(mut batch: Vec<Span>, waiting: &Receiver<Message>) -> (Vec<Span>, bool) {
    let deadline = Instant::now() + COLLECT;
    while batch.len() < MAX_BATCH {
        let left = deadline.saturating_duration_since(Instant::now());
        match waiting.recv_timeout(left) {
            Ok(Message::Spans(spans)) => batch.extend(spans),
            Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return (batch, true),
            Err(RecvTimeoutError::Timeout) => break,
        }
    }
    (batch, false)
}

/// Without what the request carried.
fn told(fault: &ureq::Error) -> String {
    match fault {
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::Io(fault) => fault.kind().to_string(),
        ureq::Error::HostNotFound => "the host has no address".to_owned(),
        ureq::Error::ConnectionFailed => "no connection".to_owned(),
        ureq::Error::Rustls(fault) => fault.to_string(),
        _ => "the answer is not HTTP".to_owned(),
    }
}
