//! Reads one table: each key by name and type. Wrong types and unknown keys become problems, and
//! reading goes on, so that one run finds them all.

mod measure;
mod named;

pub use named::is_name;

use super::{
    fold,
    problem::{Place, Problem, Report, Severity},
    tree::{Entry, Node, Table, Value},
};

/// How the keys of a table are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Letter by letter.
    Exact,
    /// Without regard to case and underscores: the key manager's tables, which the original itself
    /// spells `keyManager` and `keymanager`, and the API Manager's.
    Loose,
}

impl Names {
    fn are_same(self, one: &str, other: &str) -> bool {
        match self {
            Self::Exact => one == other,
            Self::Loose => fold(one) == fold(other),
        }
    }
}

/// A table that is being read.
pub struct Section<'r> {
    /// For messages, as in `route[0] ("orders")`.
    pub label: String,
    pub place: Place,
    names: Names,
    table: Table,
    asked: Vec<&'static str>,
    /// Those of `asked` that were there.
    given: Vec<&'static str>,
    report: &'r Report,
}

/// A value with its place.
#[derive(Clone, Debug)]
pub struct Placed<T> {
    pub value: T,
    pub place: Place,
}

impl<'r> Section<'r> {
    pub fn new(table: Table, label: &str, names: Names, place: Place, report: &'r Report) -> Self {
        Self {
            label: label.to_owned(),
            place,
            names,
            table,
            asked: Vec::new(),
            given: Vec::new(),
            report,
        }
    }

    pub fn error(&self, place: &Place, what: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Error, place, what.into(), hint.into());
    }

    pub fn warn(&self, place: &Place, what: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Warning, place, what.into(), hint.into());
    }

    fn add(&self, severity: Severity, place: &Place, what: String, hint: String) {
        self.report.add(Problem {
            severity,
            what,
            place: place.clone(),
            section: self.label.clone(),
            hint: (!hint.is_empty()).then_some(hint),
        });
    }

    /// A string.
    pub fn text(&mut self, key: &'static str) -> Option<Placed<String>> {
        let node = self.take(key)?.node;
        match node.value {
            Value::Text(value) | Value::Loose(value) => Some(Placed {
                value,
                place: node.place,
            }),
            other => self.wrong_type(key, &node.place, &other, "a string"),
        }
    }

    pub fn boolean(&mut self, key: &'static str) -> Option<Placed<bool>> {
        let node = self.take(key)?.node;
        let value = match &node.value {
            Value::Boolean(value) => *value,
            // As the original reads its variables: "true" in any case, all else is false. A typo
            // must not switch something off in silence, so only the two words are taken.
            Value::Loose(text) if text.eq_ignore_ascii_case("true") => true,
            Value::Loose(text) if text.eq_ignore_ascii_case("false") => false,
            other => return self.wrong_type(key, &node.place, other, "true or false"),
        };
        Some(Placed {
            value,
            place: node.place,
        })
    }

    pub fn integer(&mut self, key: &'static str) -> Option<Placed<u64>> {
        let node = self.take(key)?.node;
        let value = match &node.value {
            Value::Integer(value) => u64::try_from(*value).ok(),
            Value::Loose(text) => text.replace('_', "").parse().ok(),
            _ => None,
        };
        match value {
            Some(value) => Some(Placed {
                value,
                place: node.place,
            }),
            None => self.wrong_type(key, &node.place, &node.value, "a whole number"),
        }
    }

    /// One string or an array of strings; separated by commas in an environment variable.
    pub fn texts(&mut self, key: &'static str) -> Option<Placed<Vec<Placed<String>>>> {
        let node = self.take(key)?.node;
        self.texts_of(key, node)
    }

    pub fn texts_of(&self, key: &str, node: Node) -> Option<Placed<Vec<Placed<String>>>> {
        let Node { value, place } = node;
        let value = match value {
            Value::Text(value) => vec![Placed {
                value,
                place: place.clone(),
            }],
            Value::Loose(text) => text
                .split(',')
                .map(|part| Placed {
                    value: part.trim().to_owned(),
                    place: place.clone(),
                })
                .collect(),
            Value::Array(items) => items
                .into_iter()
                .filter_map(|item| match item.value {
                    Value::Text(value) => Some(Placed {
                        value,
                        place: item.place,
                    }),
                    other => {
                        self.tell_type(key, &item.place, &other, "strings");
                        None
                    }
                })
                .collect(),
            other => {
                return self.wrong_type(key, &place, &other, "a string or an array of strings");
            }
        };
        Some(Placed { value, place })
    }

    /// A table of strings whose keys are the user's.
    pub fn pairs(&mut self, key: &'static str) -> Vec<Placed<(String, String)>> {
        let section = self.section(key);
        let mut pairs = Vec::new();
        for Entry { key, node, .. } in section.into_entries() {
            match node.value {
                Value::Text(value) | Value::Loose(value) => pairs.push(Placed {
                    value: (key, value),
                    place: node.place,
                }),
                other => {
                    self.tell_type(&key, &node.place, &other, "a string");
                }
            }
        }
        pairs
    }

    /// A table below this one, whether it is there or not.
    pub fn section(&mut self, key: &'static str) -> Section<'r> {
        self.optional_section(key).unwrap_or_else(|| {
            let label = self.label_below(key);
            Section::new(
                Table::default(),
                &label,
                self.names,
                Place::Nowhere,
                self.report,
            )
        })
    }

    /// A table below this one. Where the same name stands several times in different spellings,
    /// their keys are put together.
    pub fn optional_section(&mut self, key: &'static str) -> Option<Section<'r>> {
        let label = self.label_below(key);
        let mut merged: Option<Section<'r>> = None;
        while let Some(entry) = self.take(key) {
            match entry.node.value {
                Value::Table(table) => {
                    let section = merged.get_or_insert_with(|| {
                        let place = entry.key_place;
                        Section::new(Table::default(), &label, self.names, place, self.report)
                    });
                    section.table.entries.extend(table.entries);
                }
                other => self.tell_type(key, &entry.node.place, &other, "a table"),
            }
        }
        merged
    }

    /// The same, found without regard to case and underscores; its own keys are compared so too.
    pub fn optional_loose_section(&mut self, key: &'static str) -> Option<Section<'r>> {
        self.with_loose_names(|section| section.optional_section(key))
            .map(|section| section.with_names(Names::Loose))
    }

    /// A table that was taken by hand, as a section below this one.
    pub fn below(&self, table: Table, key: &str, place: &Place) -> Section<'r> {
        let label = self.label_below(key);
        Section::new(table, &label, self.names, place.clone(), self.report)
    }

    /// An array of tables, as in `[[route]]`.
    pub fn sections(&mut self, key: &'static str) -> Vec<Section<'r>> {
        let Some(entry) = self.take(key) else {
            return Vec::new();
        };
        let Value::Array(items) = entry.node.value else {
            self.error(
                &entry.key_place,
                format!("`{key}` is a list of tables"),
                format!("write `[[{key}]]`, with two brackets"),
            );
            return Vec::new();
        };
        let tables = items.into_iter().enumerate().map(|(number, item)| {
            let label = format!("{key}[{number}]");
            let table = match item.value {
                Value::Table(table) => table,
                other => {
                    self.tell_type(key, &item.place, &other, "a table");
                    Table::default()
                }
            };
            Section::new(table, &label, self.names, item.place, self.report)
        });
        tables.collect()
    }

    /// Everything that is left, as keys with their values: for tables whose keys are the user's.
    pub fn into_entries(self) -> Vec<Entry> {
        self.table.entries
    }

    /// Reports a key that was probably meant to be `key`, for tables of which no more is read.
    pub fn misspelt(&self, key: &str) {
        for entry in &self.table.entries {
            if nearest(&entry.key, &[key]).is_some() {
                let what = format!("unknown key `{}`", entry.key);
                self.error(&entry.key_place, what, format!("did you mean `{key}`?"));
            }
        }
    }

    pub fn was_given(&self, key: &str) -> bool {
        self.given.contains(&key)
    }

    /// Reports that `key` is missing, unless something else is or will be said about it: it has the
    /// wrong type, or is misspelt.
    pub fn missing(&self, key: &str, hint: &str) {
        let misspelt = self
            .table
            .entries
            .iter()
            .any(|entry| nearest(&entry.key, &[key]).is_some());
        if !misspelt && !self.was_given(key) {
            self.error(&self.place, format!("`{key}` is missing"), hint);
        }
    }

    /// From here on keys are compared in another way.
    pub fn with_names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// Does `read` with keys compared loosely.
    pub fn with_loose_names<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.names, Names::Loose);
        let result = read(self);
        self.names = before;
        result
    }

    /// The value of `key` in any type, taken out.
    pub fn take(&mut self, key: &'static str) -> Option<Entry> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        let names = self.names;
        let entry = self.table.take(|other| names.are_same(other, key));
        if entry.is_some() {
            self.given.push(key);
        }
        entry
    }

    /// Ends the reading: what nobody asked for is unknown.
    pub fn finish(self) {
        for entry in &self.table.entries {
            let known = self.asked.iter().any(|name| *name == entry.key);
            let twice = self.names == Names::Loose
                && self.asked.iter().any(|name| fold(name) == fold(&entry.key));
            if known || twice {
                self.error(
                    &entry.key_place,
                    format!("`{}` stands here twice", entry.key),
                    "keep one of them",
                );
                continue;
            }
            let hint = match nearest(&entry.key, &self.asked) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            let what = format!("unknown key `{}`", entry.key);
            self.error(&entry.key_place, what, hint);
        }
    }

    fn label_below(&self, key: &str) -> String {
        match self.label.as_str() {
            "" => key.to_owned(),
            label => format!("{label}.{key}"),
        }
    }

    fn wrong_type<T>(&self, key: &str, place: &Place, found: &Value, wanted: &str) -> Option<T> {
        self.tell_type(key, place, found, wanted);
        None
    }

    fn tell_type(&self, key: &str, place: &Place, found: &Value, wanted: &str) {
        let what = match found {
            // The value may be a secret in the wrong place: only its kind is told.
            Value::Loose(_) => format!("`{key}` must be {wanted}"),
            other => format!("`{key}` must be {wanted}, not {}", other.kind()),
        };
        self.error(place, what, "");
    }
}

/// The known name that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    const ALIKE: f64 = 0.8;
    let word = fold(word);
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(&word, &fold(name)), *name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, name)| name)
}
