//! A `micro-gw.conf` of WSO2 API Microgateway 3.x, as a configuration of ours.
//!
//! Text → mended where it is no TOML (`repair.rs`) → values under the names that the original reads, with
//! its variables and arguments over them (`original.rs`, `values.rs`) → a tree of our keys, each with its
//! place in the original's file (`native.rs`). The tree then goes the way of every configuration, and
//! `migrate` prints it. What becomes of each key is one list (`keys/`).

mod backend_jwt;
mod broker;
mod encrypted;
mod gateway;
mod issuers;
mod key_manager;
mod keys;
mod names;
mod native;
mod original;
mod project;
mod repair;
mod revocation;
mod shared;
mod subscriptions;
mod tokens;
mod values;

use std::{collections::BTreeSet, fmt::Write};

use native::Native;
use original::{Found, Original, is_default, tell_what_is_not_carried};

use super::{
    env::Environment,
    problem::{Report, Source},
    tree::Table,
};

pub use keys::as_markdown;
pub use shared::is_original;

use keys::Fate;

/// A file of the original's in our own form.
#[derive(Default)]
pub struct Translation {
    /// Whether the text could be read at all.
    pub is_whole: bool,
    pub root: Table,
    /// Arguments for keys of ours, which are not over `root` yet.
    pub arguments: Vec<(String, String)>,
    native: Native,
    /// What stands in the file and is not carried, with the reasons.
    left_out: String,
}

/// Reads a file of the original's. What is mended, ignored or not supported is in `report`.
pub fn translate(source: &Source, environment: &Environment, report: &Report) -> Translation {
    let text = repair::repair(&source.text, report);
    let mended = report.count();
    let root = Table::parse(&text, 0, report);
    if report.count() > mended {
        // What a broken text means is guesswork: only what breaks it is told.
        return Translation::default();
    }
    let mut original = Original::read(root, source, environment, report);
    let mut native = Native::default();
    gateway::translate(&original, &mut native);
    key_manager::translate(&original, &mut native);
    issuers::translate(&original, &mut native);
    tokens::translate(&original, &mut native);
    revocation::translate(&original, &mut native);
    subscriptions::translate(&original, &mut native);
    backend_jwt::translate(&original, &mut native);
    project::translate(&original, &mut native);
    tell_what_is_not_carried(&original);
    let left_out = left_out(&original);
    native.join(std::mem::take(&mut original.native));
    Translation {
        is_whole: true,
        root: native.root.clone(),
        arguments: original.native_arguments,
        native,
        left_out,
    }
}

impl Translation {
    /// The text of `portcullis migrate`.
    pub fn print(mut self, name: &str, with_secrets: bool) -> String {
        let nothing = Environment::default();
        nothing.overlay_own(&mut self.native.root, &self.arguments, &Report::default());
        self.native.find_secrets();
        let mut text = format!("# Made from {name} by `portcullis migrate`.\n");
        text.push_str("# File names in it are seen from that file's folder: put it there.\n");
        let variables: BTreeSet<&str> = self.native.variables().collect();
        if !variables.is_empty() && !with_secrets {
            text.push_str(
                "#\n# Secrets are not in it. Put them into these variables, or name files in their place, by\n\
                 # `…_file` for `…_env`:\n",
            );
            for variable in variables {
                let written = writeln!(text, "#   {variable}");
                debug_assert!(written.is_ok());
            }
        }
        if !self.left_out.is_empty() {
            text.push_str("#\n# Not carried over:\n");
            text.push_str(&self.left_out);
        }
        text.push('\n');
        text.push_str(&self.native.print(with_secrets));
        text
    }
}

/// One line for each table and reason.
fn left_out(original: &Original<'_>) -> String {
    let mut lines: Vec<(String, &str, Vec<&Found>)> = Vec::new();
    for found in &original.values {
        let (word, why) = match (found.key.fate, original.dropped_because(found)) {
            (Fate::Carried(_), Some(why)) => ("NOT SUPPORTED", why),
            (fate, _) => match fate {
                Fate::Carried(_) => continue,
                Fate::NotNeeded(why) => ("not needed", why),
                Fate::NotSupported(_) if is_default(found) => {
                    ("not needed", "this is what happens anyway")
                }
                Fate::NotSupported(why) => ("NOT SUPPORTED", why),
            },
        };
        let head = format!("[{}] {word}", found.table.replace("[]", ""));
        match lines
            .iter_mut()
            .find(|(other, reason, _)| *other == head && *reason == why)
        {
            Some((.., list)) => list.push(found),
            None => lines.push((head, why, vec![found])),
        }
    }
    let mut text = String::new();
    for (head, why, list) in lines {
        let mut names: Vec<&str> = list.iter().map(|found| found.name()).collect();
        names.dedup();
        let written = writeln!(text, "#   {head}: {} ({why})", names.join(", "));
        debug_assert!(written.is_ok());
    }
    text
}

/// The variable that a secret could be in: one that the original would read too.
fn variable_for(path: &str) -> String {
    path.replace('.', "_")
}
