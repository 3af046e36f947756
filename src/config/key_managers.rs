//! All key managers: `[keyManager]`, which is asked about the tokens that are nobody else's, and those of
//! `[keyManagers.NAME]`, with the same tables.

use super::{
    check::Context,
    fold, key_manager,
    problem::Place,
    section::{Names, Placed, Section, nearest},
    settings::{KeyManagerSettings, Settings},
    tree::{Entry, Table, Value},
    upstream::is_name,
};
use crate::domain::{AccessToken, AskedAbout, TokenPattern};

const TELL_APART: &str = "whose a token is must be told by its look: name different starts or ends";

/// All key managers, and what routes may name.
#[derive(Default)]
pub struct KeyManagers {
    pub list: Vec<KeyManagerSettings>,
    named: Vec<Named>,
    /// Whether tokens of routes that name no key manager have somebody who is asked about them, or would
    /// have but for a mistake.
    pub judge_any: bool,
}

/// One of `[keyManagers]`, with mistakes or without.
struct Named {
    name: String,
    place: Place,
    patterns: Option<Vec<Placed<TokenPattern>>>,
    used: bool,
}

impl KeyManagers {
    /// Reads all of them.
    pub fn read(root: &mut Section<'_>, context: &Context<'_>) -> Self {
        let mut all = Self::default();
        // The original's file spells one table `[keyManager]` and `[keymanager.security.basic]`.
        if let Some(section) = root.optional_loose_section("keyManager") {
            all.judge_any = true;
            all.list.extend(key_manager::read(
                section,
                context,
                None,
                AskedAbout::Others,
            ));
        }
        if let Some(tables) = root.optional_loose_section("keyManagers") {
            for section in named(root, tables) {
                all.add(section, context);
            }
            all.compare(root);
        }
        all
    }

    fn add(&mut self, (name, mut section): (String, Section<'_>), context: &Context<'_>) {
        let place = section.place.clone();
        let patterns = patterns(&mut section);
        let about = patterns.iter().flatten();
        let about = AskedAbout::Fitting(about.map(|pattern| pattern.value.clone()).collect());
        self.judge_any |= patterns.is_some();
        self.list
            .extend(key_manager::read(section, context, Some(&name), about));
        self.named.push(Named {
            name,
            place,
            patterns,
            used: false,
        });
    }

    /// What they must be to each other: a token is one of one key manager, and so is a name in metrics.
    fn compare(&self, root: &Section<'_>) {
        for (position, named) in self.named.iter().enumerate() {
            for other in &self.named[..position] {
                for pattern in named.all_patterns() {
                    let meets = |known: &&Placed<TokenPattern>| known.value.meets(&pattern.value);
                    let Some(known) = other.all_patterns().find(meets) else {
                        continue;
                    };
                    let what = format!(
                        "there are tokens that fit `tokenPattern` of {:?} and of {:?}",
                        other.name, named.name
                    );
                    root.error(&pattern.place.beside(&known.place), what, TELL_APART);
                }
            }
            let others = self.list.iter();
            let is_other = |known: &KeyManagerSettings| known.about == AskedAbout::Others;
            if others
                .clone()
                .any(|known| is_other(known) && known.name == named.name)
            {
                let what = "[keyManager] has this name in metrics and logs: its host and port";
                root.error(&named.place, what, "give this one another name");
            }
        }
    }

    /// Reads `key_manager` of a route.
    pub fn of_route(&mut self, route: &mut Section<'_>) -> Option<Placed<Box<str>>> {
        let Placed { value, place } = route.text("key_manager")?;
        match self.named.iter_mut().find(|named| named.name == value) {
            Some(named) => named.used = true,
            None => {
                let known: Vec<&str> = self.named.iter().map(|named| &*named.name).collect();
                let hint = match (nearest(&value, &known), known.is_empty()) {
                    (Some(name), _) => format!("did you mean {name:?}?"),
                    (None, true) => "[keyManager] is asked where a route names none".to_owned(),
                    (None, false) => format!("known are: {}", known.join(", ")),
                };
                route.error(&place, format!("there is no [keyManagers.{value}]"), hint);
            }
        }
        Some(Placed {
            value: value.into(),
            place,
        })
    }

    /// Tells of those that are never asked.
    pub fn into_list(self, root: &Section<'_>) -> Vec<KeyManagerSettings> {
        for named in self.named.iter().filter(|named| !named.used) {
            if named.patterns.is_none() {
                let what = format!("no route names the key manager {:?}", named.name);
                let hint =
                    "say `key_manager` in a route, or which tokens are its own by `tokenPattern`";
                root.warn(&named.place, what, hint);
            }
        }
        self.list
    }
}

impl Settings {
    /// The key manager that is asked about `token` on routes that name none.
    pub fn key_manager_of(&self, token: AccessToken<'_>) -> Option<&KeyManagerSettings> {
        let about = self.key_managers.iter().map(|known| &known.about);
        AskedAbout::whom(about, token).map(|position| &self.key_managers[position])
    }

    pub fn key_manager_named(&self, name: &str) -> Option<&KeyManagerSettings> {
        let mut known = self.key_managers.iter();
        known.find(|known| known.name == name && known.about != AskedAbout::Others)
    }
}

impl Named {
    fn all_patterns(&self) -> impl Iterator<Item = &Placed<TokenPattern>> {
        self.patterns.iter().flatten()
    }
}

/// The tables of `[keyManagers]`, each once, however its name is spelt.
fn named<'r>(root: &Section<'r>, tables: Section<'r>) -> Vec<(String, Section<'r>)> {
    let mut found: Vec<(Entry, Table)> = Vec::new();
    let label = tables.label.clone();
    for mut entry in tables.into_entries() {
        let value = std::mem::replace(&mut entry.node.value, Value::Table(Table::default()));
        let Value::Table(table) = value else {
            let what = format!("`keyManagers.{}` must be a table", entry.key);
            root.error(&entry.key_place, what, "write [keyManagers.NAME]");
            continue;
        };
        if !is_name(&entry.key) {
            let what = "this cannot be the name of a key manager";
            root.error(&entry.key_place, what, "letters, digits, `-` and `_`");
        }
        match found
            .iter_mut()
            .find(|(known, _)| fold(&known.key) == fold(&entry.key))
        {
            Some((_, known)) => known.entries.extend(table.entries),
            None => found.push((entry, table)),
        }
    }
    let section = |(entry, table): (Entry, Table)| {
        let label = format!("{label}.{}", entry.key);
        let section = root.below(table, &label, &entry.key_place);
        (entry.key, section.with_names(Names::Loose))
    };
    found.into_iter().map(section).collect()
}

fn patterns(section: &mut Section<'_>) -> Option<Vec<Placed<TokenPattern>>> {
    let Placed { value, place } = section.texts("tokenPattern")?;
    if value.is_empty() {
        section.error(&place, "`tokenPattern` is empty", "leave it out");
    }
    let mut patterns = Vec::new();
    for text in value {
        match TokenPattern::parse(&text.value) {
            Ok(value) => patterns.push(Placed {
                value,
                place: text.place,
            }),
            Err(hint) => section.error(&text.place, "this is no pattern of tokens", hint),
        }
    }
    Some(patterns)
}
