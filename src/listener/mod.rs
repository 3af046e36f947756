//! The front door: sockets that are bound before anything else starts, and the loops that accept
//! connections from them.
//!
//! Pingora's own listeners bind late, in a task, where a port that is taken ends in a panic, and keep
//! their sockets to themselves. Here the server binds, may hand its sockets to a process that takes
//! over, says when no more connections are wanted, and knows how many are left. What a connection
//! carries is the business of the `ServerApp` behind the door.

mod aside;
mod census;
mod connection;
mod frames;
mod manner;
mod outgoing;
pub mod proxy_protocol;
mod serve;
mod socket;
mod tls;
mod watchdog;
mod wire;

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::{
    apps::ServerApp,
    server::{ListenFds, ShutdownWatch},
    services::Service,
};
use tokio::sync::watch;

use crate::{
    domain::Load,
    gateway::Unparsed,
    metrics::{ListenerMetrics, Metrics},
};
use census::Census;
pub use manner::{Manner, Manners};
use serve::Guest;
pub use socket::{Inherited, bind};

/// Pause of an accept loop when the system has no file descriptor left: accepting would fail again
/// at once, and for ever.
const NO_DESCRIPTORS_PAUSE: Duration = Duration::from_millis(100);
/// How often the files of certificates are looked at.
const FILES_PERIOD: Duration = Duration::from_secs(1);

/// How long a connection on which nothing is asked is kept at the end. A request that comes at the
/// very moment when it is closed is lost, so only idle ones may be closed.
const LINGER: Duration = Duration::from_secs(1);

/// Where connections come in.
pub struct Listener {
    pub socket: TcpListener,
    pub manner: Arc<ArcSwap<Manner>>,
    pub metrics: ListenerMetrics,
}

/// A service of Pingora's that accepts on sockets of ours and hands each connection to `app`.
pub struct FrontDoor<A> {
    name: String,
    threads: Option<usize>,
    app: Arc<A>,
    listeners: Vec<Listener>,
    control: Control,
}

/// What the server does with a front door while it runs. Clones mean the same door.
#[derive(Clone)]
pub struct Control(Arc<Shared>);

struct Shared {
    closing: watch::Sender<bool>,
    accepting: watch::Sender<bool>,
    open: AtomicUsize,
    census: Arc<Census>,
    load: Arc<Load>,
    unparsed: Option<Arc<Unparsed>>,
    /// Second handles of the listening sockets, to be handed on; gone once the door is closed, for a
    /// socket that anybody holds goes on taking connections.
    sockets: Mutex<Vec<TcpListener>>,
}

impl Shared {
    fn open_connections(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }
}

impl Control {
    /// Duplicates of the listening sockets, each with the address that it is bound to. They go on
    /// taking connections when this process has closed its own.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn hand_out(&self) -> io::Result<Vec<(SocketAddr, OwnedFd)>> {
        let sockets = self.0.sockets.lock();
        sockets
            .iter()
            .map(|socket| Ok((socket.local_addr()?, socket.try_clone()?.into())))
            .collect()
    }

    /// Takes no more connections, and tells those that are there to end with what they are doing:
    /// `Connection: close` for HTTP/1, GOAWAY for HTTP/2.
    pub fn close(&self) {
        self.0.sockets.lock().clear();
        self.0.closing.send_replace(true);
    }

    /// Waits until a door that was closed takes no connection any more. Before that one may have been
    /// taken from the system that is not counted yet.
    pub async fn closed(&self) {
        let mut accepting = self.0.accepting.subscribe();
        // The sender is ours, so this ends only by being false.
        let _ = accepting.wait_for(|accepting| !*accepting).await;
    }

    /// Connections that are there.
    pub fn open_connections(&self) -> usize {
        self.0.open_connections()
    }

    /// Gives those who are there the time to ask once more, and so to hear that they should go.
    async fn linger(&self) {
        const PAUSE: Duration = Duration::from_millis(10);
        let end = tokio::time::Instant::now() + LINGER;
        while self.open_connections() > 0 && tokio::time::Instant::now() < end {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until connections are taken.
    pub async fn accepting(&self) {
        let mut accepting = self.0.accepting.subscribe();
        // The sender is ours, so this ends only by being true.
        let _ = accepting.wait_for(|accepting| *accepting).await;
    }
}

impl<A> FrontDoor<A> {
    /// `unparsed` hears of requests that Pingora refuses by itself.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn new(
        name: &str,
        app: A,
        listeners: Vec<Listener>,
        unparsed: Option<Arc<Unparsed>>,
    ) -> anyhow::Result<Self> {
        let sockets: io::Result<_> = listeners
            .iter()
            .map(|listener| listener.socket.try_clone())
            .collect();
        Ok(Self {
            name: name.to_owned(),
            threads: None,
            app: Arc::new(app),
            listeners,
            control: Control(Arc::new(Shared {
                closing: watch::Sender::new(false),
                accepting: watch::Sender::new(false),
                open: AtomicUsize::new(0),
                census: Arc::default(),
                load: Arc::default(),
                unparsed,
                sockets: Mutex::new(sockets?),
            })),
        })
    }

    /// With so many worker threads, where that is not the server's number.
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    pub fn control(&self) -> Control {
        self.control.clone()
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> Service for FrontDoor<A> {
    async fn start_service(&mut self, _: Option<ListenFds>, mut shutdown: ShutdownWatch, _: usize) {
        let loops: Vec<_> = std::mem::take(&mut self.listeners)
            .into_iter()
            .map(|listener| {
                let (app, control) = (Arc::clone(&self.app), self.control.clone());
                tokio::spawn(accept_until_closed(listener, app, control))
            })
            .collect();
        self.control.0.accepting.send_replace(true);
        let mut closing = self.control.0.closing.subscribe();
        // The server's end closes the door, where nobody has before.
        tokio::select! {
            _ = shutdown.wait_for(|ends| *ends) => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
        self.control.close();
        for accepting in loops {
            // A loop that panicked accepts no more, which is what is waited for.
            let _ = accepting.await;
        }
        self.control.0.accepting.send_replace(false);
        self.control.linger().await;
        // Ends the connections on which nothing is asked.
        self.app.cleanup().await;
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn threads(&self) -> Option<usize> {
        self.threads
    }
}

/// Looks at the files of certificates until the end.
pub async fn follow_files(manners: Manners, metrics: Arc<Metrics>, mut shutdown: ShutdownWatch) {
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|ends| *ends) => return,
            () = tokio::time::sleep(FILES_PERIOD) => {}
        }
        let (manner, metrics) = (manners.https.load_full(), Arc::clone(&metrics));
        let look = move || manner.refresh(&metrics.downstream);
        // Only a panic keeps it from its end, and is counted there.
        let _ = tokio::task::spawn_blocking(look).await;
    }
}

async fn accept_until_closed<A>(listener: Listener, app: Arc<A>, control: Control)
where
    A: ServerApp + Send + Sync + 'static,
{
    let Listener {
        socket,
        manner,
        metrics,
    } = listener;
    let mut closing = control.0.closing.subscribe();
    let socket = match tokio::net::TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(fault) => {
            tracing::error!(%fault, "a listener cannot be used");
            return;
        }
    };
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = closing.wait_for(|closing| *closing) => break,
        };
        match accepted {
            Ok((stream, peer)) => welcome(stream, peer, &manner, &app, &control, &metrics),
            Err(fault) => pause_after(&fault).await,
        }
    }
    // Who is in the queue has been promised an answer by the system.
    if let Ok(socket) = socket.into_std() {
        while let Ok((stream, peer)) = socket.accept() {
            if let Ok(stream) = from_std(stream) {
                welcome(stream, peer, &manner, &app, &control, &metrics);
            }
        }
    }
}

fn from_std(stream: TcpStream) -> io::Result<tokio::net::TcpStream> {
    stream.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(stream)
}

/// A connection that broke before it was accepted is no reason to wait.
async fn pause_after(fault: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if !matches!(
        fault.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    ) {
        tracing::warn!(%fault, "a connection cannot be accepted");
        tokio::time::sleep(NO_DESCRIPTORS_PAUSE).await;
    }
}

fn welcome<A>(
    stream: tokio::net::TcpStream,
    peer: SocketAddr,
    manner: &ArcSwap<Manner>,
    app: &Arc<A>,
    control: &Control,
    metrics: &ListenerMetrics,
) where
    A: ServerApp + Send + Sync + 'static,
{
    metrics.accepted.inc();
    let open = Open::new(control, metrics);
    let guest = Guest::new(stream, peer, manner.load_full(), &control.0, metrics);
    let (app, Some(guest)) = (Arc::clone(app), guest) else {
        return;
    };
    tokio::spawn(async move { guest.serve(app, &open.control.0, &open.metrics).await });
}

/// Counts a connection while it is there.
struct Open {
    control: Control,
    metrics: ListenerMetrics,
}

impl Open {
    fn new(control: &Control, metrics: &ListenerMetrics) -> Self {
        control.0.open.fetch_add(1, Ordering::AcqRel);
        metrics.open.inc();
        Self {
            control: control.clone(),
            metrics: metrics.clone(),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.open.dec();
        self.control.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}
