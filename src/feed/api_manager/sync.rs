//! Whole lists, from the API Manager into the table: when the gateway starts, and from then on now and
//! then, since nobody tells for sure of every change.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::{
    clock::UNCERTAINTY,
    rest::{NoAnswer, Rest, Sink},
};
use crate::{
    auth::Backoff,
    domain::{Millis, Row, RowKind},
    metrics::{ApiManagerMetrics, RowFault, SourceHealth},
    subscription::{Load, Loaded, Table},
};

/// Tiers come first: once it is known who may pass, it has to be known how often.
const ORDER: [RowKind; 6] = [
    RowKind::ApplicationPolicies,
    RowKind::SubscriptionPolicies,
    RowKind::Applications,
    RowKind::KeyMappings,
    RowKind::Apis,
    RowKind::Subscriptions,
];
/// A list counts from the whole second in which it was asked for. One that is to be newer than an event
/// must begin in a later second.
pub const NEXT_SECOND: Duration = Duration::from_millis(1_100);
/// The same where an event may be as far ahead of its time as the source's clock is not known.
const LATER: Duration = NEXT_SECOND.saturating_add(UNCERTAINTY);
/// Between two readings for no better reason than doubts: a source that always gives cause for them must not
/// be asked without a pause.
const LULL: Duration = Duration::from_secs(10);

/// Keeps the table as the API Manager's lists are.
pub struct Lists {
    pub rest: Arc<Rest>,
    pub table: Arc<Table>,
    pub of_server: Arc<ApiManagerMetrics>,
    pub health: Arc<SourceHealth>,
    pub interval: Duration,
    pub resync: Resync,
}

/// Asks for a reading of all lists, as soon as one that is under way is over.
#[derive(Clone, Default)]
pub struct Resync(Arc<Wanted>);

#[derive(Default)]
struct Wanted {
    now: Notify,
    doubts: Notify,
    /// When the last one came that no reading has answered.
    doubted: Mutex<Option<Instant>>,
}

impl Resync {
    /// Something may have changed that nobody told of.
    pub fn ask(&self) {
        self.0.now.notify_one();
    }

    /// Something was told that may not have been understood as it was meant. Lists are read some seconds
    /// later, and not without pause.
    pub fn doubt(&self) {
        *self.0.doubted.lock() = Some(Instant::now());
        self.0.doubts.notify_one();
    }

    /// A reading begins, which answers the doubts of seconds before.
    fn begin(&self) {
        let mut doubted = self.0.doubted.lock();
        *doubted = doubted.filter(|since| since.elapsed() < LATER);
    }

    async fn asked(&self) {
        self.0.now.notified().await;
    }

    /// Until doubts have to be answered.
    pub(super) async fn doubted(&self) {
        loop {
            let since = *self.0.doubted.lock();
            match since {
                Some(since) => return sleep_until(since + LATER).await,
                None => self.0.doubts.notified().await,
            }
        }
    }
}

impl Lists {
    /// Reads them again and again, without end.
    pub async fn follow(&self) {
        loop {
            self.read_all().await;
            let doubted = async {
                sleep(LULL).await;
                self.resync.doubted().await;
            };
            tokio::select! {
                () = sleep(self.interval) => {}
                () = self.resync.asked() => {}
                () = doubted => {}
            }
        }
    }

    /// Reads every list, those that fail again and again.
    async fn read_all(&self) {
        let began = Instant::now();
        let mut open = ORDER.to_vec();
        let mut backoff = Backoff::default();
        loop {
            if open.len() == ORDER.len() {
                self.resync.begin();
            }
            let mut failed = None;
            for kind in std::mem::take(&mut open) {
                match self.read(kind).await {
                    Ok(()) => {}
                    Err(cause) => {
                        failed = Some((kind, cause));
                        open.push(kind);
                    }
                }
            }
            let Some((kind, cause)) = failed else { break };
            self.health.failed(&cause.to_string());
            let pause = backoff.pause();
            tracing::warn!(
                %cause, list = kind.word(), again_in = ?pause,
                "subscriptions cannot be had from the API Manager; what is known stays in force"
            );
            tokio::select! {
                () = sleep(pause) => {}
                // Those that were read before may be too old now; and who asks has heard of the source.
                () = self.resync.asked() => open = ORDER.to_vec(),
            }
        }
        self.health.confirmed();
        let rows = |kind| self.table.count(kind);
        tracing::info!(
            took = ?began.elapsed(),
            applications = rows(RowKind::Applications),
            key_mappings = rows(RowKind::KeyMappings),
            apis = rows(RowKind::Apis),
            subscriptions = rows(RowKind::Subscriptions),
            "subscriptions were read from the API Manager"
        );
    }

    async fn read(&self, kind: RowKind) -> Result<(), NoAnswer> {
        let (rest, table) = (Arc::clone(&self.rest), Arc::clone(&self.table));
        let metrics = Arc::clone(&self.of_server);
        let work = move || {
            let mut into = Filling::new(kind, &table, &metrics);
            let result = rest.list(kind, &mut into);
            into.end(result)
        };
        let result = tokio::task::spawn_blocking(work).await;
        result.unwrap_or(Err(NoAnswer::Broken))
    }
}

/// Puts a list into the table.
struct Filling<'t> {
    kind: RowKind,
    table: &'t Table,
    metrics: &'t ApiManagerMetrics,
    load: Option<Load<'t>>,
}

impl<'t> Filling<'t> {
    fn new(kind: RowKind, table: &'t Table, metrics: &'t ApiManagerMetrics) -> Self {
        Self {
            kind,
            table,
            metrics,
            load: None,
        }
    }

    /// Only a list that is whole says that other rows are gone.
    fn end(self, result: Result<(), NoAnswer>) -> Result<(), NoAnswer> {
        result?;
        if let Some(load) = self.load {
            let Loaded { rows, removed } = load.finish();
            tracing::debug!(list = self.kind.word(), rows, removed, "a list was read");
        }
        Ok(())
    }
}

impl Sink for Filling<'_> {
    fn begin(&mut self, at: Millis) -> bool {
        self.load = self.table.begin(self.kind, at);
        self.load.is_some()
    }

    fn put(&mut self, row: Row) {
        if let Some(load) = &mut self.load {
            load.put(row);
        }
    }

    fn skip(&mut self, fault: RowFault) {
        if self.metrics.skip(self.kind, fault) {
            tracing::warn!(
                list = self.kind.word(),
                fault = fault.word(),
                "a row of the API Manager is left out; others like it are only counted"
            );
        }
    }
}
