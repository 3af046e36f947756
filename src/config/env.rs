//! Environment variables over the file, and arguments of the command line over them. The only place
//! that reads the process environment.
//!
//! `PORTCULLIS__SECTION__KEY` reaches every key; a route is named by its `name`, as in
//! `PORTCULLIS__ROUTE__ORDERS__UPSTREAM`. The original's own form, the dotted key with `_` for `.`
//! (`keymanager_security_basic_username`), reaches the tables of key manager and API Manager. Three of OpenTelemetry's
//! standard variables reach `[tracing]`. An argument `--table.key=value` reaches what a variable
//! `PORTCULLIS__TABLE__KEY` does.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    fold,
    problem::{Place, Problem, Report, Severity},
    section::nearest,
    tree::{Entry, Node, Table, Value},
};

const PREFIX: &str = "PORTCULLIS__";

/// The keys of the original's tables that can be set in its own form.
const ORIGINAL_KEYS: &[&[&str]] = &[
    &["keyManager", "serverUrl"],
    &["keyManager", "tokenContext"],
    &["keyManager", "security", "basic", "enabled"],
    &["keyManager", "security", "basic", "username"],
    &["keyManager", "security", "basic", "password"],
    &["apim", "eventHub", "enable"],
    &["apim", "eventHub", "serviceUrl"],
    &["apim", "eventHub", "internalDataContext"],
    &["apim", "eventHub", "username"],
    &["apim", "eventHub", "password"],
    &["apim", "eventHub", "eventListeningEndpoints"],
];

/// OpenTelemetry's variables for what `[tracing]` says (specification, "Environment Variables").
const OPEN_TELEMETRY: &[(&str, &[&str])] = &[
    ("OTEL_EXPORTER_OTLP_ENDPOINT", &["tracing", "endpoint"]),
    ("OTEL_SERVICE_NAME", &["tracing", "service_name"]),
    ("OTEL_TRACES_SAMPLER_ARG", &["tracing", "sample"]),
];

/// What a process is told beside its file.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// By name.
    variables: BTreeMap<String, String>,
    /// Dotted keys with their values, in the order of the command line.
    arguments: Vec<(String, String)>,
    /// The folder with the APIs that go with a file of WSO2 API Microgateway.
    project: Option<PathBuf>,
}

impl Environment {
    /// The variables of this process. One that is not UTF-8 is left out.
    #[allow(clippy::disallowed_methods)] // the one place that may
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            variables,
            ..Self::default()
        }
    }

    /// With these arguments and this folder of a project.
    pub fn told(self, arguments: Vec<(String, String)>, project: Option<PathBuf>) -> Self {
        Self {
            arguments,
            project,
            ..self
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    pub fn project(&self) -> Option<&Path> {
        self.project.as_deref()
    }

    pub fn arguments(&self) -> &[(String, String)] {
        &self.arguments
    }

    /// Puts variables and arguments over `root`.
    pub fn overlay(&self, root: &mut Table, report: &Report) {
        for (name, value) in &self.variables {
            if let Some(path) = original_key(name) {
                let place = Place::Variable(name.clone());
                set(root, path, &place, value, report);
            }
        }
        self.overlay_own(root, &self.arguments, report);
    }

    /// The same without what the original's form of variables says, and with these arguments.
    pub fn overlay_own(&self, root: &mut Table, arguments: &[(String, String)], report: &Report) {
        for (name, path) in OPEN_TELEMETRY {
            // Their specification has an empty one mean the same as none.
            if let Some(value) = self.get(name).filter(|value| !value.is_empty()) {
                let place = Place::Variable((*name).to_owned());
                set(root, path, &place, value, report);
            }
        }
        for (name, value) in &self.variables {
            let Some(path) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let path: Vec<&str> = path.split("__").collect();
            let place = Place::Variable(name.clone());
            if path.iter().any(|part| part.is_empty()) {
                let hint = "write PORTCULLIS__SECTION__KEY";
                report.add(problem(&place, "this names no key", hint));
                continue;
            }
            set(root, &path, &place, value, report);
        }
        for (name, value) in arguments {
            let path: Vec<&str> = name.split('.').collect();
            set(root, &path, &Place::Argument(name.clone()), value, report);
        }
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        let variables = variables.into_iter();
        Self {
            variables: variables
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            ..Self::default()
        }
    }
}

/// The key that a variable in the original's form names.
fn original_key(variable: &str) -> Option<&'static [&'static str]> {
    let folded = fold(variable);
    ORIGINAL_KEYS
        .iter()
        .find(|path| {
            let table = format!("{}_", path[0].to_ascii_lowercase());
            variable.to_ascii_lowercase().starts_with(&table) && fold(&path.join("_")) == folded
        })
        .copied()
}

/// Follows `path` down from `table`, making tables on the way, and sets the value at its end.
fn set(table: &mut Table, path: &[&str], place: &Place, value: &str, report: &Report) {
    let [key, rest @ ..] = path else { return };
    let found = table
        .entries
        .iter()
        .position(|entry| fold(&entry.key) == fold(key) && descends(&entry.node, rest));
    let position = found.unwrap_or_else(|| {
        table.entries.push(Entry {
            key: key.to_ascii_lowercase(),
            key_place: place.clone(),
            node: Node {
                value: Value::Table(Table::default()),
                place: place.clone(),
            },
        });
        table.entries.len() - 1
    });
    let entry = &mut table.entries[position];
    if rest.is_empty() {
        entry.key_place = place.clone();
        entry.node = Node {
            value: Value::Loose(value.to_owned()),
            place: place.clone(),
        };
        return;
    }
    match &mut entry.node.value {
        Value::Table(inner) => set(inner, rest, place, value, report),
        Value::Array(items) => set_by_name(items, rest, place, value, report),
        _ => report.add(problem(
            place,
            "this goes below a key that is not a table",
            "leave out the last part",
        )),
    }
}

/// The original spells one table in two ways; a value goes into the spelling that has it already.
fn descends(node: &Node, rest: &[&str]) -> bool {
    match (&node.value, rest) {
        (Value::Table(table), [next, ..]) => {
            table.entries.is_empty()
                || table
                    .entries
                    .iter()
                    .any(|entry| fold(&entry.key) == fold(next))
        }
        _ => true,
    }
}

/// An element of an array of tables is chosen by its `name`.
fn set_by_name(items: &mut [Node], path: &[&str], place: &Place, value: &str, report: &Report) {
    let [wanted, rest @ ..] = path else { return };
    let mut names = Vec::new();
    for item in items {
        let Value::Table(table) = &mut item.value else {
            continue;
        };
        let name = table
            .entries
            .iter()
            .find_map(|entry| match &entry.node.value {
                Value::Text(name) if entry.key == "name" => Some(name.clone()),
                _ => None,
            });
        if let Some(name) = name {
            if fold_name(&name) == fold_name(wanted) {
                return set(table, rest, place, value, report);
            }
            names.push(name);
        }
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let hint = match nearest(wanted, &names) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("names here: {}", names.join(", ")),
    };
    report.add(problem(place, "nothing here has this name", &hint));
}

/// Names of routes may have characters that variables cannot.
fn fold_name(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}

fn problem(place: &Place, what: &str, hint: &str) -> Problem {
    Problem {
        severity: Severity::Error,
        what: what.to_owned(),
        place: place.clone(),
        section: String::new(),
        hint: Some(hint.to_owned()),
    }
}
