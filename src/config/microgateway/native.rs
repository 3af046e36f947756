//! The configuration in our own form while it is put together, and as a text.

use std::fmt::Write;

use super::values::GivenSecret;
use crate::config::{
    fold,
    problem::Place,
    tree::{Entry, Node, Table, Value},
};

/// A tree of our own keys, each with its place in the original's file.
#[derive(Default)]
pub struct Native {
    pub root: Table,
    /// Paths of secrets, and the variables that a text names in their place.
    secrets: Vec<(String, String)>,
}

impl Native {
    /// Sets a key, by its dotted path; `[0]` behind a name is a table of an array.
    pub fn put(&mut self, path: &str, value: Value, place: &Place) {
        let node = Node {
            value,
            place: place.clone(),
        };
        put(&mut self.root, path, node);
    }

    pub fn text(&mut self, path: &str, value: impl Into<String>, place: &Place) {
        self.put(path, Value::Text(value.into()), place);
    }

    pub fn number(&mut self, path: &str, value: i64, place: &Place) {
        self.put(path, Value::Integer(value), place);
    }

    pub fn flag(&mut self, path: &str, value: bool, place: &Place) {
        self.put(path, Value::Boolean(value), place);
    }

    pub fn texts(&mut self, path: &str, values: Vec<Placed>, place: &Place) {
        let items = values.into_iter().map(|(value, place)| Node {
            value: Value::Text(value),
            place,
        });
        self.put(path, Value::Array(items.collect()), place);
    }

    /// `suggested`: the variable for a secret that stands in the file.
    pub fn secret(&mut self, path: &str, secret: GivenSecret, suggested: &str) {
        let variable = secret.variable.unwrap_or_else(|| suggested.to_owned());
        self.secrets.push((path.to_owned(), variable));
        self.put(path, Value::Text(secret.value), &secret.place);
    }

    /// Puts tables and keys over these: tables are joined, lists continued, values replaced.
    pub fn join(&mut self, table: Table) {
        join(&mut self.root, table);
    }

    /// Takes note of the secrets in tables of ours that stand in the original's file.
    pub fn find_secrets(&mut self) {
        let mut found = Vec::new();
        find_secrets(&self.root, "", &mut found);
        let known: Vec<(String, String)> = std::mem::take(&mut self.secrets);
        found.retain(|(path, _)| known.iter().all(|(other, _)| other != path));
        self.secrets = known;
        self.secrets.extend(found);
    }

    /// As a text; secrets in it only `with_secrets`, and else the names of variables for them.
    pub fn print(&self, with_secrets: bool) -> String {
        let mut text = String::new();
        let secrets = if with_secrets {
            &[][..]
        } else {
            &*self.secrets
        };
        print(&self.root, "", secrets, &mut text);
        text.trim_start().to_owned()
    }

    /// The variables that a text without secrets names.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().map(|(_, variable)| variable.as_str())
    }
}

/// Keys whose values are secrets, folded; each has a twin that names a variable.
const SECRETS: [&str; 9] = [
    "accesstoken",
    "broker",
    "clientsecret",
    "key",
    "keystorepassword",
    "password",
    "refreshtoken",
    "token",
    "truststorepassword",
];

fn find_secrets(table: &Table, path: &str, found: &mut Vec<(String, String)>) {
    for entry in &table.entries {
        let here = below(path, &entry.key);
        match &entry.node.value {
            Value::Table(inner) => find_secrets(inner, &here, found),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let Value::Table(inner) = &item.value {
                        find_secrets(inner, &format!("{here}[{index}]"), found);
                    }
                }
            }
            Value::Text(text) if !text.is_empty() && SECRETS.contains(&&*fold(&entry.key)) => {
                let letter = |letter: char| match letter.is_ascii_alphanumeric() {
                    true => letter,
                    false => '_',
                };
                let variable = here.chars().map(letter).collect();
                found.push((here, variable));
            }
            _ => {}
        }
    }
}

/// A string of an array, with its place.
pub type Placed = (String, Place);

fn put(table: &mut Table, path: &str, node: Node) {
    let (name, rest) = match path.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (path, None),
    };
    let (name, index) = match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
        Some((name, index)) => (name, index.parse::<usize>().ok()),
        None => (name, None),
    };
    let Some(rest) = rest else {
        match table.entries.iter_mut().find(|entry| entry.key == name) {
            Some(entry) => entry.node = node,
            None => table.entries.push(Entry {
                key: name.to_owned(),
                key_place: node.place.clone(),
                node,
            }),
        }
        return;
    };
    let position = table.entries.iter().position(|entry| entry.key == name);
    let position = position.unwrap_or_else(|| {
        let value = match index {
            Some(_) => Value::Array(Vec::new()),
            None => Value::Table(Table::default()),
        };
        table.entries.push(Entry {
            key: name.to_owned(),
            key_place: node.place.clone(),
            node: Node {
                value,
                place: node.place.clone(),
            },
        });
        table.entries.len() - 1
    });
    match (&mut table.entries[position].node.value, index) {
        (Value::Table(inner), None) => put(inner, rest, node),
        (Value::Array(items), Some(index)) => {
            while items.len() <= index {
                items.push(Node {
                    value: Value::Table(Table::default()),
                    place: node.place.clone(),
                });
            }
            if let Value::Table(inner) = &mut items[index].value {
                put(inner, rest, node);
            }
        }
        _ => {}
    }
}

fn join(under: &mut Table, over: Table) {
    for entry in over.entries {
        let twin = under
            .entries
            .iter_mut()
            .find(|other| other.key == entry.key);
        let Some(twin) = twin else {
            under.entries.push(entry);
            continue;
        };
        match (&mut twin.node.value, entry.node.value) {
            (Value::Table(inner), Value::Table(table)) => join(inner, table),
            (Value::Array(list), Value::Array(more)) if is_tables(list) && is_tables(&more) => {
                list.extend(more);
            }
            (value, other) => {
                *value = other;
                twin.node.place = entry.node.place;
                twin.key_place = entry.key_place;
            }
        }
    }
}

fn is_tables(items: &[Node]) -> bool {
    !items.is_empty()
        && items
            .iter()
            .all(|item| matches!(item.value, Value::Table(_)))
}

fn print(table: &Table, path: &str, secrets: &[(String, String)], text: &mut String) {
    for entry in &table.entries {
        let is_below = match &entry.node.value {
            Value::Table(_) => true,
            Value::Array(items) => is_tables(items),
            _ => false,
        };
        if is_below {
            continue;
        }
        let here = below(path, &entry.key);
        let secret = secrets.iter().find(|(path, _)| *path == here);
        let (key, value) = match secret {
            Some((_, variable)) => (format!("{}_env", entry.key), quoted(variable)),
            None => (entry.key.clone(), inline(&entry.node.value)),
        };
        let written = writeln!(text, "{} = {value}", name(&key));
        debug_assert!(written.is_ok());
    }
    for entry in &table.entries {
        let here = below(path, &entry.key);
        match &entry.node.value {
            Value::Table(inner) => {
                // A table with nothing but tables in it needs no header of its own.
                if inner.entries.is_empty() || inner.entries.iter().any(|entry| !is_table(entry)) {
                    header(text, &format!("[{}]", header_name(&here)));
                }
                print(inner, &here, secrets, text);
            }
            Value::Array(items) if is_tables(items) => {
                for (index, item) in items.iter().enumerate() {
                    header(text, &format!("[[{}]]", header_name(&here)));
                    if let Value::Table(inner) = &item.value {
                        print(inner, &format!("{here}[{index}]"), secrets, text);
                    }
                }
            }
            _ => {}
        }
    }
}

fn is_table(entry: &Entry) -> bool {
    matches!(entry.node.value, Value::Table(_))
}

fn header(text: &mut String, header: &str) {
    let written = writeln!(text, "\n{header}");
    debug_assert!(written.is_ok());
}

fn below(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}

/// Without the numbers of arrays.
fn header_name(path: &str) -> String {
    let parts = path.split('.').map(|part| {
        let part = part.split_once('[').map_or(part, |(part, _)| part);
        name(part)
    });
    parts.collect::<Vec<_>>().join(".")
}

fn name(key: &str) -> String {
    let bare = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    match !key.is_empty() && key.chars().all(bare) {
        true => key.to_owned(),
        false => quoted(key),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn inline(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Integer(number) => number.to_string(),
        Value::Fraction(number) => toml::Value::Float(*number).to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| inline(&item.value)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Table(table) => {
            let entries: Vec<String> = table
                .entries
                .iter()
                .map(|entry| format!("{} = {}", name(&entry.key), inline(&entry.node.value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        // From an argument or a variable: of whatever type is asked for.
        Value::Loose(text) => match text.parse::<i64>() {
            Ok(number) => number.to_string(),
            Err(_) if text == "true" || text == "false" => text.clone(),
            Err(_) => quoted(text),
        },
        Value::Other(_) => quoted(""),
    }
}
