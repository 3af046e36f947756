//! Subscriptions and their source, which live on as long as the configuration names the same one.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    config::SourceSettings,
    feed::Feed,
    metrics::{Metrics, SourceHealth},
    subscription::{Names, Subscriptions, Table},
};

/// A source in use.
#[derive(Clone)]
pub struct Supply {
    settings: SourceSettings,
    pub subscriptions: Arc<Subscriptions>,
    /// Says when the feed is to end; its end too is a word.
    stop: Arc<watch::Sender<bool>>,
}

/// Work in the background, and who may end it.
pub struct Feeding(Feed, watch::Receiver<bool>);

impl Supply {
    /// The source in use where it stays the same, else a new one with its work.
    pub fn new(
        settings: Option<&SourceSettings>,
        known: Option<&Self>,
        names: &Arc<Names>,
        metrics: &Arc<Metrics>,
    ) -> (Option<Self>, Option<Feeding>) {
        let Some(settings) = settings else {
            return (None, None);
        };
        if let Some(known) = known.filter(|known| known.settings == *settings) {
            return (Some(known.clone()), None);
        }
        let table = Arc::new(Table::new(Arc::clone(names)));
        let health = Arc::new(SourceHealth::new(metrics));
        let (feed, desk) = Feed::new(settings, &table, &health, metrics);
        let (stop, stopped) = watch::channel(false);
        let supply = Self {
            settings: settings.clone(),
            subscriptions: Arc::new(Subscriptions {
                table,
                desk,
                health,
            }),
            stop: Arc::new(stop),
        };
        (Some(supply), Some(Feeding(feed, stopped)))
    }

    pub fn is_ready(&self) -> bool {
        self.subscriptions.table.is_ready()
    }

    /// Metrics show `next` from now on.
    pub fn show(next: Option<&Self>, before: Option<&Self>, metrics: &Metrics) {
        if let Some(before) = before {
            before.subscriptions.health.show(false);
        }
        match next {
            Some(next) => next.subscriptions.health.show(true),
            None => metrics.subscriptions.clear(),
        }
    }

    pub fn stop(&self) {
        // Nobody listens where the work has not begun.
        let _ = self.stop.send(true);
    }
}

impl Feeding {
    pub async fn run(self) {
        let Self(feed, stopped) = self;
        feed.run(stopped).await;
    }
}
