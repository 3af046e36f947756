//! HTTP towards the key manager, for what a request waits for: asynchronous, pooled, bounded.
//!
//! hyper is the cheapest client for this that was measured (`docs/performance.md`). It follows no
//! redirects and reads no proxy variables, so that nothing but the configuration decides where
//! tokens go.

use std::{error::Error, fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use super::tls;
use crate::config::TlsSettings;

/// Connections that may wait for the next call.
const MAX_IDLE_CONNECTIONS: usize = 256;
/// Common servers close theirs after 5 s to 75 s; ours go first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// The client. Clones share one pool.
#[derive(Clone)]
pub struct Outbound(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// A whole answer.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why there is no answer. Repeats nothing of request or answer.
#[derive(Debug)]
pub enum Fault {
    /// No connection: name, address, TLS.
    Connect(String),
    /// The connection broke off before the answer began.
    Broken,
    /// It broke off in the answer.
    Incomplete,
    /// The body is longer than allowed.
    TooLarge,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(cause) => f.write_str(cause),
            Self::Broken => f.write_str("the connection broke off before the answer"),
            Self::Incomplete => f.write_str("the connection broke off in the answer"),
            Self::TooLarge => f.write_str("the answer is too large"),
        }
    }
}

impl Outbound {
    /// `connect_timeout` covers name, TCP and TLS of one connection.
    ///
    /// # Errors
    /// `url` is https and this machine has no certificate authorities.
    pub fn new(url: &Uri, tls: &TlsSettings, connect_timeout: Duration) -> anyhow::Result<Self> {
        let encrypted = url.scheme() == Some(&http::uri::Scheme::HTTPS);
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.enforce_http(false);
        http.set_connect_timeout(Some(connect_timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::client_config(tls, encrypted)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .build(connector);
        Ok(Self(client))
    }

    /// Sends a request and reads the whole answer, up to `max_body` bytes.
    ///
    /// # Errors
    /// See [`Fault`]. There is no time limit: that is the caller's.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        max_body: usize,
    ) -> Result<Answer, Fault> {
        let answer = self
            .0
            .request(request)
            .await
            .map_err(|fault| match fault.is_connect() {
                true => Fault::Connect(root_cause(&fault)),
                false => Fault::Broken,
            })?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, max_body)
            .collect()
            .await
            .map_err(
                |fault| match fault.is::<http_body_util::LengthLimitError>() {
                    true => Fault::TooLarge,
                    false => Fault::Incomplete,
                },
            )?;
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
        })
    }
}

/// The innermost cause: `connection refused` rather than `client error`.
fn root_cause(fault: &dyn Error) -> String {
    let mut cause = fault;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
