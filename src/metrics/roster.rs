//! Who has metrics: routes, upstreams and issuers come and go with the configuration.
//!
//! A name's series live as long as anybody holds its handles: a reload that keeps a route keeps its
//! counters, and one that drops it drops them with the last request that used them.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

/// The handles that somebody holds, by name.
pub struct Roster<T>(Arc<Mutex<HashMap<String, Weak<T>>>>);

impl<T> Clone for Roster<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Roster<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Roster<T> {
    /// The handles of `name`, made by `make` where nobody holds any.
    pub fn get(&self, name: &str, make: impl FnOnce() -> T) -> Arc<T> {
        let mut known = self.0.lock();
        if let Some(live) = known.get(name).and_then(Weak::upgrade) {
            return live;
        }
        let made = Arc::new(make());
        known.insert(name.to_owned(), Arc::downgrade(&made));
        made
    }

    /// The handles of `name`, if anybody holds them.
    pub fn find(&self, name: &str) -> Option<Arc<T>> {
        self.0.lock().get(name)?.upgrade()
    }

    /// All that somebody holds.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.0.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// Does `clear` unless somebody holds the handles of `name` again: to be called when some have
    /// been dropped.
    pub fn clear(&self, name: &str, clear: impl FnOnce()) {
        let mut known = self.0.lock();
        if known.get(name).is_some_and(|weak| weak.strong_count() > 0) {
            return;
        }
        known.remove(name);
        clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_shared_while_they_are_held() {
        let roster = Roster::default();
        let one = roster.get("a", || 1);
        assert_eq!(*roster.get("a", || 2), 1);
        assert_eq!(roster.all().len(), 1);
        drop(one);
        assert_eq!(*roster.get("a", || 2), 2);
    }

    #[test]
    fn what_is_held_again_is_not_cleared() {
        let roster = Roster::default();
        let held = roster.get("a", || 1);
        roster.clear("a", || panic!("it is held"));
        drop(held);
        let mut cleared = false;
        roster.clear("a", || cleared = true);
        assert!(cleared);
    }
}
