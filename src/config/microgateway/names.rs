//! Which key is meant by how it is written.

use std::collections::HashMap;

use super::keys::{ALIASES, Group, Key, groups};
use crate::config::fold;

/// A step down the tree; with a number in an array.
#[derive(Clone)]
pub struct Step {
    pub name: String,
    pub folded: String,
    pub index: Option<usize>,
}

impl Step {
    pub fn new(name: &str, index: Option<usize>) -> Self {
        Self {
            name: name.to_owned(),
            folded: fold(name),
            index,
        }
    }
}

/// Finds keys by how they are written.
pub struct Names {
    /// By the folded path without numbers.
    by_path: HashMap<String, (&'static Group, &'static Key, String)>,
    aliases: HashMap<String, &'static str>,
}

/// A key that was found by how it is written.
pub struct Known {
    pub path: String,
    pub table: String,
    pub group: &'static Group,
    pub key: &'static Key,
    /// Some release of the original reads this spelling.
    pub exact: bool,
}

impl Names {
    pub fn new() -> Self {
        let mut by_path = HashMap::new();
        for group in groups() {
            for key in group.keys {
                let path = format!("{}.{}", group.table, key.name);
                by_path.insert(fold(&path.replace("[]", "")), (group, key, path));
            }
        }
        let aliases = ALIASES.iter().map(|(alias, path)| (fold(alias), *path));
        Self {
            by_path,
            aliases: aliases.collect(),
        }
    }

    pub fn find(&self, steps: &[Step]) -> Option<Known> {
        let folded: Vec<&str> = steps.iter().map(|step| &*step.folded).collect();
        let mut path = folded.join(".");
        let alias = self.aliases.get(&path);
        if let Some(alias) = alias {
            path = fold(alias);
        }
        let wild = || {
            // One name of any kind: an account, or a key of somebody's class.
            (0..folded.len()).find_map(|position| {
                let mut parts = folded.clone();
                parts[position] = "*";
                self.by_path.get(&parts.join("."))
            })
        };
        let (group, key, pattern) = self.by_path.get(&path).or_else(wild)?;
        Some(Known {
            path: numbered(pattern, steps),
            table: group.table.to_owned(),
            group,
            key,
            exact: alias.is_none() && is_exact(pattern, steps),
        })
    }
}

/// The pattern with the numbers and names of what was written.
fn numbered(pattern: &str, steps: &[Step]) -> String {
    let parts = pattern.split('.').enumerate().map(|(position, part)| {
        let step = steps.get(position);
        match part.strip_suffix("[]") {
            Some(name) => {
                let index = step.and_then(|step| step.index).unwrap_or(0);
                format!("{name}[{index}]")
            }
            None if part == "*" => step.map_or_else(String::new, |step| step.name.clone()),
            None => part.to_owned(),
        }
    });
    parts.collect::<Vec<_>>().join(".")
}

/// Whether some release of the original reads it like this.
fn is_exact(pattern: &str, steps: &[Step]) -> bool {
    let parts = pattern.replace("[]", "");
    parts.split('.').zip(steps).all(|(part, step)| {
        // Releases from 3.2.1 on read this name, and not the documented one.
        let read_by_some = part == "clientId" && step.name == "client_id";
        part == "*" || part == step.name || read_by_some
    })
}

/// As it stands in the file.
pub fn written(steps: &[Step]) -> String {
    let names: Vec<&str> = steps.iter().map(|step| &*step.name).collect();
    names.join(".")
}
