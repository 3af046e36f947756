//! Subscriptions without a control plane: a list of clients in a file or at an address.

mod document;
mod file;
mod intake;
mod url;

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    config::{SourcePlace, SourceSettings},
    metrics::Metrics,
    subscription::Table,
};
use file::File;
use url::Address;

pub use document::{Document, Form, Unreadable};

/// How often the gauges are brought up to date.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps a table as its source says.
pub struct Feed {
    source: Source,
    table: Arc<Table>,
    metrics: Arc<Metrics>,
}

enum Source {
    File(File),
    Address(Address),
}

impl Feed {
    pub fn new(settings: &SourceSettings, table: &Arc<Table>, metrics: &Arc<Metrics>) -> Self {
        let most = settings.max_bytes;
        let source = match &settings.place {
            SourcePlace::File(path) => Source::File(File::new(path.clone(), most, table, metrics)),
            SourcePlace::Url(url) => Source::Address(Address::new(url, most, table, metrics)),
        };
        Self {
            source,
            table: Arc::clone(table),
            metrics: Arc::clone(metrics),
        }
    }

    /// Works until `stop` says true, or its sender is gone.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let look = async {
            let mut ticks = tokio::time::interval(LOOK);
            loop {
                ticks.tick().await;
                let rows = |kind| self.table.count(kind);
                self.metrics.subscriptions.observe(rows);
            }
        };
        let work = async {
            match self.source {
                Source::File(file) => file.follow().await,
                Source::Address(address) => address.follow().await,
            }
        };
        tokio::select! {
            _ = stop.wait_for(|over| *over) => {}
            () = work => {}
            () = look => {}
        }
    }
}
