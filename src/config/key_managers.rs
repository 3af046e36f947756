//! All key managers: `[keyManager]`, which is asked about the tokens that are nobody else's, and those of
//! `[keyManagers.NAME]`, with the same tables.

use super::{
    check::Context,
    key_manager,
    problem::Place,
    section::{Placed, Section, nearest},
    settings::{KeyManagerSettings, Settings},
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
            for (name, section) in root.named(tables, "a key manager") {
                all.add(name, section, context);
            }
            all.compare(root);
        }
        all
    }

    fn add(&mut self, name: String, mut section: Section<'_>, context: &Context<'_>) {
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
        let usual = usual(&self.list);
        for (position, named) in self.named.iter().enumerate() {
            for other in &self.named[..position] {
                named.tell_apart(other, root);
            }
            if usual.is_some_and(|usual| usual.name == named.name) {
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

/// `[keyManager]`.
pub fn usual(key_managers: &[KeyManagerSettings]) -> Option<&KeyManagerSettings> {
    let mut known = key_managers.iter();
    known.find(|known| known.about == AskedAbout::Others)
}

impl Named {
    /// Reports tokens that may be of either.
    fn tell_apart(&self, other: &Self, root: &Section<'_>) {
        for pattern in self.all_patterns() {
            let meets = |known: &&Placed<TokenPattern>| known.value.meets(&pattern.value);
            if let Some(known) = other.all_patterns().find(meets) {
                let what = format!(
                    "there are tokens that fit `tokenPattern` of {:?} and of {:?}",
                    other.name, self.name
                );
                root.error(&pattern.place.beside(&known.place), what, TELL_APART);
            }
        }
    }

    fn all_patterns(&self) -> impl Iterator<Item = &Placed<TokenPattern>> {
        self.patterns.iter().flatten()
    }
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
