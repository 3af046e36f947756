//! `[process]`: how the gateway ends, and how another takes its place.

use std::{path::PathBuf, time::Duration};

use super::section::{Placed, Section};

const LONGEST: Duration = Duration::from_secs(3600);

/// `[process]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSettings {
    /// How long the gateway goes on after it has said that it is not ready any more.
    pub drain_notice: Duration,
    /// Longest time that connections are waited for at the end.
    pub drain_limit: Duration,
    /// Where an old process gives its sockets to a new one.
    pub upgrade_socket: PathBuf,
}

impl Default for ProcessSettings {
    fn default() -> Self {
        Self {
            drain_notice: Duration::ZERO,
            drain_limit: Duration::from_secs(30),
            upgrade_socket: PathBuf::from("/run/portcullis/upgrade.sock"),
        }
    }
}

pub fn read(root: &mut Section<'_>) -> ProcessSettings {
    let mut section = root.section("process");
    let mut settings = ProcessSettings::default();
    if let Some(notice) = bounded(&mut section, "drain_notice") {
        settings.drain_notice = notice;
    }
    if let Some(limit) = bounded(&mut section, "drain_limit") {
        settings.drain_limit = limit;
    }
    if let Some(Placed { value, place }) = section.text("upgrade_socket") {
        settings.upgrade_socket = PathBuf::from(value);
        if !settings.upgrade_socket.is_absolute() {
            section.error(
                &place,
                "`upgrade_socket` is not an absolute path",
                "both processes must find it, wherever they are started",
            );
        }
    }
    section.finish();
    settings
}

fn bounded(section: &mut Section<'_>, key: &'static str) -> Option<Duration> {
    let Placed { value, place } = section.duration(key)?;
    if value > LONGEST {
        section.error(&place, format!("`{key}` is out of range"), "at most \"1h\"");
    }
    Some(value)
}
