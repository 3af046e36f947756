//! An address as Pingora wants it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use http::HeaderValue;
use pingora::{
    protocols::tls::CaType,
    upstreams::peer::{ALPN, HttpPeer},
    utils::tls::{CertKey, WrappedX509},
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{
    address::AddressState,
    balance::{self, hash},
};
use crate::config::{ClientCertificate, Protocol, ServerSettings, UpstreamSettings};

/// Requests that share one HTTP/2 connection.
const MAX_STREAMS: usize = 100;
/// How soon a silent HTTP/2 connection is found to be dead.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// One address of a server.
pub struct Member {
    pub address: SocketAddr,
    pub weight: u32,
    /// The same in every process.
    pub hash: u64,
    /// For the `Host` header.
    pub host: HeaderValue,
    pub peer: HttpPeer,
    pub state: Arc<AddressState>,
}

/// Makes members: what all of an upstream have in common.
pub struct PeerMaker {
    protocol: Protocol,
    timeouts: crate::config::TimeoutSettings,
    authorities: Option<Arc<CaType>>,
    client: Option<Arc<CertKey>>,
    server_name: Option<String>,
    group: u64,
}

impl PeerMaker {
    /// # Errors
    /// A certificate or the key cannot be used.
    pub fn new(settings: &UpstreamSettings) -> anyhow::Result<Self> {
        let tls = &settings.tls;
        let name = &settings.name;
        let authorities = tls.authorities.as_deref().map(authorities).transpose();
        let client = tls.client.as_ref().map(client).transpose();
        Ok(Self {
            protocol: settings.protocol,
            timeouts: settings.timeouts,
            authorities: authorities.with_context(|| format!("`ca_file` of upstream {name}"))?,
            client: client.with_context(|| format!("`cert_file` of upstream {name}"))?,
            server_name: tls.server_name.clone(),
            group: group(settings),
        })
    }

    /// # Errors
    /// The host cannot go into a header.
    pub fn make(
        &self,
        server: &ServerSettings,
        address: SocketAddr,
        state: Arc<AddressState>,
    ) -> anyhow::Result<Member> {
        let sni = self.server_name.as_ref().unwrap_or(&server.host).clone();
        // Pingora takes an empty name for leave to verify nothing.
        ensure!(!sni.is_empty(), "a server without a name");
        let mut peer = HttpPeer::new(address, server.tls, sni);
        peer.group_key = self.group;
        peer.client_cert_key = self.client.clone();
        let options = &mut peer.options;
        options.connection_timeout = Some(self.timeouts.connect);
        options.total_connection_timeout = Some(self.timeouts.connect.saturating_mul(2));
        options.read_timeout = Some(self.timeouts.read);
        options.write_timeout = Some(self.timeouts.write);
        options.idle_timeout = Some(self.timeouts.idle);
        options.ca = self.authorities.clone();
        options.alpn = match (self.protocol, server.tls) {
            (Protocol::Http1, _) | (Protocol::Auto, false) => ALPN::H1,
            (Protocol::Auto, true) => ALPN::H2H1,
            (Protocol::H2, _) => ALPN::H2,
        };
        if options.alpn != ALPN::H1 {
            options.max_h2_streams = MAX_STREAMS;
            options.h2_ping_interval = Some(PING_INTERVAL);
        }
        Ok(Member {
            address,
            weight: server.weight,
            hash: hash(address.to_string().as_bytes()),
            host: HeaderValue::from_str(&server.authority())?,
            peer,
            state,
        })
    }
}

/// Connections are shared only where this is the same: Pingora itself tells neither authorities nor
/// protocols apart, so that a connection made under other rules would be used again.
fn group(settings: &UpstreamSettings) -> u64 {
    let tls = &settings.tls;
    let mut parts = vec![balance::hash(format!("{:?}", settings.protocol).as_bytes())];
    for certificate in tls.authorities.iter().flatten() {
        parts.push(hash(certificate));
    }
    parts.push(0);
    for certificate in tls.client.iter().flat_map(|client| &client.chain) {
        parts.push(hash(certificate));
    }
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_le_bytes()).collect();
    hash(&bytes)
}

fn authorities(certificates: &[CertificateDer<'static>]) -> anyhow::Result<Arc<CaType>> {
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate.clone())?;
    }
    Ok(wrapped(certificates)?.into())
}

fn client(client: &ClientCertificate) -> anyhow::Result<Arc<CertKey>> {
    wrapped(&client.chain)?;
    // What Pingora will do at the first connection, where it would be too late to complain.
    let key = client.key.secret_der().to_vec();
    let read = PrivateKeyDer::try_from(key.clone());
    ensure!(read.is_ok(), "the private key has no known form");
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(client.chain.clone(), client.key.clone_key())?;
    let chain = client.chain.iter().map(|one| one.to_vec()).collect();
    Ok(Arc::new(CertKey::new(chain, key)))
}

/// Pingora's parser panics at what it does not like, so it is asked here first.
fn wrapped(certificates: &[CertificateDer<'static>]) -> anyhow::Result<Vec<WrappedX509>> {
    let wrap = |certificate: &CertificateDer<'static>| {
        let rest = X509Certificate::from_der(certificate).map(|(rest, _)| rest.len());
        ensure!(rest.is_ok(), "a certificate cannot be read");
        let parse = pingora::utils::tls::parse_x509;
        Ok(WrappedX509::new(certificate.to_vec(), parse))
    };
    certificates.iter().map(wrap).collect()
}
