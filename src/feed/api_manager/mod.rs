//! Subscriptions as a WSO2 API Manager has them: its internal data API (`/internal/data/v1`), read when
//! the gateway starts, again and again, and for what is not known yet.

mod list;
mod misses;
mod rest;
mod row;
mod sync;

use std::sync::Arc;

use crate::{
    config::EventHubSettings,
    metrics::Metrics,
    subscription::{Questions, Table},
};
use misses::Misses;
use sync::Lists;

pub use misses::Found;
pub use rest::{NoAnswer, Rest, Sink, read};
pub use sync::Resync;

/// Keeps a table as an API Manager says.
pub struct ApiManager {
    lists: Lists,
    misses: Misses,
}

impl ApiManager {
    /// `max_list_bytes`: longest list that is read. `questions`: about what the table does not know.
    pub fn new(
        settings: &EventHubSettings,
        max_list_bytes: u64,
        table: &Arc<Table>,
        questions: Questions,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let of_server = metrics.api_manager(settings.name());
        let rest = Arc::new(Rest::new(settings, max_list_bytes, Arc::clone(&of_server)));
        Self {
            lists: Lists {
                rest: Arc::clone(&rest),
                table: Arc::clone(table),
                of_server,
                metrics: Arc::clone(metrics),
                interval: settings.resync_interval,
                resync: Resync::default(),
            },
            misses: Misses {
                rest,
                table: Arc::clone(table),
                questions,
            },
        }
    }

    /// By which all lists can be asked for anew.
    pub fn resync(&self) -> Resync {
        self.lists.resync.clone()
    }

    /// Reads lists and answers questions, without end.
    pub async fn follow(self) {
        tokio::join!(self.lists.follow(), self.misses.answer());
    }
}

#[cfg(test)]
mod tests;
