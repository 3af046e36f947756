//! One connection, as Pingora wants it: bytes both ways, and what is known about who is there.

use std::{
    fmt,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use pingora::{
    http::ResponseHeader,
    protocols::{
        ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
        TimingDigest, UniqueID, raw_connect::ProxyDigest, tls::SslDigest,
    },
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::wire::Wire;
use crate::domain::Peer;

/// A connection that is ready for HTTP.
pub struct Connection {
    transport: Transport,
    is_http2: bool,
    socket: Arc<SocketDigest>,
    tls: Option<Arc<SslDigest>>,
    /// Carries the [`Peer`] to those who serve requests.
    peer: Arc<ProxyDigest>,
}

pub enum Transport {
    Plain(Wire),
    Tls(Box<TlsStream<Wire>>),
}

impl Connection {
    /// `client`: as it is to appear, which may be another address than the socket's.
    pub fn new(transport: Transport, is_http2: bool, client: SocketAddr, peer: Peer) -> Self {
        let socket = SocketDigest::from_raw_fd(transport.wire().id());
        // It is new, so nobody has set it.
        let _ = socket.peer_addr.set(Some(client.into()));
        let nothing = ResponseHeader::from(http::Response::new(()).into_parts().0);
        Self {
            tls: transport.digest().map(Arc::new),
            transport,
            is_http2,
            socket: Arc::new(socket),
            peer: Arc::new(ProxyDigest::new(Box::new(nothing), Some(Box::new(peer)))),
        }
    }
}

impl Transport {
    fn wire(&self) -> &Wire {
        match self {
            Self::Plain(wire) => wire,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    fn digest(&self) -> Option<SslDigest> {
        let Self::Tls(stream) = self else { return None };
        let session = stream.get_ref().1;
        let cipher = session.negotiated_cipher_suite()?.suite().as_str()?;
        let version = session.protocol_version()?.as_str()?;
        Some(SslDigest::new(cipher, version, None, None, Vec::new()))
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin)> {
        match self {
            Self::Plain(wire) => Pin::new(wire),
            Self::Tls(stream) => Pin::new(&mut **stream),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(wire) => Pin::new(wire).poll_read(context, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.transport.writer().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.transport.writer().poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.writer().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.writer().poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for Connection {
    async fn shutdown(&mut self) {
        // A connection that cannot be ended has ended.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Connection {
    fn id(&self) -> i32 {
        self.transport.wire().id()
    }
}

impl Ssl for Connection {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.tls.clone()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.is_http2.then_some(ALPN::H2)
    }
}

impl Peek for Connection {}

impl GetTimingDigest for Connection {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Connection {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.peer))
    }
}

impl GetSocketDigest for Connection {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.socket))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.transport.wire().id())
    }
}
