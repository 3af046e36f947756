//! Whole lists, from the API Manager into the table: when the gateway starts, and from then on now and
//! then, since nobody tells for sure of every change.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::rest::{NoAnswer, Rest, Sink};
use crate::{
    auth::Backoff,
    domain::{Millis, Row, RowKind},
    metrics::{ApiManagerMetrics, Metrics, RowFault},
    subscription::{Load, Loaded, Table},
};

/// Keeps the table as the API Manager's lists are.
pub struct Lists {
    pub rest: Arc<Rest>,
    pub table: Arc<Table>,
    pub of_server: Arc<ApiManagerMetrics>,
    pub metrics: Arc<Metrics>,
    pub interval: Duration,
    pub resync: Resync,
}

/// Asks for a reading of all lists, as soon as one that is under way is over.
#[derive(Clone, Default)]
pub struct Resync(Arc<Notify>);

impl Resync {
    /// Something may have changed that nobody told of.
    pub fn ask(&self) {
        self.0.notify_one();
    }
}

impl Lists {
    /// Reads them again and again, without end.
    pub async fn follow(&self) {
        loop {
            self.read_all().await;
            tokio::select! {
                () = tokio::time::sleep(self.interval) => {}
                () = self.resync.0.notified() => {}
            }
        }
    }

    /// Reads every list, those that fail again and again.
    async fn read_all(&self) {
        let began = Instant::now();
        let mut open = RowKind::ALL.to_vec();
        let mut backoff = Backoff::default();
        loop {
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
            self.metrics.subscriptions.failed(&cause.to_string());
            let pause = backoff.pause();
            tracing::warn!(
                %cause, list = kind.word(), again_in = ?pause,
                "subscriptions cannot be had from the API Manager; what is known stays in force"
            );
            tokio::time::sleep(pause).await;
        }
        self.metrics.subscriptions.confirmed();
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
