//! `[[api]]`: routes from a description of an API.
//!
//! Each operation becomes a table like one of `[[route]]`, and each endpoint of several servers one like `[upstreams.NAME]`.
//! They are then read like those that were written by hand, so that nothing is checked in two ways.

mod entry;
mod operation;
mod upstreams;

use std::{collections::HashSet, ops::Range, path::Path, rc::Rc};

use super::{
    include::Included,
    problem::{Place, Report, Source, source_at},
    section::{Names, Placed, Section},
    settings::ApiSettings,
    tree::{Entry, Node, Table, Value},
};
use crate::{
    markup::{Fault, MAX_BYTES},
    openapi::{Access, Document, NoteKind},
};
use operation::Reader;

const KEY: &str = "api";

/// Keys of a route that an API may say for all of its operations.
const FOR_ALL: [&str; 22] = [
    "api",
    "api_tier",
    "audience",
    "compression",
    "cors",
    "end_with_token",
    "forward_token",
    "headers",
    "host",
    "identity_headers",
    "issuer",
    "key_manager",
    "match_headers",
    "max_body_bytes",
    "rate_limits",
    "response_cache",
    "sandbox_upstream",
    "tier",
    "timeout",
    "token_header",
    "upstream",
    "validate_subscriptions",
];

/// What one `[[api]]` says beside its document.
struct Given {
    /// Where it begins.
    place: Place,
    name: Option<Placed<String>>,
    base_path: Option<Placed<String>>,
    upstream_path: Option<Placed<String>>,
    public: Option<bool>,
    /// For operations that name none.
    scopes: Option<Entry>,
    any_scope: bool,
    /// Those of [`FOR_ALL`] that are there.
    for_all: Vec<Entry>,
}

/// A document that was read, and where its text begins among all.
#[derive(Clone)]
struct Read {
    document: Rc<Document>,
    offset: usize,
}

impl Given {
    fn of_all(&self, key: &str) -> Option<&Entry> {
        self.for_all.iter().find(|entry| entry.key == key)
    }
}

impl Read {
    fn place(&self, at: &Range<usize>) -> Place {
        Place::Text(at.start + self.offset..at.end + self.offset)
    }
}

/// Puts the routes and upstreams of all `[[api]]` of `root` behind those that it has.
pub fn expand(
    root: &mut Table,
    main: &Source,
    included: &mut Included,
    report: &Report,
) -> Vec<ApiSettings> {
    let Some(entry) = root.take(|key| key == KEY) else {
        return Vec::new();
    };
    let only = Table {
        entries: vec![entry],
    };
    let mut all = Section::new(only, "", Names::Exact, Place::Nowhere, report);
    let mut files = Files {
        main,
        included,
        known: Vec::new(),
    };
    let mut names = HashSet::new();
    let mut apis = Vec::new();
    for mut section in all.sections(KEY) {
        let file = section.text("openapi");
        if file.is_none() {
            section.missing("openapi", "for instance \"petstore.yaml\"");
        }
        let given = given(&mut section);
        let read = file.and_then(|file| Some((files.read(&section, &file)?, file.value)));
        if let Some((read, file)) = read {
            let api = Reader::new(&section, &given, &read, file).read(root);
            if !names.insert(api.name.clone()) {
                let place = given
                    .name
                    .as_ref()
                    .map_or(&section.place, |name| &name.place);
                let what = format!("two APIs have the name {:?}", api.name);
                section.error(place, what, "give one of them another `name`");
            }
            apis.push(api);
        }
        section.finish();
    }
    apis
}

fn given(section: &mut Section<'_>) -> Given {
    let is_true = |value: Option<Placed<bool>>| value.map(|value| value.value);
    Given {
        place: section.place.clone(),
        name: section.text("name"),
        base_path: section.text("base_path"),
        upstream_path: section.text("upstream_path"),
        public: is_true(section.boolean("public")),
        scopes: section.take("scopes"),
        any_scope: is_true(section.boolean("any_scope")).unwrap_or(false),
        for_all: FOR_ALL.iter().filter_map(|key| section.take(key)).collect(),
    }
}

/// The documents, of which one may serve several APIs.
struct Files<'f> {
    main: &'f Source,
    included: &'f mut Included,
    known: Vec<(String, Read)>,
}

impl Files<'_> {
    /// Reads a document, and tells what there is to say about it. Its name is relative to the file that names it.
    fn read(&mut self, section: &Section<'_>, file: &Placed<String>) -> Option<Read> {
        let named_in = match &file.place {
            Place::Text(range) => source_at(self.main, &self.included.sources, range.start).0,
            _ => self.main,
        };
        let folder = Path::new(&named_in.name).parent().unwrap_or(Path::new(""));
        let path = folder.join(&file.value);
        let name = path.display().to_string();
        if let Some((_, read)) = self.known.iter().find(|(known, _)| *known == name) {
            return Some(read.clone());
        }
        let source = match source(&path) {
            Ok(source) => source,
            Err(fault) => {
                section.error(&file.place, format!("{name} cannot be read: {fault}"), "");
                return None;
            }
        };
        let offset = self.included.next_offset(self.main);
        let document = Document::parse(&source.text);
        self.included.sources.push(source);
        match document {
            Ok(document) => {
                let read = Read {
                    document: Rc::new(document),
                    offset,
                };
                tell(section, &read);
                self.known.push((name, read.clone()));
                Some(read)
            }
            Err(Fault { what, at }) => {
                let place = Place::Text(at.start + offset..at.end + offset);
                section.error(&place, what, "");
                None
            }
        }
    }
}

fn source(path: &Path) -> std::io::Result<Source> {
    if std::fs::metadata(path)?.len() > MAX_BYTES as u64 {
        let what = format!("it is longer than {} MiB", MAX_BYTES >> 20);
        return Err(std::io::Error::other(what));
    }
    let mut source = Source {
        is_description: true,
        ..Source::read(path)?
    };
    if source.text.starts_with('\u{feff}') {
        source.text.remove(0);
    }
    Ok(source)
}

fn tell(section: &Section<'_>, read: &Read) {
    for note in &read.document.notes {
        let place = read.place(&note.at);
        let hint = match note.times {
            1 => String::new(),
            times => format!("the first of {times} places"),
        };
        match note.kind {
            NoteKind::Error => section.error(&place, &note.what, hint),
            NoteKind::Warning => section.warn(&place, &note.what, hint),
        }
    }
}
