//! `include`: routes and upstreams from files of their own, such as one for each team.
//!
//! Their entries are put behind those of the main file. Their places go on where its text ends, so
//! that one number says which file and where: see [`Problems`](super::Problems).

use std::path::{Path, PathBuf};

use super::{
    problem::{Place, Problem, Report, Severity, Source},
    section::{Names, Placed, Section},
    tree::{Entry, Table, Value},
};

const KEY: &str = "include";

/// The files that were read beside the main one, and whether all that it includes could be read.
#[derive(Default)]
pub struct Included {
    pub sources: Vec<Source>,
    pub complete: bool,
}

impl Included {
    /// Where the places of one more file begin.
    pub fn next_offset(&self, main: &Source) -> usize {
        let files = std::iter::once(main).chain(&self.sources);
        files.fold(0, next_offset)
    }
}

/// Reads the files that `root` includes into it.
pub fn read(root: &mut Table, source: &Source, report: &Report) -> Included {
    let mut included = Included {
        sources: Vec::new(),
        complete: true,
    };
    let Some(entry) = root.take(|key| key == KEY) else {
        return included;
    };
    let only = Table {
        entries: vec![entry],
    };
    let mut section = Section::new(only, "", Names::Exact, Place::Nowhere, report);
    let Some(patterns) = section.texts(KEY) else {
        included.complete = false;
        return included;
    };
    let folder = Path::new(&source.name).parent().unwrap_or(Path::new(""));
    let mut offset = next_offset(0, source);
    for pattern in patterns.value {
        let Some(paths) = matching(folder, &pattern, &section) else {
            included.complete = false;
            continue;
        };
        for path in paths {
            if included.sources.iter().any(|other| is_at(other, &path)) {
                continue;
            }
            let Ok(source) = Source::read(&path).map_err(|fault| {
                let what = format!("{} cannot be read: {fault}", path.display());
                section.error(&pattern.place, what, "");
            }) else {
                included.complete = false;
                continue;
            };
            let before = report.count();
            let table = Table::parse(&source.text, offset, report);
            match report.count() == before {
                true => join(root, table, report),
                false => included.complete = false,
            }
            offset = next_offset(offset, &source);
            included.sources.push(source);
        }
    }
    included
}

/// Where the places of the next file begin. Files do not touch, so that the end of one is not the
/// beginning of another.
pub fn next_offset(offset: usize, source: &Source) -> usize {
    offset + source.text.len() + 1
}

fn is_at(source: &Source, path: &Path) -> bool {
    Path::new(&source.name) == path
}

/// The files that a pattern names, in the order of their names: a file, or all of a folder whose
/// names fit the one `*`. `None` when it cannot be told.
fn matching(
    folder: &Path,
    pattern: &Placed<String>,
    section: &Section<'_>,
) -> Option<Vec<PathBuf>> {
    let whole = folder.join(&pattern.value);
    if !pattern.value.contains('*') {
        return Some(vec![whole]);
    }
    let parent = whole.parent().unwrap_or(folder);
    let name = pattern.value.rsplit('/').next().unwrap_or_default();
    let Some((start, end)) = name
        .split_once('*')
        .filter(|_| pattern.value.matches('*').count() == 1)
    else {
        section.error(
            &pattern.place,
            "`*` stands once, in the file's name",
            "for instance \"conf.d/*.toml\"",
        );
        return None;
    };
    let mut names = match names_in(parent) {
        Ok(names) => names,
        Err(fault) => {
            let what = format!("{} cannot be read: {fault}", parent.display());
            section.error(&pattern.place, what, "");
            return None;
        }
    };
    // What editors leave behind is hidden.
    names.retain(|name| {
        let fits =
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end);
        fits && (start.starts_with('.') || !name.starts_with('.'))
    });
    if names.is_empty() {
        section.warn(&pattern.place, "no file has such a name", "");
    }
    names.sort_unstable();
    Some(names.into_iter().map(|name| parent.join(name)).collect())
}

/// Of files, not of folders.
fn names_in(folder: &Path) -> std::io::Result<Vec<String>> {
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // Through links: that is how container engines mount files.
        if entry.path().is_file()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// Puts the routes, APIs and upstreams of an included file behind those of `root`.
fn join(root: &mut Table, table: Table, report: &Report) {
    for entry in table.entries {
        match (&*entry.key, &entry.node.value) {
            ("api" | "route", Value::Array(_)) | ("upstreams", Value::Table(_)) => {
                put(root, entry, report)
            }
            (KEY, _) => tell(
                report,
                &entry,
                "an included file cannot include others".into(),
                "",
            ),
            ("api" | "route", _) => tell(
                report,
                &entry,
                format!("`{}` is a list of tables", entry.key),
                &format!("write `[[{}]]`, with two brackets", entry.key),
            ),
            ("upstreams", _) => tell(
                report,
                &entry,
                "`upstreams` is a table of tables".into(),
                "write `[upstreams.NAME]`",
            ),
            _ => tell(
                report,
                &entry,
                format!("`{}` cannot stand in an included file", entry.key),
                "only [[route]], [[api]] and [upstreams.NAME] can: put it into the main file",
            ),
        }
    }
}

fn put(root: &mut Table, entry: Entry, report: &Report) {
    let there = root.entries.iter_mut().find(|other| other.key == entry.key);
    let Some(there) = there else {
        root.entries.push(entry);
        return;
    };
    match (&mut there.node.value, entry.node.value) {
        (Value::Array(all), Value::Array(more)) => all.extend(more),
        (Value::Table(all), Value::Table(more)) => {
            for entry in more.entries {
                match all.entries.iter().find(|other| other.key == entry.key) {
                    Some(twin) => report.add(Problem {
                        severity: Severity::Error,
                        what: format!("two upstreams have the name {:?}", entry.key),
                        place: entry.key_place.beside(&twin.key_place),
                        section: String::new(),
                        hint: None,
                    }),
                    None => all.entries.push(entry),
                }
            }
        }
        // What is there has the wrong type, which is told when it is read.
        _ => {}
    }
}

fn tell(report: &Report, entry: &Entry, what: String, hint: &str) {
    report.add(Problem {
        severity: Severity::Error,
        what,
        place: entry.key_place.clone(),
        section: String::new(),
        hint: (!hint.is_empty()).then(|| hint.to_owned()),
    });
}
