//! Those who listen to brokers, on a thread of their own: many events at once must slow nothing else.

use std::sync::Arc;

use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::{Notify, watch},
};

use crate::{
    auth::Revocations,
    config::RevocationSettings,
    feed::{
        RevocationWatch, Revoker,
        events::{Consumer, Listener},
    },
    metrics::Metrics,
};

/// What listens for the configuration in force. Ends with it.
pub struct Events {
    /// `None`: nobody has had to listen yet.
    runtime: Option<Runtime>,
    revocation: Option<Running>,
    revocations: Arc<Revocations>,
}

/// What listens, and for which settings.
struct Running {
    settings: RevocationSettings,
    /// Its end is the word to stop.
    _stop: watch::Sender<bool>,
}

/// What will listen.
pub struct Prepared {
    settings: RevocationSettings,
    consumer: Option<Consumer>,
    watch: RevocationWatch,
}

impl Events {
    pub fn new(revocations: Arc<Revocations>) -> Self {
        Self {
            runtime: None,
            revocation: None,
            revocations,
        }
    }

    /// From now on the settings of `prepared` are in force. What listens for the same ones goes on.
    pub fn follow(&mut self, prepared: Option<Prepared>) {
        let Some(prepared) = prepared else {
            self.revocation = None;
            return;
        };
        let running = self.revocation.as_ref();
        if running.is_some_and(|running| running.settings == prepared.settings) {
            return;
        }
        self.revocations.resize(prepared.settings.max_entries);
        let (stop, stopped) = watch::channel(false);
        let Some(runtime) = self.runtime() else {
            return;
        };
        runtime.spawn(prepared.watch.run(stopped.clone()));
        if let Some(consumer) = prepared.consumer {
            runtime.spawn(consumer.run(stopped));
        }
        self.revocation = Some(Running {
            settings: prepared.settings,
            _stop: stop,
        });
    }

    /// Where everything runs that listens; `None`: there is no thread for it.
    pub fn handle(&mut self) -> Option<Handle> {
        self.runtime().map(|runtime| runtime.handle().clone())
    }

    fn runtime(&mut self) -> Option<&Runtime> {
        if self.runtime.is_none() {
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("events")
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => self.runtime = Some(runtime),
                Err(fault) => tracing::error!(%fault, "no thread to listen for events on"),
            }
        }
        self.runtime.as_ref()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.revocation = None;
        if let Some(runtime) = self.runtime.take() {
            // Whoever drops this may be on a runtime, which must not wait for another.
            runtime.shutdown_background();
        }
    }
}

/// Makes what listens, without connecting.
pub fn prepare(
    settings: Option<RevocationSettings>,
    revocations: &Arc<Revocations>,
    metrics: &Metrics,
) -> Option<Prepared> {
    let settings = settings?;
    let again = Arc::new(Notify::new());
    let listener =
        || Listener::Revocations(Revoker::new(Arc::clone(revocations), Arc::clone(&again)));
    let consumer = settings
        .events
        .clone()
        .map(|broker| Consumer::new(broker, listener(), metrics));
    Some(Prepared {
        consumer,
        watch: RevocationWatch {
            revocations: Arc::clone(revocations),
            list: settings.list.clone(),
            again,
            metrics: Arc::clone(&metrics.revocation),
        },
        settings,
    })
}
