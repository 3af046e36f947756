//! Every key of the original's file, and what becomes of it. The one list: `translate` reads by it,
//! `migrate` explains by it, and docs/migrate-from-wso2.md shows it.

mod gateway;
mod security;
mod traffic;

use std::fmt::Write;

/// Keys below one table.
pub struct Group {
    /// Dotted; `[]` for an array of tables, `*` for any name.
    pub table: &'static str,
    pub keys: &'static [Key],
}

/// One key of the original.
pub struct Key {
    pub name: &'static str,
    /// What the original does without it, as it would be written; empty: nothing.
    pub default: &'static str,
    pub fate: Fate,
}

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// These keys of ours have its value.
    Carried(&'static str),
    /// Nothing is missing without it, because of this.
    NotNeeded(&'static str),
    /// It does something there that we do not do: this instead.
    NotSupported(&'static str),
}

const fn to(name: &'static str, default: &'static str, native: &'static str) -> Key {
    Key {
        name,
        default,
        fate: Fate::Carried(native),
    }
}

const fn idle(name: &'static str, default: &'static str, why: &'static str) -> Key {
    Key {
        name,
        default,
        fate: Fate::NotNeeded(why),
    }
}

const fn lost(name: &'static str, default: &'static str, why: &'static str) -> Key {
    Key {
        name,
        default,
        fate: Fate::NotSupported(why),
    }
}

/// All groups, in the order of the original's reference.
pub fn groups() -> impl Iterator<Item = &'static Group> {
    gateway::GROUPS
        .iter()
        .chain(security::GROUPS)
        .chain(traffic::GROUPS)
}

/// Other spellings: of older releases, and of pages that disagree with the code.
pub const ALIASES: &[(&str, &str)] = &[
    ("keyManager.enableLegacyKM", "keyManager.enableLegacyMode"),
    (
        "listenerConfig.keyStore.path",
        "listenerConfig.keyStorePath",
    ),
    (
        "listenerConfig.keyStore.password",
        "listenerConfig.keyStorePassword",
    ),
    (
        "listenerConfig.trustStore.path",
        "listenerConfig.trustStorePath",
    ),
    (
        "listenerConfig.trustStore.password",
        "listenerConfig.trustStorePassword",
    ),
];

/// The list as a table of Markdown.
pub fn as_markdown() -> String {
    let mut text = String::new();
    for Group { table, keys } in groups() {
        let header = match table.strip_suffix("[]") {
            Some(array) => format!("[[{array}]]"),
            None => format!("[{}]", table.replace("[]", "")),
        };
        let written = writeln!(
            text,
            "### `{header}`\n\n| key | without it | here |\n|---|---|---|"
        );
        debug_assert!(written.is_ok());
        for Key {
            name,
            default,
            fate,
        } in *keys
        {
            let default = match *default {
                "" => "–".to_owned(),
                default => format!("`{default}`"),
            };
            let fate = match fate {
                Fate::Carried(native) => (*native).to_owned(),
                Fate::NotNeeded(why) => format!("not needed: {why}"),
                Fate::NotSupported(why) => format!("**not supported**: {why}"),
            };
            let written = writeln!(text, "| `{name}` | {default} | {fate} |");
            debug_assert!(written.is_ok());
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_key_stands_once() {
        let mut seen = HashSet::new();
        for group in groups() {
            for key in group.keys {
                assert!(
                    seen.insert((group.table, key.name)),
                    "{}.{}",
                    group.table,
                    key.name
                );
            }
        }
        assert!(seen.len() > 200, "{}", seen.len());
        for (_, canonical) in ALIASES {
            let (table, name) = canonical.rsplit_once('.').unwrap();
            assert!(seen.contains(&(table, name)), "{canonical}");
        }
    }
}
