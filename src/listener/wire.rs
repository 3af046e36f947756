//! TCP, with what was read ahead of its time, and with small writes put together.

use std::{
    io::{self, IoSlice},
    os::fd::{AsRawFd, RawFd},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Writes up to here are put together, so that header and body of a small answer leave as one packet.
const SMALL_WRITES: usize = 2048;
/// Parts of one vectored write.
const MAX_PARTS: usize = 16;

/// A TCP connection whose small writes wait for a flush. Reads are not buffered: callers bring
/// buffers of their own that are large enough.
pub struct Wire {
    stream: TcpStream,
    /// What was read to look at it, and has to be read again.
    ahead: Bytes,
    /// What was written and has not been sent.
    unsent: Vec<u8>,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            ahead: Bytes::new(),
            unsent: Vec::new(),
        }
    }

    pub fn id(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// What the system has not sent at the end of this is thrown away.
    pub fn cut(&self) {
        // A connection that is gone already has nothing to throw away.
        let _ = self.stream.set_zero_linger();
    }

    /// Reads until `look` knows what stands at the beginning, and how much of it is not for the next
    /// reader. `None`: the connection ended before that.
    ///
    /// # Errors
    /// The connection broke, or more than `limit` bytes told nothing.
    pub async fn look_ahead<T>(
        &mut self,
        limit: usize,
        look: impl Fn(&[u8]) -> Option<(T, usize)>,
    ) -> io::Result<Option<T>> {
        let mut bytes = BytesMut::with_capacity(limit);
        bytes.extend_from_slice(&self.ahead);
        loop {
            if let Some((found, taken)) = look(&bytes) {
                self.ahead = bytes.freeze();
                self.ahead.advance(taken);
                return Ok(Some(found));
            }
            if bytes.len() >= limit {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.stream.read_buf(&mut bytes).await? == 0 {
                return Ok(None);
            }
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
            let stream = Pin::new(&mut self.stream);
            // The system takes one part by a shorter way than a list of one.
            let sent = ready!(match &slices[first..=count] {
                [part] => stream.poll_write(context, part),
                parts => stream.poll_write_vectored(context, parts),
            })?;
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

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
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
impl Drop for Wire {
    fn drop(&mut self) {
        if !self.unsent.is_empty() {
            // Who does not take it now gets it no more.
            let _ = self.stream.try_write(&self.unsent);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn pair() -> (Wire, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (near, _) = listener.accept().await.unwrap();
        (Wire::new(near), far.unwrap())
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
            near.shutdown().await.unwrap();
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

    #[tokio::test]
    async fn what_was_looked_at_is_read_again() {
        let (mut near, mut far) = pair().await;
        far.write_all(b"abcdef").await.unwrap();
        let end = |bytes: &[u8]| Some(((), bytes.iter().position(|byte| *byte == b'c')? + 1));
        assert!(near.look_ahead(100, end).await.unwrap().is_some());
        far.write_all(b"ghi").await.unwrap();
        drop(far);
        let mut got = String::new();
        near.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "defghi");
    }

    #[tokio::test]
    async fn a_look_is_bounded() {
        let (mut near, mut far) = pair().await;
        far.write_all(b"abcdef").await.unwrap();
        let nothing = |_: &[u8]| None::<((), usize)>;
        assert!(near.look_ahead(6, nothing).await.is_err());
        drop(far);
        assert!(near.look_ahead(100, nothing).await.unwrap().is_none());
    }
}
