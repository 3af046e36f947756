//! How connections are taken: who may speak for others, with TLS or without, HTTP/1 or HTTP/2.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio::net::TcpStream;

use super::{
    Shared,
    connection::{Connection, Transport},
    proxy_protocol::{self, Header},
    tls::{self, Tls},
    wire::Wire,
};
use crate::{
    config::{ConnectionLimits, Listen},
    domain::{Door, Network, Peer, any_contains},
    metrics::{DownstreamMetrics, HandshakeFault, ListenerMetrics},
};

/// With which HTTP/2 begins (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The manners of all listeners for clients; a reload replaces them while connections keep theirs.
#[derive(Clone)]
pub struct Manners {
    pub http: Arc<ArcSwap<Manner>>,
    pub https: Arc<ArcSwap<Manner>>,
}

impl Manners {
    /// # Errors
    /// The authorities of client certificates cannot be used.
    pub fn new(settings: &Listen, metrics: &DownstreamMetrics) -> anyhow::Result<Self> {
        let http = match settings.https.first() {
            Some(https) if settings.redirect_to_https => Kind::RedirectTo(https.port()),
            _ => Kind::Plain { h2c: settings.h2c },
        };
        let https = match settings.https.is_empty() {
            true => Manner::internal(),
            false => Manner::new(Kind::Tls(Tls::new(settings, metrics)?), settings),
        };
        Ok(Self {
            http: Arc::new(ArcSwap::from_pointee(Manner::new(http, settings))),
            https: Arc::new(ArcSwap::from_pointee(https)),
        })
    }

    /// From now on connections are taken as those.
    pub fn take_up(&self, next: &Self) {
        self.http.store(next.http.load_full());
        self.https.store(next.https.load_full());
    }
}

/// How the connections of one listener are taken.
pub struct Manner {
    kind: Kind,
    proxy_protocol_from: Vec<Network>,
    trusted_proxies: Arc<[Network]>,
    pub limits: ConnectionLimits,
}

enum Kind {
    Plain { h2c: bool },
    RedirectTo(u16),
    Tls(Tls),
}

/// Why there is no connection.
enum Fault {
    Tls(HandshakeFault),
    Proxy,
    /// Nobody said anything.
    Gone,
}

impl Manner {
    fn new(kind: Kind, settings: &Listen) -> Self {
        Self {
            kind,
            proxy_protocol_from: settings.proxy_protocol_from.clone(),
            trusted_proxies: settings.trusted_proxies.as_slice().into(),
            limits: settings.limits.clone(),
        }
    }

    /// For listeners of our own: HTTP/1 without TLS.
    pub fn internal() -> Self {
        Self {
            kind: Kind::Plain { h2c: false },
            proxy_protocol_from: Vec::new(),
            trusted_proxies: Arc::new([]),
            limits: ConnectionLimits::default(),
        }
    }

    /// Does everything that comes before HTTP; `None` when it came to nothing, which is counted.
    pub(super) async fn open(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        shared: &Shared,
        metrics: &ListenerMetrics,
    ) -> Option<Connection> {
        let speaks_for_others = any_contains(&self.proxy_protocol_from, from.ip());
        let wire = Wire::new(stream);
        if let (Kind::Plain { h2c: false } | Kind::RedirectTo(_), false) =
            (&self.kind, speaks_for_others)
        {
            let transport = Transport::Plain(wire);
            return Some(self.connection(transport, false, from, self.plain_door(), shared));
        }
        let opening = self.shake_hands(wire, from, speaks_for_others, shared);
        let timeout = self.limits.handshake_timeout;
        let fault = match tokio::time::timeout(timeout, opening).await {
            Ok(Ok(connection)) => return Some(connection),
            Ok(Err(fault)) => fault,
            Err(_) if matches!(self.kind, Kind::Tls(_)) => Fault::Tls(HandshakeFault::Timeout),
            Err(_) => Fault::Gone,
        };
        match fault {
            Fault::Tls(fault) => metrics.tls_fault(fault),
            Fault::Proxy => metrics.bad_proxy_header.inc(),
            Fault::Gone => {}
        }
        None
    }

    /// Reads certificates again whose files have changed. Blocks.
    pub fn refresh(&self, metrics: &DownstreamMetrics) {
        if let Kind::Tls(tls) = &self.kind {
            tls.refresh(metrics);
        }
    }

    async fn shake_hands(
        &self,
        mut wire: Wire,
        mut client: SocketAddr,
        speaks_for_others: bool,
        shared: &Shared,
    ) -> Result<Connection, Fault> {
        if speaks_for_others {
            let source = read_proxy_header(&mut wire).await?;
            client = source.unwrap_or(client);
        }
        Ok(match &self.kind {
            Kind::Tls(tls) => {
                let shaken = tls.shake_hands(wire).await;
                let (stream, peer) =
                    shaken.map_err(|fault| Fault::Tls(tls::handshake_fault(&fault)))?;
                let is_http2 = tls::is_http2(&stream);
                let transport = Transport::Tls(Box::new(stream));
                let door = Door::Tls(Box::new(peer));
                self.connection(transport, is_http2, client, door, shared)
            }
            Kind::Plain { .. } | Kind::RedirectTo(_) => {
                let is_http2 = match self.kind {
                    Kind::Plain { h2c: true } => begins_with_preface(&mut wire).await?,
                    _ => false,
                };
                let transport = Transport::Plain(wire);
                self.connection(transport, is_http2, client, self.plain_door(), shared)
            }
        })
    }

    fn plain_door(&self) -> Door {
        match self.kind {
            Kind::RedirectTo(port) => Door::RedirectTo(port),
            Kind::Plain { .. } | Kind::Tls(_) => Door::Plain,
        }
    }

    /// Whether connections from there carry many clients.
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        any_contains(&self.proxy_protocol_from, address)
            || any_contains(&self.trusted_proxies, address)
    }

    pub fn is_plain(&self) -> bool {
        !matches!(self.kind, Kind::Tls(_))
    }

    fn connection(
        &self,
        transport: Transport,
        is_http2: bool,
        client: SocketAddr,
        door: Door,
        shared: &Shared,
    ) -> Connection {
        let peer = Peer {
            trusted_proxies: Arc::clone(&self.trusted_proxies),
            door,
            progress: Arc::default(),
            load: Arc::clone(&shared.load),
            max_requests: self.limits.max_requests,
        };
        Connection::new(transport, is_http2, client, peer, shared.unparsed.clone())
    }
}

async fn read_proxy_header(wire: &mut Wire) -> Result<Option<SocketAddr>, Fault> {
    let look = |bytes: &[u8]| match proxy_protocol::parse(bytes) {
        Header::Complete { source, length } => Some((Ok(source), length)),
        Header::Malformed => Some((Err(Fault::Proxy), 0)),
        Header::Partial => None,
    };
    match wire.look_ahead(proxy_protocol::MAX_LENGTH, look).await {
        Ok(Some(header)) => header,
        // A probe of the port, as load balancers make them.
        Ok(None) => Err(Fault::Gone),
        Err(fault) if fault.kind() == io::ErrorKind::InvalidData => Err(Fault::Proxy),
        Err(_) => Err(Fault::Gone),
    }
}

async fn begins_with_preface(wire: &mut Wire) -> Result<bool, Fault> {
    let look = |bytes: &[u8]| {
        let common = bytes.len().min(PREFACE.len());
        let differs = bytes[..common] != PREFACE[..common];
        (differs || common == PREFACE.len()).then_some((!differs, 0))
    };
    let found = wire.look_ahead(PREFACE.len(), look).await;
    found.ok().flatten().ok_or(Fault::Gone)
}
