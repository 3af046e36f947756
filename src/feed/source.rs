//! Where subscriptions come from: a file or an address with a list of clients, or an API Manager.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    api_manager::ApiManager,
    clients::{Address, File},
};
use crate::{
    config::{SourcePlace, SourceSettings},
    metrics::{Metrics, SourceHealth},
    subscription::{Desk, Table},
};

/// How long the source is not asked again about what it does not know.
const UNKNOWN_TTL: Duration = Duration::from_secs(5);
/// How often the gauges are brought up to date.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps a table as its source says.
pub struct Feed {
    source: Source,
    table: Arc<Table>,
    health: Arc<SourceHealth>,
}

enum Source {
    File(File),
    Address(Address),
    ApiManager(Box<ApiManager>),
}

impl Feed {
    /// With the desk for what the table does not know, where the source can be asked.
    pub fn new(
        settings: &SourceSettings,
        table: &Arc<Table>,
        health: &Arc<SourceHealth>,
        metrics: &Arc<Metrics>,
    ) -> (Self, Option<Desk>) {
        let mut desk = None;
        let most = settings.max_bytes;
        let source = match &settings.place {
            SourcePlace::File(path) => Source::File(File::new(path.clone(), most, table, health)),
            SourcePlace::Url(url) => Source::Address(Address::new(url, most, table, health)),
            SourcePlace::EventHub(hub) => {
                let (open, questions) = Desk::new(UNKNOWN_TTL);
                desk = Some(open);
                let manager = ApiManager::new(hub, most, table, health, questions, metrics);
                Source::ApiManager(Box::new(manager))
            }
        };
        let feed = Self {
            source,
            table: Arc::clone(table),
            health: Arc::clone(health),
        };
        (feed, desk)
    }

    /// Works until `stop` says true, or its sender is gone.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let look = async {
            let mut ticks = tokio::time::interval(LOOK);
            loop {
                ticks.tick().await;
                let rows = |kind| self.table.count(kind);
                self.health.observe(rows);
            }
        };
        let work = async {
            match self.source {
                Source::File(file) => file.follow().await,
                Source::Address(address) => address.follow().await,
                Source::ApiManager(manager) => manager.follow().await,
            }
        };
        tokio::select! {
            _ = stop.wait_for(|over| *over) => {}
            () = work => {}
            () = look => {}
        }
    }
}
