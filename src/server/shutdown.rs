//! The end of the server, and the moment when it is ready: signals, draining, readiness.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
    time::{Instant, sleep},
};

use crate::{
    lifecycle::{Lifecycle, Reloader},
    listener::Control,
    metrics::Metrics,
};

/// Longest time that requests under way are waited for at the end.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// What ends the server.
pub enum Until {
    /// SIGTERM, SIGINT or SIGQUIT; a second one ends it at once.
    Signals,
    /// As [`Until::Signals`], without waiting for what is under way.
    SignalsAtOnce,
    /// Somebody in this process.
    Notified(Arc<Notify>),
}

/// Says when the server is ready, and when it has to go.
pub struct Watch {
    until: Until,
    lifecycle: Arc<Lifecycle>,
    metrics: Arc<Metrics>,
    door: Control,
    reloader: Reloader,
    ready: parking_lot::Mutex<Option<Box<dyn FnOnce() + Send + Sync>>>,
}

impl Watch {
    /// `ready` is called once connections are taken at `door`.
    pub fn new(
        until: Until,
        lifecycle: Arc<Lifecycle>,
        metrics: Arc<Metrics>,
        door: Control,
        reloader: Reloader,
        ready: impl FnOnce() + Send + Sync + 'static,
    ) -> Self {
        Self {
            until,
            lifecycle,
            metrics,
            door,
            reloader,
            ready: parking_lot::Mutex::new(Some(Box::new(ready))),
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Watch {
    async fn recv(&self) -> ShutdownSignal {
        let until_asked = async {
            self.door.accepting().await;
            self.lifecycle.set_ready();
            if let Some(ready) = self.ready.lock().take() {
                ready();
            }
            std::future::pending::<()>().await;
        };
        match &self.until {
            Until::Notified(notify) => {
                tokio::select! {
                    () = notify.notified() => {}
                    () = until_asked => {}
                }
                self.lifecycle.set_draining();
                ShutdownSignal::FastShutdown
            }
            Until::Signals | Until::SignalsAtOnce => {
                let Ok(mut signals) = Signals::new() else {
                    tracing::error!("cannot watch for signals");
                    return ShutdownSignal::FastShutdown;
                };
                tokio::select! {
                    () = signals.recv(&self.reloader) => {}
                    () = until_asked => {}
                }
                self.lifecycle.set_draining();
                if matches!(self.until, Until::SignalsAtOnce) {
                    return ShutdownSignal::FastShutdown;
                }
                tokio::select! {
                    () = signals.recv(&self.reloader) => ShutdownSignal::FastShutdown,
                    () = self.drain() => ShutdownSignal::GracefulTerminate,
                }
            }
        }
    }
}

impl Watch {
    /// Waits until no request is under way, within a limit.
    async fn drain(&self) {
        const PAUSE: Duration = Duration::from_millis(10);
        let deadline = Instant::now() + DRAIN_LIMIT;
        tracing::info!(in_flight = self.metrics.all_in_flight(), "draining");
        while self.metrics.all_in_flight() > 0 && Instant::now() < deadline {
            sleep(PAUSE).await;
        }
    }
}

/// The signals that end the gateway, and SIGHUP, which asks for a reload.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal to go; reloads before that.
    async fn recv(&mut self, reloader: &Reloader) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.quit.recv() => return,
                _ = self.hangup.recv() => {
                    let reloader = reloader.clone();
                    // What came of it is in the log.
                    tokio::spawn(async move { reloader.reload().await });
                }
            }
        }
    }
}
