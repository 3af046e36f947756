//! A file with a list of clients, read again when it changes. One that cannot be read changes nothing.

use std::{
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{document::Form, intake::Intake};
use crate::{metrics::SourceHealth, subscription::Table};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// A list of clients in a file.
pub struct File {
    path: PathBuf,
    form: Form,
    max_bytes: u64,
    intake: Arc<Intake>,
}

/// By what a file is known to be another one: device, inode, length, time of the last change.
type Mark = (u64, u64, u64, i64, i64);

impl File {
    pub fn new(
        path: PathBuf,
        max_bytes: u64,
        table: &Arc<Table>,
        health: &Arc<SourceHealth>,
    ) -> Self {
        let is_json = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        Self {
            form: if is_json { Form::Json } else { Form::Toml },
            intake: Arc::new(Intake::new(path.display().to_string(), table, health)),
            path,
            max_bytes,
        }
    }

    /// Reads the file, and again whenever it has changed and then stayed so for a moment: an editor
    /// may still be writing.
    pub async fn follow(self) {
        let mut ticks = tokio::time::interval(LOOK);
        let (mut taken, mut seen) = (None, None);
        let mut is_first = true;
        loop {
            ticks.tick().await;
            let mark = match mark(&self.path) {
                Ok(mark) => mark,
                Err(fault) => {
                    self.intake.failed(&fault.to_string());
                    (taken, seen) = (None, None);
                    continue;
                }
            };
            let is_still = is_first || seen == Some(mark);
            seen = Some(mark);
            match taken {
                Some((known, true)) if known == mark => self.intake.unchanged(),
                Some((known, false)) if known == mark => {}
                _ if is_still => taken = Some((mark, self.read().await)),
                _ => {}
            }
            is_first = false;
        }
    }

    async fn read(&self) -> bool {
        let (path, form, max_bytes) = (self.path.clone(), self.form, self.max_bytes);
        let intake = Arc::clone(&self.intake);
        let work = move || match read_bounded(&path, max_bytes) {
            Ok(bytes) => intake.take(&bytes, form),
            Err(fault) => intake.failed(&fault.to_string()),
        };
        tokio::task::spawn_blocking(work).await.unwrap_or(false)
    }
}

fn mark(path: &Path) -> io::Result<Mark> {
    let known = std::fs::metadata(path)?;
    Ok((
        known.dev(),
        known.ino(),
        known.len(),
        known.mtime(),
        known.mtime_nsec(),
    ))
}

fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(most + 1)
        .read_to_end(&mut bytes)?;
    match bytes.len() as u64 <= most {
        true => Ok(bytes),
        false => Err(io::Error::other("it is longer than `max_bytes`")),
    }
}
