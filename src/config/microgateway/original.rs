//! What stands in the original's file, under the names that its code reads, with variables and
//! arguments over it.

use std::{cell::RefCell, path::Path};

use super::{
    keys::{Fate, Group, Key, groups},
    names::{Names, Step, written},
    shared::{is_native_below, is_native_root},
};
use crate::config::{
    env::Environment,
    fold,
    problem::{Place, Problem, Report, Severity, Source},
    section::nearest,
    tree::{Entry, Node, Table, Value},
};

/// More unknown keys than this are counted, not named.
const MOST_NAMED: usize = 20;

/// The values of known keys.
pub struct Original<'a> {
    pub values: Vec<Found>,
    /// Tables and keys of ours that stand in the file too.
    pub native: Table,
    /// Arguments that name no key of the original's, but may name one of ours.
    pub native_arguments: Vec<(String, String)>,
    pub source: &'a Source,
    pub environment: &'a Environment,
    pub report: &'a Report,
    /// Beginnings of paths, and why what begins so is left out though others of its kind are carried.
    pub dropped: RefCell<Vec<(String, &'static str)>>,
    names: Names,
}

/// A value, under the name that counts.
pub struct Found {
    /// As in `jwtTokenConfig[0].issuer`.
    pub path: String,
    /// Of the table that the key is in, for people.
    pub table: String,
    pub key: &'static Key,
    pub key_place: Place,
    pub node: Node,
    /// Written like the original reads it.
    exact: bool,
}

impl Found {
    /// The key's name in its table.
    pub fn name(&self) -> &str {
        match self.key.name {
            "*" => self.path.rsplit('.').next().unwrap_or_default(),
            name => name,
        }
    }
}

impl<'a> Original<'a> {
    /// Reads `root`, which a text of the original's was parsed to.
    pub fn read(
        root: Table,
        source: &'a Source,
        environment: &'a Environment,
        report: &'a Report,
    ) -> Self {
        let mut original = Self {
            values: Vec::new(),
            native: Table::default(),
            native_arguments: Vec::new(),
            source,
            environment,
            report,
            dropped: RefCell::default(),
            names: Names::new(),
        };
        let mut unknown = Vec::new();
        for entry in root.entries {
            match is_native_root(&entry.key) {
                true => original.native.entries.push(entry),
                false => original.walk(entry, &mut Vec::new(), &mut unknown),
            }
        }
        original.tell_unknown(&unknown);
        original.overlay_variables();
        original.overlay_arguments();
        original
    }

    /// Takes note that a value, or a whole table, is not carried.
    pub fn drop_all(&self, beginning: &str, why: &'static str) {
        self.dropped.borrow_mut().push((beginning.to_owned(), why));
    }

    /// Why a value is not carried that could be.
    pub fn dropped_because(&self, found: &Found) -> Option<&'static str> {
        let dropped = self.dropped.borrow();
        let entry = dropped
            .iter()
            .find(|(beginning, _)| found.path.starts_with(beginning.as_str()));
        entry.map(|(_, why)| *why)
    }

    pub fn find(&self, path: &str) -> Option<&Found> {
        self.values.iter().find(|found| found.path == path)
    }

    pub fn warn(&self, place: &Place, what: impl Into<String>, hint: impl Into<String>) {
        self.tell(Severity::Warning, place, what.into(), hint.into());
    }

    pub fn error(&self, place: &Place, what: impl Into<String>, hint: impl Into<String>) {
        self.tell(Severity::Error, place, what.into(), hint.into());
    }

    fn tell(&self, severity: Severity, place: &Place, what: String, hint: String) {
        // A value may be looked at more than once.
        self.report.add_once(Problem {
            severity,
            what,
            place: place.clone(),
            section: String::new(),
            hint: (!hint.is_empty()).then_some(hint),
        });
    }

    fn walk(&mut self, entry: Entry, above: &mut Vec<Step>, unknown: &mut Vec<(String, Place)>) {
        let Entry {
            key,
            key_place,
            node,
        } = entry;
        let is_tables = |items: &[Node]| {
            !items.is_empty()
                && items
                    .iter()
                    .all(|item| matches!(item.value, Value::Table(_)))
        };
        match node.value {
            Value::Table(table) => self.descend((&key, key_place), None, table, above, unknown),
            Value::Array(items) if is_tables(&items) => {
                for (index, item) in items.into_iter().enumerate() {
                    if let Value::Table(table) = item.value {
                        let key = (&*key, key_place.clone());
                        self.descend(key, Some(index), table, above, unknown);
                    }
                }
            }
            _ => {
                above.push(Step::new(&key, None));
                self.leaf(above, key_place, node, unknown);
                above.pop();
            }
        }
    }

    fn descend(
        &mut self,
        (key, key_place): (&str, Place),
        index: Option<usize>,
        table: Table,
        above: &mut Vec<Step>,
        unknown: &mut Vec<(String, Place)>,
    ) {
        above.push(Step::new(key, index));
        // That one of our schemes stands there may be all that it says.
        let says = is_native_below(above.iter().map(|step| &*step.folded));
        if table.entries.is_empty() && says {
            let node = Node {
                value: Value::Table(table),
                place: key_place.clone(),
            };
            put_native(&mut self.native, above, key_place, node);
            above.pop();
            return;
        }
        for entry in table.entries {
            self.walk(entry, above, unknown);
        }
        above.pop();
    }

    fn leaf(
        &mut self,
        steps: &[Step],
        key_place: Place,
        node: Node,
        unknown: &mut Vec<(String, Place)>,
    ) {
        let Some(known) = self.names.find(steps) else {
            match is_native_below(steps.iter().map(|step| &*step.folded)) {
                true => put_native(&mut self.native, steps, key_place, node),
                false => unknown.push((written(steps), key_place)),
            }
            return;
        };
        if !known.exact {
            let what = format!(
                "`{}` is taken for `{}`",
                written(steps),
                known.path.replace("[0]", "")
            );
            self.warn(&key_place, what, "the original does not read this spelling");
        }
        self.put(Found {
            path: known.path,
            table: known.table,
            key: known.key,
            key_place,
            node,
            exact: known.exact,
        });
    }

    /// Of two spellings the one that the original reads counts.
    fn put(&mut self, found: Found) {
        let twin = self
            .values
            .iter()
            .position(|other| other.path == found.path);
        let Some(position) = twin else {
            self.values.push(found);
            return;
        };
        let (kept, left) = match self.values[position].exact {
            true => (None, &found),
            false => (Some(()), &self.values[position]),
        };
        let what = format!("`{}` stands here in two spellings", found.path);
        self.warn(&left.key_place, what, "the other one counts");
        if kept.is_some() {
            self.values[position] = found;
        }
    }

    fn tell_unknown(&self, unknown: &[(String, Place)]) {
        for (path, place) in unknown.iter().take(MOST_NAMED) {
            let (table, name) = path.rsplit_once('.').unwrap_or(("", path));
            let known: Vec<&str> = groups()
                .filter(|group| fold(&group.table.replace("[]", "")) == fold(table))
                .flat_map(|group| group.keys)
                .map(|key| key.name)
                .collect();
            let hint = match nearest(name, &known) {
                Some(near) => format!("ignored, as there; did you mean `{near}`?"),
                None => "ignored, as there".to_owned(),
            };
            self.warn(place, format!("the original has no key `{path}`"), hint);
        }
        if let Some((_, place)) = unknown.get(MOST_NAMED) {
            let more = unknown.len() - MOST_NAMED;
            let what = format!("{more} more keys that the original does not have");
            self.warn(place, what, "ignored, as there");
        }
    }

    /// The dotted key with `_` for `.`, in the case of the key.
    fn overlay_variables(&mut self) {
        for (group, key) in
            groups().flat_map(|group| group.keys.iter().map(move |key| (group, key)))
        {
            if group.table.contains(['[', '*']) || key.name.contains('*') {
                continue;
            }
            let path = format!("{}.{}", group.table, key.name);
            let variable = path.replace('.', "_");
            let twin = match variable.strip_prefix("keyManager_") {
                Some(rest) => format!("keymanager_{rest}"),
                None => variable.replacen("keymanager_", "keyManager_", 1),
            };
            let given = [variable, twin]
                .into_iter()
                .find_map(|name| Some((self.environment.get(&name)?.to_owned(), name)));
            if let Some((value, name)) = given {
                self.overlay(group, key, path, value, Place::Variable(name));
            }
        }
    }

    fn overlay_arguments(&mut self) {
        for (name, value) in self.environment.arguments() {
            let steps: Vec<Step> = name.split('.').map(|part| Step::new(part, None)).collect();
            if let Some(known) = self.names.find(&steps) {
                let place = Place::Argument(name.clone());
                self.overlay(known.group, known.key, known.path, value.clone(), place);
            } else if is_native_root(&steps[0].name) || steps[0].folded == "keymanager" {
                self.native_arguments.push((name.clone(), value.clone()));
            } else {
                let place = Place::Argument(name.clone());
                self.warn(&place, "the original has no such key", "ignored, as there");
            }
        }
    }

    fn overlay(
        &mut self,
        group: &'static Group,
        key: &'static Key,
        path: String,
        value: String,
        place: Place,
    ) {
        self.values.retain(|found| found.path != path);
        self.values.push(Found {
            path,
            table: group.table.to_owned(),
            key,
            key_place: place.clone(),
            node: Node {
                value: Value::Loose(value),
                place,
            },
            exact: true,
        });
    }

    /// The folder that `${mgw-runtime.home}` stands for, seen from the file.
    pub fn home(&self) -> String {
        if let Some(home) = self.environment.get("GW_HOME") {
            return home.trim_end_matches('/').to_owned();
        }
        let folder = Path::new(&self.source.name).parent();
        let in_conf = folder
            .and_then(Path::file_name)
            .is_some_and(|name| name == "conf");
        if in_conf { ".." } else { "." }.to_owned()
    }
}

/// What is not carried and does something: one warning for each table.
pub fn tell_what_is_not_carried(original: &Original<'_>) {
    let mut tables: Vec<(&str, &Found, Vec<&str>)> = Vec::new();
    for found in &original.values {
        let Fate::NotSupported(_) = found.key.fate else {
            continue;
        };
        if is_default(found) {
            continue;
        }
        let name = found.name();
        match tables.iter_mut().find(|(table, ..)| *table == found.table) {
            Some((_, _, names)) if !names.contains(&name) => names.push(name),
            Some(_) => {}
            None => tables.push((&found.table, found, vec![name])),
        }
    }
    for (table, first, names) in tables {
        let Fate::NotSupported(why) = first.key.fate else {
            continue;
        };
        let names = names.join("`, `");
        let what = format!("not supported in [{}]: `{names}`", table.replace("[]", ""));
        original.warn(&first.key_place, what, why);
    }
}

/// Whether the original does the same without it.
pub fn is_default(found: &Found) -> bool {
    let value = match &found.node.value {
        Value::Text(text) | Value::Loose(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::Array(items) => return items.is_empty() && found.key.default.is_empty(),
        _ => return false,
    };
    value.eq_ignore_ascii_case(found.key.default)
}

/// Keys of ours in the key manager's tables.
fn put_native(native: &mut Table, steps: &[Step], key_place: Place, node: Node) {
    let [first, rest @ ..] = steps else { return };
    let position = native
        .entries
        .iter()
        .position(|entry| fold(&entry.key) == first.folded);
    if rest.is_empty() {
        native.entries.push(Entry {
            key: first.name.clone(),
            key_place,
            node,
        });
        return;
    }
    let position = position.unwrap_or_else(|| {
        native.entries.push(Entry {
            key: first.name.clone(),
            key_place: key_place.clone(),
            node: Node {
                value: Value::Table(Table::default()),
                place: key_place.clone(),
            },
        });
        native.entries.len() - 1
    });
    if let Value::Table(inner) = &mut native.entries[position].node.value {
        put_native(inner, rest, key_place, node);
    }
}
