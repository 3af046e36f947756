//! One connection, as Pingora wants it: bytes both ways, and what is known about who is there.

use std::{
    fmt,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
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

use super::{frames::Frames, wire::Wire};
use crate::{
    domain::{Peer, Progress},
    gateway::Unparsed,
};

/// A connection that is ready for HTTP.
pub struct Connection {
    transport: Transport,
    /// Of an HTTP/2 client.
    frames: Option<Box<Frames>>,
    progress: Arc<Progress>,
    /// Hears of requests that Pingora refuses before anybody sees them. `None`: it has.
    unparsed: Option<Arc<Unparsed>>,
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
    pub fn new(
        transport: Transport,
        is_http2: bool,
        client: SocketAddr,
        peer: Peer,
        unparsed: Option<Arc<Unparsed>>,
    ) -> Self {
        let socket = SocketDigest::from_raw_fd(transport.wire().id());
        // It is new, so nobody has set it.
        let _ = socket.peer_addr.set(Some(client.into()));
        let nothing = ResponseHeader::from(http::Response::new(()).into_parts().0);
        Self {
            tls: transport.digest().map(Arc::new),
            transport,
            frames: is_http2.then(Box::default),
            progress: Arc::clone(&peer.progress),
            unparsed,
            socket: Arc::new(socket),
            peer: Arc::new(ProxyDigest::new(Box::new(nothing), Some(Box::new(peer)))),
        }
    }

    pub fn is_http2(&self) -> bool {
        self.frames.is_some()
    }

    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Notes what a read brought; an error when it was too much of the wrong kind.
    fn note_read(&mut self, bytes: &[u8]) -> io::Result<()> {
        let progress = &self.progress;
        // Nobody else counts here.
        let read = progress.read.load(Relaxed) + bytes.len() as u64;
        progress.read.store(read, Relaxed);
        progress.reads_wait.store(false, Relaxed);
        if let Some(frames) = &mut self.frames
            && !frames.see(bytes, progress.written.load(Relaxed))
        {
            progress.floods.store(true, Relaxed);
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }

    fn note_write(&self, result: &Poll<io::Result<usize>>) {
        let progress = &self.progress;
        progress.writes_wait.store(result.is_pending(), Relaxed);
        if let Poll::Ready(Ok(sent)) = result {
            let written = progress.written.load(Relaxed) + *sent as u64;
            progress.written.store(written, Relaxed);
        }
    }

    /// An answer where no request is under way is Pingora's own, to what it could not read.
    fn note_answer(&mut self, start: &[u8]) {
        const REFUSAL: &[u8] = b"HTTP/1.1 4";
        if self.frames.is_some() || self.progress.in_flight.load(Relaxed) > 0 {
            return;
        }
        if start.starts_with(REFUSAL)
            && let Some(unparsed) = self.unparsed.take()
        {
            let client = self
                .socket
                .peer_addr()
                .and_then(|address| address.as_inet());
            unparsed.tell(client.map(SocketAddr::ip), &start[REFUSAL.len() - 1..]);
        }
    }

    fn check(&self) -> io::Result<()> {
        match self.progress.given_up.load(Relaxed) {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(()),
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
        self.check()?;
        let before = buffer.filled().len();
        let result = match &mut self.transport {
            Transport::Plain(wire) => Pin::new(wire).poll_read(context, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        match result {
            Poll::Ready(Ok(())) => Poll::Ready(self.note_read(&buffer.filled()[before..])),
            Poll::Ready(fault) => Poll::Ready(fault),
            Poll::Pending => {
                self.progress.reads_wait.store(true, Relaxed);
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        self.note_answer(parts.first().map_or(&[], |part| &**part));
        let result = self.transport.writer().poll_write_vectored(context, parts);
        self.note_write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        let result = self.transport.writer().poll_flush(context);
        self.progress
            .writes_wait
            .store(result.is_pending(), Relaxed);
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.writer().poll_shutdown(context)
    }
}

/// Who was too slow does not get the rest: the system would hold it for who never comes for it.
impl Drop for Connection {
    fn drop(&mut self) {
        if self.progress.given_up.load(Relaxed) {
            self.transport.wire().cut();
        }
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
        self.is_http2().then_some(ALPN::H2)
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
