//! Names that very many rows have in common, kept once.

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
};

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

/// Names of tiers, and of key managers, that sources may use. There are some tens.
const MOST: usize = 4096;

/// The names of tiers and of key managers by small numbers. They are never forgotten, not even when this
/// goes: so a request that reads one changes no count that all others change, too. Whoever makes one table
/// after the other gives the same names to all of them.
pub struct Names {
    by_number: Box<[OnceLock<&'static str>]>,
    by_text: RwLock<HashMap<&'static str, Name>>,
}

/// The number of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(u16);

impl Default for Names {
    fn default() -> Self {
        Self {
            by_number: (0..MOST).map(|_| OnceLock::new()).collect(),
            by_text: RwLock::default(),
        }
    }
}

impl Names {
    /// The number of `text`, which it gets now if it is new; `None`: there are too many.
    pub fn number(&self, text: &str) -> Option<Name> {
        self.find(text).or_else(|| self.add(text))
    }

    /// The number of `text`, if it has one.
    pub fn find(&self, text: &str) -> Option<Name> {
        self.by_text.read().get(text).copied()
    }

    pub fn text(&self, name: Name) -> &'static str {
        let text = self.by_number[usize::from(name.0)].get();
        // Whoever has a number has it from `add`.
        text.copied().unwrap_or_default()
    }

    fn add(&self, text: &str) -> Option<Name> {
        let mut by_text = self.by_text.write();
        if let Some(known) = by_text.get(text) {
            return Some(*known);
        }
        let place = self.by_number.get(by_text.len())?;
        let name = Name(u16::try_from(by_text.len()).ok()?);
        let text = &*Box::leak(Box::<str>::from(text));
        place.set(text).ok()?;
        by_text.insert(text, name);
        Some(name)
    }
}

/// Strings that are shared as long as somebody has them.
#[derive(Default)]
pub struct Shared(Mutex<HashSet<Arc<str>>>);

impl Shared {
    pub fn share(&self, text: Arc<str>) -> Arc<str> {
        let mut known = self.0.lock();
        if let Some(known) = known.get(&text) {
            return Arc::clone(known);
        }
        known.insert(Arc::clone(&text));
        text
    }

    /// Forgets what nobody else has.
    pub fn tidy(&self) {
        self.0.lock().retain(|text| Arc::strong_count(text) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once_and_they_are_bounded() {
        let names = Names::default();
        let gold = names.number("Gold").unwrap();
        assert_eq!(names.number("Gold"), Some(gold));
        assert_eq!(names.find("Gold"), Some(gold));
        assert_eq!(names.text(gold), "Gold");
        assert_eq!(names.find("Silver"), None);
        for number in 1..MOST {
            assert!(names.number(&number.to_string()).is_some());
        }
        assert_eq!(names.number("Silver"), None);
        assert_eq!(names.number("Gold"), Some(gold));
    }
}
