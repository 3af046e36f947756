//! `[response_cache]`, and `response_cache` of a route: whether and how answers are kept.

use std::{
    fs,
    io::ErrorKind,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    check::Context,
    problem::Place,
    section::{Placed, Section},
};
use crate::domain::{Access, CachePolicy, CacheScope};

const MAX_BYTES: RangeInclusive<usize> = 1 << 20..=1 << 40;
/// Longest time after its end for which an answer may be used.
const LONGEST_WINDOW: Duration = Duration::from_secs(30 * 24 * 3600);

/// `[response_cache]`: for the answers of all routes together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseCacheSettings {
    pub max_bytes: usize,
    /// Longest body that is kept, where a route does not say.
    pub max_object_bytes: usize,
    /// The folder behind the memory.
    pub disk_path: Option<PathBuf>,
    pub disk_max_bytes: usize,
}

impl Default for ResponseCacheSettings {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            max_object_bytes: 1 << 20,
            disk_path: None,
            disk_max_bytes: 1 << 30,
        }
    }
}

/// Reads `[response_cache]`.
pub fn read(root: &mut Section<'_>, context: &Context<'_>) -> ResponseCacheSettings {
    let mut section = root.section("response_cache");
    let mut settings = ResponseCacheSettings::default();
    if let Some(size) = section.size("max_bytes") {
        settings.max_bytes = bounded(&section, &size, "max_bytes", MAX_BYTES);
    }
    if let Some(size) = section.size("max_object_bytes") {
        let range = 1..=settings.max_bytes;
        settings.max_object_bytes = bounded(&section, &size, "max_object_bytes", range);
    }
    settings.max_object_bytes = settings.max_object_bytes.min(settings.max_bytes);
    settings.disk_path = disk_path(&mut section, context);
    if let Some(size) = section.size("disk_max_bytes") {
        settings.disk_max_bytes = bounded(&section, &size, "disk_max_bytes", MAX_BYTES);
        if !section.was_given("disk_path") {
            let what = "`disk_max_bytes` says nothing without `disk_path`";
            section.warn(&size.place, what, "add it, or leave this one out");
        }
    }
    section.finish();
    settings
}

/// A relative path starts at the configuration file.
fn disk_path(section: &mut Section<'_>, context: &Context<'_>) -> Option<PathBuf> {
    let Placed { value, place } = section.text("disk_path")?;
    let here = Path::new(&context.source.name).parent();
    let path = here.unwrap_or(Path::new("")).join(&value);
    if value.is_empty() {
        section.error(&place, "`disk_path` is empty", "name a folder");
    } else if let Err(why) = can_be_folder(&path) {
        let what = format!("`disk_path` {} cannot be used: {why}", path.display());
        section.error(
            &place,
            what,
            "a folder that is there, or that the gateway can make",
        );
    }
    Some(path)
}

/// Makes nothing: whether it can be written to is seen at the start.
fn can_be_folder(path: &Path) -> Result<(), String> {
    for folder in path.ancestors() {
        // The working directory.
        let folder = if folder == Path::new("") {
            Path::new(".")
        } else {
            folder
        };
        match fs::metadata(folder) {
            Ok(there) if !there.is_dir() => {
                return Err(format!("{} is not a folder", folder.display()));
            }
            Ok(_) => return Ok(()),
            Err(fault) if fault.kind() == ErrorKind::NotFound => {}
            Err(fault) if fault.kind() == ErrorKind::NotADirectory => {}
            Err(fault) => return Err(fault.to_string()),
        }
    }
    Ok(())
}

/// Reads a route's `response_cache`: its answers are kept if it is there.
pub fn of_route(
    route: &mut Section<'_>,
    settings: &ResponseCacheSettings,
    access: Option<&Access>,
) -> Option<Box<CachePolicy>> {
    let mut section = route.optional_section("response_cache")?;
    let scope = scope(&mut section, access);
    let default_ttl = window(&mut section, "default_ttl");
    let stale_while_revalidate = window(&mut section, "stale_while_revalidate");
    let stale_if_error = window(&mut section, "stale_if_error");
    let size = section.size("max_object_bytes");
    let max_object_bytes = size.map_or(settings.max_object_bytes, |size| {
        let range = 1..=settings.max_bytes;
        bounded(&section, &size, "max_object_bytes", range)
    });
    section.finish();
    Some(Box::new(CachePolicy {
        scope,
        default_ttl,
        stale_while_revalidate,
        stale_if_error,
        max_object_bytes,
    }))
}

fn scope(section: &mut Section<'_>, access: Option<&Access>) -> CacheScope {
    let Some(Placed { value, place }) = section.text("scope") else {
        return CacheScope::Shared;
    };
    let known = CacheScope::ALL.iter().find(|(_, word)| *word == value);
    let scope = match known {
        Some((scope, _)) => *scope,
        None => {
            section.error(
                &place,
                format!("{value:?} is not a scope"),
                "\"shared\" or \"per_client\"",
            );
            CacheScope::Shared
        }
    };
    if scope == CacheScope::PerClient && matches!(access, Some(Access::Public)) {
        section.error(
            &place,
            "a public route does not know its clients",
            "leave `scope` out, or ask for a token",
        );
    }
    scope
}

fn window(section: &mut Section<'_>, key: &'static str) -> Duration {
    let Some(Placed { value, place }) = section.duration(key) else {
        return Duration::ZERO;
    };
    if value > LONGEST_WINDOW || value.subsec_nanos() != 0 {
        let hint = "whole seconds, at most \"30d\"";
        section.error(&place, format!("`{key}` is out of range"), hint);
    }
    value
}

fn bounded(
    section: &Section<'_>,
    size: &Placed<u64>,
    key: &str,
    range: RangeInclusive<usize>,
) -> usize {
    match usize::try_from(size.value) {
        Ok(size) if range.contains(&size) => size,
        _ => {
            out_of_range(section, &size.place, key, &range);
            *range.end()
        }
    }
}

fn out_of_range(section: &Section<'_>, place: &Place, key: &str, range: &RangeInclusive<usize>) {
    section.error(
        place,
        format!("`{key}` is out of range"),
        format!("between {} and {} bytes", range.start(), range.end()),
    );
}
