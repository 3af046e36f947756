//! A project of the original: descriptions of APIs, which become `[[api]]`, each read as it is, and what
//! the names of tiers in them mean.

use std::path::{Path, PathBuf};

use super::{native::Native, original::Original};
use crate::config::{
    problem::Place,
    section::Placed,
    tree::{Table, Value},
};

const DEFINITIONS: &str = "api_definitions";
const POLICIES: &str = "policies.yaml";
const KINDS: [&str; 3] = ["yaml", "yml", "json"];

pub fn translate(original: &Original<'_>, native: &mut Native) {
    let Some(project) = folder(original) else {
        let has = |key| has_list(&original.native, key);
        if !has("route") && !has("api") {
            original.warn(
                &Place::Nowhere,
                "there are no APIs: no project of the original is known, and no [[route]] stands here",
                "name its folder by `--project DIR`",
            );
        }
        return;
    };
    // An absolute path stays what it is.
    let seen = |path: &Path| match Path::new(&original.source.name).parent() {
        Some(folder) => folder.join(path),
        None => path.to_owned(),
    };
    policies(&project, &seen(&project), native);
    let definitions = project.join(DEFINITIONS);
    let names = match names_in(&seen(&definitions)) {
        Ok(names) => names,
        Err(fault) => {
            let what = format!("{} cannot be read: {fault}", definitions.display());
            original.error(
                &Place::Nowhere,
                what,
                "a project has its APIs in this folder",
            );
            return;
        }
    };
    let strips = original.flag("authConfig.removeAuthHeaderFromOutMessage");
    for (index, name) in names.iter().enumerate() {
        let here = Place::Nowhere;
        let api = format!("api[{index}]");
        let file = definitions.join(name).display().to_string();
        native.text(&format!("{api}.openapi"), file, &here);
        // Of the scopes that an operation names, one is enough there.
        native.flag(&format!("{api}.any_scope"), true, &here);
        if let Some(Placed {
            value: false,
            place,
        }) = &strips
        {
            native.flag(&format!("{api}.forward_token"), true, place);
        }
    }
}

/// What the names of tiers in the descriptions mean.
fn policies(project: &Path, seen: &Path, native: &mut Native) {
    if seen.join(POLICIES).is_file() {
        let file = project.join(POLICIES).display().to_string();
        // A name without a slash would be looked for among secrets.
        native.text("tiers.policies_file", file, &Place::Nowhere);
    }
}

/// The folder that is named, as an absolute path; else one that lies beside the file, seen from there.
fn folder(original: &Original<'_>) -> Option<PathBuf> {
    if let Some(named) = original.environment.project() {
        return std::path::absolute(named).ok();
    }
    let beside = Path::new(&original.source.name).parent()?;
    [".", ".."]
        .into_iter()
        .map(PathBuf::from)
        .find(|folder| beside.join(folder).join(DEFINITIONS).is_dir())
}

/// In the order of their names.
fn names_in(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().into_string();
        let Ok(name) = name else { continue };
        let kind = name.rsplit_once('.').map_or("", |(_, kind)| kind);
        if KINDS.contains(&kind) && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn has_list(table: &Table, key: &str) -> bool {
    let entry = table.entries.iter().find(|entry| entry.key == key);
    entry.is_some_and(|entry| matches!(&entry.node.value, Value::Array(items) if !items.is_empty()))
}
