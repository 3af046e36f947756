//! The program's own log, on standard error: text on a terminal, JSON otherwise.

use std::{
    io::IsTerminal,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::{Event, Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    filter::Targets,
    fmt,
    layer::{Context, Layer},
    prelude::*,
};

use crate::{config::LogLevel, metrics::Metrics};

/// Counts the messages. There are metrics only some time after the first of them.
#[derive(Clone, Default)]
pub struct Counting(Arc<Counts>);

#[derive(Default)]
struct Counts {
    early: [AtomicU64; 4],
    metrics: OnceLock<Arc<Metrics>>,
}

impl Counting {
    /// From here on, and what has been counted so far.
    pub fn into_metrics(self, metrics: Arc<Metrics>) {
        let levels = [
            LogLevel::Error,
            LogLevel::Warn,
            LogLevel::Info,
            LogLevel::Debug,
        ];
        for level in levels {
            let early = self.0.early[level as usize].swap(0, Ordering::Relaxed);
            metrics.logged(level, early);
        }
        // Only the first ones are ever set.
        let _ = self.0.metrics.set(metrics);
    }
}

impl<S: Subscriber> Layer<S> for Counting {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => LogLevel::Error,
            Level::WARN => LogLevel::Warn,
            Level::INFO => LogLevel::Info,
            _ => LogLevel::Debug,
        };
        match self.0.metrics.get() {
            Some(metrics) => metrics.logged(level, 1),
            None => drop(self.0.early[level as usize].fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// Starts logging. Of the libraries only Pingora's server speaks, and only of trouble: its HTTP
/// parts repeat whole requests in their messages, tokens included.
pub fn init(level: LogLevel) -> Counting {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let targets = Targets::new()
        .with_target("portcullis", level)
        .with_target("pingora_core::server", LevelFilter::WARN)
        .with_target("pingora_core::services", LevelFilter::WARN)
        .with_target("pingora_core::listeners", LevelFilter::WARN);
    let counting = Counting::default();
    let registry = tracing_subscriber::registry()
        .with(targets)
        .with(counting.clone());
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(false);
    // A second call, in a program that logs already, changes nothing.
    let _ = match std::io::stderr().is_terminal() {
        true => registry.with(layer).try_init(),
        false => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    counting
}
