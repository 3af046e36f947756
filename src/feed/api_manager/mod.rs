//! Subscriptions as a WSO2 API Manager has them: its internal data API (`/internal/data/v1`), read when
//! the gateway starts, again and again, and for what is not known yet.

mod clock;
mod list;
mod misses;
mod rest;
mod row;
mod sync;

use std::sync::Arc;

use tokio::{sync::watch, task::JoinSet};

use super::events::{Consumer, Listener, Notifications};
use crate::{
    config::EventHubSettings,
    metrics::{Metrics, SourceHealth},
    subscription::{Questions, Table},
};
use misses::Misses;
use sync::Lists;

pub use clock::Clock;
pub use misses::Found;
pub use rest::{NoAnswer, Rest, Sink, read};
pub use sync::{NEXT_SECOND, Resync};

/// Keeps a table as an API Manager says.
pub struct ApiManager {
    lists: Lists,
    misses: Misses,
    /// Who listens to changes, if a broker tells of them.
    events: Option<Consumer>,
}

impl ApiManager {
    /// `max_list_bytes`: longest list that is read. `questions`: about what the table does not know.
    pub fn new(
        settings: &EventHubSettings,
        max_list_bytes: u64,
        table: &Arc<Table>,
        health: &Arc<SourceHealth>,
        questions: Questions,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let of_server = metrics.api_manager(settings.name());
        let rest = Arc::new(Rest::new(settings, max_list_bytes, Arc::clone(&of_server)));
        let resync = Resync::default();
        let events = settings.events.clone().map(|broker| {
            let tenant = settings.tenant_domain();
            let taken = Notifications::new(table, resync.clone(), rest.clock(), tenant);
            Consumer::new(broker, Listener::Notifications(taken), metrics)
        });
        Self {
            events,
            lists: Lists {
                rest: Arc::clone(&rest),
                table: Arc::clone(table),
                of_server,
                health: Arc::clone(health),
                interval: settings.resync_interval,
                resync,
            },
            misses: Misses {
                rest,
                table: Arc::clone(table),
                questions,
            },
        }
    }

    /// By which all lists can be asked for anew.
    #[cfg(test)]
    pub fn resync(&self) -> Resync {
        self.lists.resync.clone()
    }

    /// Reads lists, answers questions and takes events, without end.
    pub async fn follow(self) {
        // Ends with this. Apart, so that many events at once do not hold up the others.
        let mut listening = JoinSet::new();
        let (_stop, stopped) = watch::channel(false);
        if let Some(events) = self.events {
            listening.spawn(events.run(stopped));
        }
        tokio::join!(self.lists.follow(), self.misses.answer());
    }
}

#[cfg(test)]
mod tests;
