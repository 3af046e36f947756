//! The end of the server, and the moment when it is ready: signals, draining, readiness.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
    time::{Instant, sleep, timeout_at},
};

use super::upgrade;
use crate::{
    config::ProcessSettings,
    lifecycle::{Lifecycle, Reloader, Stage},
    listener::Control,
    metrics::Metrics,
};

/// What ends the server.
pub enum Until {
    /// SIGTERM or SIGINT, after draining; a second one ends it at once. SIGQUIT, once a new process has
    /// taken over.
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
    doors: Doors,
    process: ProcessSettings,
    reloader: Reloader,
    ready: parking_lot::Mutex<Option<Box<dyn FnOnce() + Send + Sync>>>,
}

/// Where connections come in.
pub struct Doors {
    pub gateway: Control,
    pub admin: Control,
}

impl Watch {
    /// `ready` is called once connections are taken.
    pub fn new(
        until: Until,
        lifecycle: Arc<Lifecycle>,
        metrics: Arc<Metrics>,
        doors: Doors,
        process: ProcessSettings,
        reloader: Reloader,
        ready: impl FnOnce() + Send + Sync + 'static,
    ) -> Self {
        Self {
            until,
            lifecycle,
            metrics,
            doors,
            process,
            reloader,
            ready: parking_lot::Mutex::new(Some(Box::new(ready))),
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Watch {
    async fn recv(&self) -> ShutdownSignal {
        match &self.until {
            Until::Notified(notify) => {
                tokio::select! {
                    () = notify.notified() => {}
                    () = self.start() => {}
                }
                self.lifecycle.enter(Stage::Draining);
                ShutdownSignal::FastShutdown
            }
            Until::Signals | Until::SignalsAtOnce => match Signals::new() {
                Ok(mut signals) => self.follow(&mut signals).await,
                Err(_) => {
                    tracing::error!("cannot watch for signals");
                    ShutdownSignal::FastShutdown
                }
            },
        }
    }
}

impl Watch {
    /// Says that the gateway is ready, once it is. Never ends.
    async fn start(&self) {
        self.doors.gateway.accepting().await;
        self.lifecycle.enter(Stage::Ready);
        if let Some(ready) = self.ready.lock().take() {
            ready();
        }
        std::future::pending().await
    }

    async fn follow(&self, signals: &mut Signals) -> ShutdownSignal {
        let wish = tokio::select! {
            wish = signals.next(&self.reloader) => wish,
            () = self.start() => Wish::End,
        };
        if matches!(self.until, Until::SignalsAtOnce) {
            self.lifecycle.enter(Stage::Draining);
            return ShutdownSignal::FastShutdown;
        }
        let replaced = self.upgrade(wish, signals).await;
        tokio::select! {
            _ = signals.next(&self.reloader) => ShutdownSignal::FastShutdown,
            () = self.drain(replaced) => ShutdownSignal::GracefulTerminate,
        }
    }

    /// Gives the sockets to new processes, until one has taken them (true) or somebody wants the end
    /// (false).
    async fn upgrade(&self, mut wish: Wish, signals: &mut Signals) -> bool {
        while wish == Wish::Upgrade {
            self.lifecycle.enter(Stage::Upgrading);
            tracing::info!("waiting for a new process to take over");
            wish = tokio::select! {
                result = self.hand_over() => match result {
                    Ok(()) => return true,
                    Err(fault) => {
                        tracing::error!(why = format!("{fault:#}"), "not upgraded: all goes on");
                        self.lifecycle.enter(Stage::Ready);
                        signals.next(&self.reloader).await
                    }
                },
                // One more of the same changes nothing.
                () = signals.end(&self.reloader) => Wish::End,
            };
        }
        false
    }

    async fn hand_over(&self) -> anyhow::Result<()> {
        let mut sockets = self.doors.gateway.hand_out()?;
        sockets.extend(self.doors.admin.hand_out()?);
        upgrade::hand_over(&self.process.upgrade_socket, sockets).await
    }

    /// Waits until nobody is there any more, within a limit. `replaced`: a new process has the
    /// sockets and answers for the admin listener too.
    async fn drain(&self, replaced: bool) {
        const PAUSE: Duration = Duration::from_millis(10);
        if replaced {
            self.doors.admin.close();
        } else if !self.process.drain_notice.is_zero() {
            self.lifecycle.enter(Stage::LameDuck);
            tracing::info!(notice = ?self.process.drain_notice, "not ready any more");
            sleep(self.process.drain_notice).await;
        }
        self.lifecycle.enter(Stage::Draining);
        let deadline = Instant::now() + self.process.drain_limit;
        let open = || self.doors.gateway.open_connections();
        let in_flight = self.metrics.all_in_flight();
        tracing::info!(connections = open(), in_flight, "draining");
        self.doors.gateway.close();
        // Who is waiting in the queue of the system counts as well.
        let _ = timeout_at(deadline, self.doors.gateway.closed()).await;
        while open() > 0 && Instant::now() < deadline {
            sleep(PAUSE).await;
        }
        if open() > 0 {
            tracing::warn!(connections = open(), "the drain limit is over: cutting off");
        }
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    End,
    Upgrade,
}

/// The signals that end the gateway, SIGQUIT for a new process, and SIGHUP for a reload.
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

    /// What is wished for next; reloads before that.
    async fn next(&mut self, reloader: &Reloader) -> Wish {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Wish::End,
                _ = self.interrupt.recv() => return Wish::End,
                _ = self.quit.recv() => return Wish::Upgrade,
                _ = self.hangup.recv() => {
                    let reloader = reloader.clone();
                    // What came of it is in the log.
                    tokio::spawn(async move { reloader.reload().await });
                }
            }
        }
    }

    /// When the end is wished for.
    async fn end(&mut self, reloader: &Reloader) {
        while self.next(reloader).await != Wish::End {}
    }
}
