//! One connection, as Pingora wants it: bytes both ways, and what is known about who is there.

use std::{
    fmt,
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::AsRawFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, raw_connect::ProxyDigest,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

/// Writes up to here are put together, so that header and body of a small answer leave as one packet.
const SMALL_WRITES: usize = 2048;
/// Parts of one vectored write.
const MAX_PARTS: usize = 16;

/// A TCP connection whose small writes wait for a flush. Reads are not buffered: callers bring
/// buffers of their own that are large enough.
pub struct Connection {
    stream: TcpStream,
    /// What was written and has not been sent.
    unsent: Vec<u8>,
    digest: Arc<SocketDigest>,
}

impl Connection {
    pub fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
        // It is new, so nobody has set it.
        let _ = digest.peer_addr.set(Some(peer.into()));
        Self {
            stream,
            unsent: Vec::new(),
            digest: Arc::new(digest),
        }
    }

    /// Sends what waits and then `parts`, as much as goes; how much of `parts` went.
    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut slices = [IoSlice::new(&[]); MAX_PARTS];
            slices[0] = IoSlice::new(&self.unsent);
            let count = parts.len().min(MAX_PARTS - 1);
            slices[1..=count].copy_from_slice(&parts[..count]);
            let first = usize::from(self.unsent.is_empty());
            let sent = ready!(
                Pin::new(&mut self.stream).poll_write_vectored(context, &slices[first..=count])
            )?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let waited = self.unsent.len();
            self.unsent.drain(..sent.min(waited));
            if sent > waited || (parts.is_empty() && self.unsent.is_empty()) {
                return Poll::Ready(Ok(sent - waited));
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
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
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length == 0 {
            return Poll::Ready(Ok(0));
        }
        if self.unsent.len() + length > SMALL_WRITES {
            return self.poll_send(context, parts);
        }
        if self.unsent.capacity() == 0 {
            self.unsent.reserve_exact(SMALL_WRITES);
        }
        for part in parts {
            self.unsent.extend_from_slice(part);
        }
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.unsent.is_empty() {
            ready!(self.poll_send(context, &[]))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Pingora does not flush an answer after which it lets a connection go.
impl Drop for Connection {
    fn drop(&mut self) {
        if !self.unsent.is_empty() {
            // Who does not take it now gets it no more.
            let _ = self.stream.try_write(&self.unsent);
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
        self.stream.as_raw_fd()
    }
}

impl Ssl for Connection {}

impl Peek for Connection {}

impl GetTimingDigest for Connection {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Connection {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Connection {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.digest))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.stream.as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn pair() -> (Connection, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (near, peer) = listener.accept().await.unwrap();
        (Connection::new(near, peer), far.unwrap())
    }

    #[tokio::test]
    async fn everything_arrives_in_order() {
        let (mut near, mut far) = pair().await;
        let bytes: Vec<u8> = (0_u32..300_000).flat_map(u32::to_be_bytes).collect();
        let expected = bytes.clone();
        let writer = tokio::spawn(async move {
            let mut rest = &bytes[..];
            let mut size = 1;
            while !rest.is_empty() {
                // Small, large and split ones, flushed now and then.
                let part = &rest[..size.min(rest.len())];
                let (one, other) = part.split_at(part.len() / 3);
                let slices = [IoSlice::new(one), IoSlice::new(other)];
                let sent = near.write_vectored(&slices).await.unwrap();
                rest = &rest[sent..];
                size = size * 7 % 9973 + 1;
                if size % 5 == 0 {
                    near.flush().await.unwrap();
                }
            }
            Shutdown::shutdown(&mut near).await;
        });
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.unwrap();
        writer.await.unwrap();
        assert!(got == expected);
    }

    #[tokio::test]
    async fn small_writes_wait_for_a_flush_or_the_end() {
        let (mut near, mut far) = pair().await;
        near.write_all(b"head").await.unwrap();
        assert_eq!(near.unsent, b"head");
        near.flush().await.unwrap();
        assert!(near.unsent.is_empty());
        near.write_all(b"tail").await.unwrap();
        drop(near);
        let mut got = String::new();
        far.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "headtail");
    }
}
