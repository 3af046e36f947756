//! The program's own log, on standard error: text on a terminal, JSON otherwise.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, fmt, prelude::*};

use crate::config::LogLevel;

/// Starts logging. Of the libraries only Pingora's server speaks, and only of trouble: its HTTP
/// parts repeat whole requests in their messages, tokens included.
pub fn init(level: LogLevel) {
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
    let registry = tracing_subscriber::registry().with(targets);
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(false);
    // A second call, in a program that logs already, changes nothing.
    let _ = match std::io::stderr().is_terminal() {
        true => registry.with(layer).try_init(),
        false => registry.with(layer.json().flatten_event(true)).try_init(),
    };
}
