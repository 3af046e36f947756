//! Who is at the other end of a connection, as far as the connection itself says it.

use std::sync::Arc;

use super::{CertificateNames, Load, Network, Passage, Progress};

/// What is known of a connection from its beginning to its end.
#[derive(Debug)]
pub struct Peer {
    /// Whose word about other addresses is taken.
    pub trusted_proxies: Arc<[Network]>,
    pub door: Door,
    pub progress: Arc<Progress>,
    /// Of all connections together, and how much of it there may be.
    pub load: Arc<Load>,
    pub max_requests: usize,
}

/// How the connection came in.
#[derive(Debug)]
pub enum Door {
    /// Without TLS.
    Plain,
    /// Without TLS, where nothing is served: requests are sent on to this port, with TLS.
    RedirectTo(u16),
    Tls(Box<TlsPeer>),
}

/// What the TLS handshake has settled.
#[derive(Debug)]
pub struct TlsPeer {
    /// The certificates of this listener, and which of them was shown.
    pub names: Arc<CertificateNames>,
    pub shown: usize,
    /// The client's own certificate, verified: DER.
    pub client_certificate: Option<Box<[u8]>>,
}

impl Peer {
    /// Begins a request; also says whether there are too many.
    pub fn begin(&self) -> (Passage, bool) {
        let (passage, count) = Passage::begin(&self.progress, &self.load);
        (passage, count > self.max_requests)
    }

    pub fn is_tls(&self) -> bool {
        matches!(self.door, Door::Tls(_))
    }

    /// Whether `host` has a certificate of its own that this connection was not shown: the client
    /// believes to speak with somebody else (RFC 9110 §7.4, §15.5.20).
    pub fn is_misdirected(&self, host: &str) -> bool {
        match &self.door {
            Door::Tls(tls) => tls.names.find(host).is_some_and(|found| found != tls.shown),
            Door::Plain | Door::RedirectTo(_) => false,
        }
    }
}
