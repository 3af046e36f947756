//! HTTP towards token endpoints, metadata documents and sources of subscriptions: off the request path,
//! blocking, rare.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, StatusCode, Uri, header};
use rustls::pki_types::PrivateKeyDer;
use ureq::{
    Agent,
    tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig},
};

use zeroize::Zeroizing;

use super::tls;
use crate::config::TlsSettings;

/// For a whole exchange.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// Blocking client. Follows no redirects and reads no proxy variables.
#[derive(Clone)]
pub struct ControlPlane(Agent);

/// An answer, whatever its status.
pub struct Reply {
    pub status: StatusCode,
    /// May hold a token: wiped when dropped.
    pub body: Zeroizing<Vec<u8>>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoReply {
    Timeout,
    /// The answer is longer than allowed.
    TooLarge,
    /// No connection, or it broke off; in words that repeat nothing of the request.
    Unreachable(String),
}

impl ControlPlane {
    pub fn new(settings: &TlsSettings) -> Self {
        Self(agent(settings, TIMEOUT))
    }

    /// Posts a form. Blocks.
    pub fn post_form(
        &self,
        url: &Uri,
        authorization: Option<&HeaderValue>,
        form: &str,
    ) -> Result<Reply, NoReply> {
        let mut request = self
            .0
            .post(url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json");
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        read(request.send(form))
    }

    /// Gets a document. Blocks.
    pub fn get(&self, url: &Uri) -> Result<Reply, NoReply> {
        let request = self.0.get(url).header(header::ACCEPT, "application/json");
        read(request.call())
    }
}

/// A blocking client as the gateway wants them: it follows no redirects, reads no proxy variables, and
/// takes every status for an answer. `timeout` is for a whole exchange.
pub fn agent(settings: &TlsSettings, timeout: Duration) -> Agent {
    let roots = tls::authorities(settings)
        .iter()
        .map(|authority| Certificate::from_der(authority).to_owned())
        .collect();
    let client = settings.client.as_ref().map(|client| {
        let chain: Vec<Certificate<'static>> = client
            .chain
            .iter()
            .map(|certificate| Certificate::from_der(certificate).to_owned())
            .collect();
        ClientCert::new_with_certs(&chain, private_key(&client.key))
    });
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .client_cert(client)
        .unversioned_rustls_crypto_provider(tls::provider())
        .build();
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(timeout))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .tls_config(tls)
        .user_agent("portcullis")
        .build();
    config.new_agent()
}

/// The client takes keys by PEM alone.
fn private_key(key: &PrivateKeyDer<'static>) -> PrivateKey<'static> {
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let der = BASE64_STANDARD.encode(key.secret_der());
    let pem = Zeroizing::new(format!(
        "-----BEGIN {label}-----\n{der}\n-----END {label}-----\n"
    ));
    PrivateKey::from_pem(pem.as_bytes()).unwrap_or_else(|_| unreachable!("made on the line above"))
}

fn read(answer: Result<http::Response<ureq::Body>, ureq::Error>) -> Result<Reply, NoReply> {
    let mut answer = answer.map_err(NoReply::from)?;
    let body = answer
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER_BYTES)
        .read_to_vec()
        .map_err(NoReply::from)?;
    Ok(Reply {
        status: answer.status(),
        body: body.into(),
    })
}

impl From<ureq::Error> for NoReply {
    fn from(fault: ureq::Error) -> Self {
        match fault {
            ureq::Error::Timeout(_) => Self::Timeout,
            ureq::Error::BodyExceedsLimit(_) => Self::TooLarge,
            ureq::Error::Io(fault) => Self::Unreachable(io_cause(&fault)),
            ureq::Error::HostNotFound => Self::Unreachable("the host has no address".to_owned()),
            ureq::Error::ConnectionFailed => Self::Unreachable("no connection".to_owned()),
            ureq::Error::Rustls(fault) => Self::Unreachable(fault.to_string()),
            _ => Self::Unreachable("the answer is not HTTP".to_owned()),
        }
    }
}

/// TLS tells its own faults through this one, too.
fn io_cause(fault: &std::io::Error) -> String {
    let inner = fault.get_ref();
    let of_tls = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
    of_tls.map_or_else(|| fault.kind().to_string(), ToString::to_string)
}
