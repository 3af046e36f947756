//! Names that very many rows have in common, kept once.

use std::{collections::HashSet, sync::Arc};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

/// Names of tiers, and of key managers, that a source may use. There are some tens.
const MOST: usize = 4096;

/// Names by small numbers. They are never forgotten.
#[derive(Default)]
pub struct Names {
    by_number: ArcSwap<Vec<Arc<str>>>,
    adding: Mutex<()>,
}

impl Names {
    /// The number of `name`, which it gets now if it is new; `None`: there are too many.
    pub fn number(&self, name: &str) -> Option<u16> {
        self.find(name).or_else(|| {
            let _alone = self.adding.lock();
            self.find(name).or_else(|| self.add(name))
        })
    }

    pub fn find(&self, name: &str) -> Option<u16> {
        let names = self.by_number.load();
        let position = names.iter().position(|known| **known == *name)?;
        u16::try_from(position).ok()
    }

    pub fn name(&self, number: u16) -> Option<Arc<str>> {
        self.by_number.load().get(usize::from(number)).cloned()
    }

    fn add(&self, name: &str) -> Option<u16> {
        let mut names = Vec::clone(&self.by_number.load());
        if names.len() == MOST {
            return None;
        }
        let number = u16::try_from(names.len()).ok();
        names.push(name.into());
        self.by_number.store(Arc::new(names));
        number
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
