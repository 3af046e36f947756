//! TLS for clients: versions and suites, certificates by name, certificates of clients.

use std::{io, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::wire::Wire;
use crate::{
    config::{ClientCertificates, Listen, ServerCertificate},
    domain::{CertificateNames, TlsPeer},
    metrics::{DownstreamMetrics, HandshakeFault},
};

const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// What is needed for a handshake.
pub struct Tls {
    acceptor: TlsAcceptor,
    certificates: Arc<Certificates>,
}

impl Tls {
    /// # Errors
    /// The authorities of client certificates cannot be used.
    pub fn new(settings: &Listen, metrics: &DownstreamMetrics) -> anyhow::Result<Self> {
        let certificates = Arc::new(Certificates::new(&settings.certificates, metrics));
        // TLS 1.2 has ECDHE and AEAD only here, and neither renegotiation nor compression (RFC 9325).
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])?;
        let verifier = client_verifier(&settings.client_certificates, provider)?;
        let resumes = verifier.is_none();
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&certificates) as _);
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        if resumes {
            config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        } else {
            // A session that goes on would outlive its client's certificate.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificates,
        })
    }

    /// # Errors
    /// Whatever ends a handshake; the client has been sent an alert.
    pub async fn shake_hands(&self, wire: Wire) -> io::Result<(TlsStream<Wire>, TlsPeer)> {
        let stream = self.acceptor.accept(wire).await?;
        let session = stream.get_ref().1;
        let shown = self.certificates.0.load();
        let certificate = session
            .peer_certificates()
            .and_then(|chain| Some(Box::from(&**chain.first()?)));
        let peer = TlsPeer {
            shown: shown.position(session.server_name()),
            names: Arc::clone(&shown.names),
            client_certificate: certificate,
        };
        Ok((stream, peer))
    }

    /// Reads certificates again whose files have changed. What cannot be used is told, and the old
    /// one stays. Blocks.
    pub fn refresh(&self, metrics: &DownstreamMetrics) {
        self.certificates.refresh(metrics);
    }
}

pub fn is_http2(stream: &TlsStream<Wire>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}

fn client_verifier(
    settings: &ClientCertificates,
    provider: Arc<CryptoProvider>,
) -> anyhow::Result<Option<Arc<dyn ClientCertVerifier>>> {
    let (roots, is_optional) = match settings {
        ClientCertificates::Off => return Ok(None),
        ClientCertificates::Optional(roots) => (roots, true),
        ClientCertificates::Required(roots) => (roots, false),
    };
    let roots = Arc::new(roots.clone());
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
    if is_optional {
        builder = builder.allow_unauthenticated();
    }
    Ok(Some(builder.build()?))
}

/// The certificates of a listener; connections keep what they were shown.
#[derive(Debug)]
struct Certificates(ArcSwap<Shown>);

#[derive(Debug)]
struct Shown {
    names: Arc<CertificateNames>,
    list: Vec<ServerCertificate>,
    /// When the files of each were written last.
    written: Vec<Option<[SystemTime; 2]>>,
}

impl Certificates {
    fn new(list: &[ServerCertificate], metrics: &DownstreamMetrics) -> Self {
        let written = list.iter().map(ServerCertificate::written).collect();
        Self(ArcSwap::from_pointee(Shown::new(
            list.to_vec(),
            written,
            metrics,
        )))
    }

    fn refresh(&self, metrics: &DownstreamMetrics) {
        let shown = self.0.load();
        let mut list = shown.list.clone();
        let mut written = shown.written.clone();
        for (certificate, before) in list.iter_mut().zip(&mut written) {
            let now = certificate.written();
            if now.is_none() || now == *before {
                continue;
            }
            match certificate.read_again() {
                Ok(again) => {
                    let file = again.file().display();
                    tracing::info!(%file, "the certificate was read again");
                    *certificate = again;
                }
                // Files change one after the other: the next look may find a pair.
                Err(unusable) => {
                    tracing::warn!("a changed certificate is not used: {}", unusable.what);
                }
            }
            *before = now;
        }
        if written != shown.written {
            self.0.store(Arc::new(Shown::new(list, written, metrics)));
        }
    }
}

impl Shown {
    fn new(
        list: Vec<ServerCertificate>,
        written: Vec<Option<[SystemTime; 2]>>,
        metrics: &DownstreamMetrics,
    ) -> Self {
        for certificate in &list {
            let file = certificate.file().display().to_string();
            metrics.certificate_expiry(&file, certificate.not_after);
        }
        let names = list.iter().map(|certificate| &*certificate.names);
        Self {
            names: Arc::new(CertificateNames::new(names)),
            list,
            written,
        }
    }

    /// Which certificate is for a client that names this server, or nobody.
    fn position(&self, server_name: Option<&str>) -> usize {
        server_name
            .and_then(|name| self.names.find(name))
            .unwrap_or(0)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.load();
        let position = shown.position(hello.server_name());
        Some(Arc::clone(&shown.list.get(position)?.key))
    }
}

/// What ended a handshake.
pub fn handshake_fault(fault: &io::Error) -> HandshakeFault {
    use rustls::Error::{
        AlertReceived, InappropriateHandshakeMessage, InappropriateMessage, InvalidCertificate,
        InvalidMessage, NoApplicationProtocol, NoCertificatesPresented, PeerIncompatible,
    };
    let inner = fault.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(NoApplicationProtocol) => HandshakeFault::NoCommonProtocol,
        Some(NoCertificatesPresented) => HandshakeFault::NoClientCertificate,
        Some(InvalidCertificate(_)) => HandshakeFault::BadClientCertificate,
        Some(PeerIncompatible(_)) => HandshakeFault::NoCommonParameters,
        Some(
            InvalidMessage(_) | InappropriateMessage { .. } | InappropriateHandshakeMessage { .. },
        ) => HandshakeFault::NotTls,
        Some(AlertReceived(_)) => HandshakeFault::ClientAlert,
        Some(_) => HandshakeFault::Other,
        None => HandshakeFault::Closed,
    }
}
