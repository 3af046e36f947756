//! WebSockets have an upstream connection of their own, which reads with a moment's patience.
//!
//! Pingora (0.9.1) takes the end of a request without a body for the end of the WebSocket when the
//! upstream's 101 is read first: a matter of chance if both are there at once. So a read that follows
//! a write waits for one turn, in which the end of the request gets by.

use std::{
    io,
    os::fd::AsFd,
    pin::Pin,
    sync::Arc,
    task::{Context as Turn, Poll},
    time::Duration,
};

use async_trait::async_trait;
use pingora::{
    Error, ErrorType, OrErr,
    connectors::L4Connect,
    protocols::l4::{
        socket::SocketAddr,
        stream::Stream,
        virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream},
    },
    upstreams::peer::HttpPeer,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{
    context::Context,
    token_end::{Line, TokenEnd},
};

/// Where the upstream's settings have no limit.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Gives an upgrade a connection to `peer` that nobody else uses, and that ends with its token if that
/// is asked for.
pub fn attach(peer: &mut HttpPeer, context: &Context) {
    if !context.is_upgrade {
        return;
    }
    peer.group_key ^= fastrand::u64(1..);
    peer.options.idle_timeout = Some(Duration::ZERO);
    peer.options.custom_l4 = Some(Arc::new(Connect {
        timeout: peer.options.connection_timeout.unwrap_or(CONNECT_TIMEOUT),
        line: context.token_end.as_ref().map(TokenEnd::line),
    }));
}

#[derive(Debug)]
struct Connect {
    timeout: Duration,
    line: Option<Arc<Line>>,
}

#[async_trait]
impl L4Connect for Connect {
    async fn connect(&self, address: &SocketAddr) -> pingora::Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(ErrorType::ConnectError, "no address of the internet");
        };
        let stream = tokio::time::timeout(self.timeout, TcpStream::connect(address))
            .await
            .or_err(ErrorType::ConnectTimedout, "connecting for an upgrade")?
            .or_err(ErrorType::ConnectRefused, "connecting for an upgrade")?;
        if let Some(line) = &self.line {
            line.hold(stream.as_fd())?;
        }
        let socket = Patient {
            stream,
            has_written: false,
        };
        Ok(Stream::from(VirtualSocketStream::new(Box::new(socket))))
    }
}

#[derive(Debug)]
struct Patient {
    stream: TcpStream,
    /// Since the last read.
    has_written: bool,
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        turn: &mut Turn<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.has_written) {
            turn.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(turn, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        turn: &mut Turn<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.has_written = true;
        Pin::new(&mut self.stream).poll_write(turn, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, turn: &mut Turn<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(turn)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, turn: &mut Turn<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(turn)
    }
}

impl VirtualSocket for Patient {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.stream.set_nodelay(true),
            // Nothing of ours asks for others.
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_comes_at_once_lets_others_go_first() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answering = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"101").await.unwrap();
            stream
        };
        let (stream, _other) = tokio::join!(TcpStream::connect(address), answering);
        let mut socket = Patient {
            stream: stream.unwrap(),
            has_written: false,
        };
        socket.stream.readable().await.unwrap();
        socket.write_all(b"request").await.unwrap();
        let mut bytes = [0; 3];
        for _ in 0..100 {
            // The read is ready and polled first, and yet the other one is done.
            socket.has_written = true;
            tokio::select! {
                biased;
                _ = socket.read_exact(&mut bytes) => panic!("too soon"),
                () = std::future::ready(()) => {}
            }
        }
        assert_eq!(socket.read_exact(&mut bytes).await.unwrap(), 3);
        assert_eq!(&bytes, b"101");
    }
}
