//! The connection below AMQP: TCP, or TLS with the same library and the same trust as everywhere else.
//! The client's own TLS would bring a second set of libraries.

use std::{
    fmt,
    future::Future,
    io::{self, Read, Write},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
    time::{Duration, Instant},
};

use async_compat::Compat;
use async_rs::{Runtime, Tokio, traits::Reactor, util::RuntimeParts};
use futures_util::{AsyncRead, AsyncWrite, Stream};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What the client runs on: tokio, with connections of ours.
pub type Transported = Runtime<RuntimeParts<Tokio, Transport>>;

/// Makes connections to one server.
#[derive(Clone)]
pub struct Transport {
    inner: Tokio,
    /// How TLS is spoken, and the name that the server must prove.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Transport {
    /// On the runtime that the caller is on.
    pub fn here(tls: Option<(Arc<ClientConfig>, ServerName<'static>)>) -> Transported {
        let reactor = Self {
            inner: Tokio::current(),
            tls,
        };
        Runtime::new(RuntimeParts::new(Tokio::current(), reactor))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transport(tls: {})", self.tls.is_some())
    }
}

/// A connection with or without TLS.
pub trait Wire: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Wire for T {}

impl Reactor for Transport {
    type TcpStream = Compat<Box<dyn Wire>>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.inner.register(socket)
    }

    fn sleep(&self, time: Duration) -> Self::Sleep {
        self.inner.sleep(time)
    }

    fn interval(&self, time: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.inner.interval(time)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let tls = self.tls.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let wire: Box<dyn Wire> = match tls {
                None => Box::new(stream),
                Some((config, name)) => {
                    Box::new(TlsConnector::from(config).connect(name, stream).await?)
                }
            };
            Ok(Compat::new(wire))
        }
    }
}
