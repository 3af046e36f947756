//! The life of one connection, from its acceptance to its end.

use std::{
    io::Write,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use pingora::{apps::ServerApp, protocols::UniqueID, time};
use tokio::{net::TcpStream, sync::watch, time::Instant};

use super::{
    Shared,
    aside::Aside,
    census::Seat,
    connection::Connection,
    manner::Manner,
    outgoing::Outgoing,
    watchdog::{Finding, Watchdog},
};
use crate::{
    config::ConnectionLimits,
    metrics::{CloseReason, ListenerMetrics},
};

/// Told to who comes without TLS when there are too many.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
                          Connection: close\r\nContent-Length: 0\r\n\r\n";

/// A connection, counted where it has to be.
pub struct Guest {
    stream: TcpStream,
    from: SocketAddr,
    manner: Arc<Manner>,
    /// `None`: it is a proxy's, and may carry many clients.
    _seat: Option<Seat>,
}

impl Guest {
    /// `None`: there are too many connections, and this one is turned away.
    pub fn new(
        stream: TcpStream,
        from: SocketAddr,
        manner: Arc<Manner>,
        shared: &Shared,
        metrics: &ListenerMetrics,
    ) -> Option<Self> {
        let limits = &manner.limits;
        let full = shared.open_connections() > limits.max_connections;
        let seat = match manner.is_proxy(from.ip()) {
            true => None,
            false => {
                let limit = limits.max_connections_per_address;
                let seat = shared.census.enter(from.ip(), limit);
                if seat.is_none() {
                    turn_away(stream, &manner);
                    metrics.too_many_of_address.inc();
                    return None;
                }
                seat
            }
        };
        if full {
            turn_away(stream, &manner);
            metrics.too_many.inc();
            return None;
        }
        // Only a connection that is gone already refuses.
        let _ = stream.set_nodelay(true);
        Some(Self {
            stream,
            from,
            manner,
            _seat: seat,
        })
    }

    /// Serves the connection to its end.
    pub async fn serve<A>(self, app: Arc<A>, shared: &Shared, metrics: &ListenerMetrics)
    where
        A: ServerApp + Send + Sync + 'static,
    {
        let closing = shared.closing.subscribe();
        let limits = self.manner.limits.clone();
        let opened = self.manner.open(self.stream, self.from, shared, metrics);
        let Some(connection) = opened.await else {
            return;
        };
        drop(self.manner);
        watch_over(app, connection, limits, closing, metrics).await;
    }
}

/// Without TLS a word can be said; there is no time for a handshake.
fn turn_away(stream: TcpStream, manner: &Manner) {
    if let (true, Ok(mut stream)) = (manner.is_plain(), stream.into_std()) {
        // Who does not take it now gets it no more.
        let _ = stream.write(TOO_MANY);
    }
}

async fn watch_over<A>(
    app: Arc<A>,
    connection: Connection,
    limits: ConnectionLimits,
    mut closing: watch::Receiver<bool>,
    metrics: &ListenerMetrics,
) where
    A: ServerApp + Send + Sync + 'static,
{
    let (progress, is_http2) = (connection.progress(), connection.is_http2());
    let socket = connection.id();
    let mut watchdog = Watchdog::new(Arc::clone(&progress), limits, is_http2, Instant::now());
    // HTTP/2 is told to go by a word of its own; to HTTP/1 its next answer says it.
    let leave = watch::Sender::new(false);
    let shutdown = match is_http2 {
        true => leave.subscribe(),
        false => closing.clone(),
    };
    let mut serving = pin!(async {
        let mut next = app.process_new(Box::new(connection), &shutdown).await;
        while let Some(connection) = next {
            next = app.process_new(connection, &shutdown).await;
        }
    });
    let is_told = || *leave.borrow();
    loop {
        // By Pingora's clock: one of tokio's would be looked at whenever a thread has nothing to do.
        let pause = time::sleep(watchdog.pause());
        let beside = pin!(async {
            tokio::select! {
                _ = closing.wait_for(|closing| *closing), if is_http2 && !is_told() => Finding::Old,
                () = pause => watchdog.look(Instant::now(), || Outgoing::of(socket)),
            }
        });
        let finding = tokio::select! {
            biased;
            () = &mut serving => break,
            finding = Aside::new(beside) => finding,
        };
        match finding {
            Finding::Fine => {}
            Finding::Old => {
                leave.send_replace(true);
            }
            // It is told first, and dropped at the next look.
            Finding::Drop(CloseReason::Idle) if is_http2 && !is_told() => {
                leave.send_replace(true);
            }
            Finding::Drop(reason) => {
                metrics.closed(reason);
                return;
            }
            Finding::GiveUp(reason) => {
                let before = progress.given_up.swap(true, Relaxed);
                if !before {
                    metrics.closed(reason);
                }
                // The streams of HTTP/2 fail when their connection is gone.
                if before || is_http2 {
                    return;
                }
            }
        }
    }
    if progress.floods.load(Relaxed) {
        metrics.closed(CloseReason::Flood);
    }
}
