//! APIs, by number, by name and version, and by the path that they begin with.

use std::{
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use hashbrown::{DefaultHashBuilder, HashTable};
use parking_lot::{Mutex, RwLock};

use super::shelf::{List, Shelf, Source, Written};
use crate::domain::{Api, ApiIdentity, Millis};

const SHARDS: usize = 16;

/// All APIs.
pub struct Apis {
    pub rows: Shelf<u32, Arc<Api>>,
    index: RwLock<Index>,
    /// Becomes another number with each change of the index; never 0.
    edition: AtomicU32,
    /// Held while a row and its places in the index change.
    writing: Mutex<()>,
}

/// An API as a route names it, and where one table had it last. Requests look again only when APIs have
/// changed since.
pub struct Sought {
    identity: Arc<ApiIdentity>,
    /// The edition of the index, and the number of the API.
    last: AtomicU64,
}

impl Sought {
    /// Is for one table only.
    pub fn new(identity: impl Into<Arc<ApiIdentity>>) -> Self {
        Self {
            identity: identity.into(),
            last: AtomicU64::new(0),
        }
    }

    pub fn identity(&self) -> &ApiIdentity {
        &self.identity
    }
}

#[derive(Default)]
struct Index {
    random: DefaultHashBuilder,
    by_name: HashTable<Arc<Api>>,
    by_context: HashTable<Arc<Api>>,
}

impl Apis {
    pub fn new() -> Self {
        Self {
            rows: Shelf::new(SHARDS),
            index: RwLock::default(),
            edition: AtomicU32::new(1),
            writing: Mutex::default(),
        }
    }

    pub fn put(&self, api: Api, at: Millis, from: Source) -> bool {
        let api = Arc::new(api);
        let _alone = self.writing.lock();
        let Written::Done(before) = self.rows.put(api.id, Arc::clone(&api), at, from) else {
            return false;
        };
        if before.as_ref() == Some(&api) {
            return true;
        }
        self.edit(|index| {
            if let Some(before) = &before {
                index.remove(before);
            }
            index.insert(&api);
        });
        true
    }

    pub fn remove(&self, id: u32, at: Millis) -> bool {
        let _alone = self.writing.lock();
        match self.rows.remove(id, at) {
            Written::Ignored => false,
            Written::Done(None) => true,
            Written::Done(Some(before)) => {
                self.edit(|index| index.remove(&before));
                true
            }
        }
    }

    /// See [`Shelf::finish`].
    pub fn finish(&self, list: &mut List, at: Millis) -> usize {
        let _alone = self.writing.lock();
        let mut gone = Vec::new();
        let swept = self.rows.finish(list, at, |api| gone.push(Arc::clone(api)));
        for api in gone {
            self.edit(|index| index.remove(&api));
        }
        swept
    }

    /// The number of the API, as [`Apis::find`] finds it.
    pub fn number(&self, sought: &Sought) -> Option<u32> {
        // First, so that what is found is at least as new.
        let edition = self.edition.load(Ordering::Acquire);
        let (found_in, number) = halves(sought.last.load(Ordering::Relaxed));
        if found_in == edition {
            return Some(number);
        }
        let number = self.find(&sought.identity)?.id;
        let last = u64::from(edition) << u32::BITS | u64::from(number);
        sought.last.store(last, Ordering::Relaxed);
        Some(number)
    }

    /// The API by its name and version, or else by its path and version.
    pub fn find(&self, identity: &ApiIdentity) -> Option<Arc<Api>> {
        let index = self.index.read();
        let hash = index.hash(&identity.name, &identity.version);
        let mut by_name = index
            .by_name
            .iter_hash(hash)
            .filter(|api| api.name == identity.name && api.version == identity.version);
        let found = match (by_name.next(), by_name.next()) {
            (Some(api), None) => Some(api),
            (Some(one), Some(two)) => Some(index.of_tenant(identity, one, two, by_name)),
            (None, _) => index.at_path(identity),
        };
        found.cloned()
    }

    fn edit(&self, edit: impl FnOnce(&mut Index)) {
        let mut index = self.index.write();
        edit(&mut index);
        let next = self.edition.load(Ordering::Relaxed).wrapping_add(1);
        self.edition.store(next.max(1), Ordering::Release);
    }
}

/// The upper half and the lower one.
#[allow(clippy::cast_possible_truncation)]
fn halves(number: u64) -> (u32, u32) {
    ((number >> u32::BITS) as u32, number as u32)
}

impl Index {
    /// Of several with the same name: the one at the same path, or any, but always the same.
    fn of_tenant<'a>(
        &self,
        identity: &ApiIdentity,
        one: &'a Arc<Api>,
        two: &'a Arc<Api>,
        others: impl Iterator<Item = &'a Arc<Api>>,
    ) -> &'a Arc<Api> {
        let context = context_of(identity);
        let rank = |api: &Arc<Api>| {
            let is_elsewhere = context != Some(base(&api.context, &api.version));
            (is_elsewhere, api.id)
        };
        [two].into_iter().chain(others).fold(one, |best, other| {
            if rank(other) < rank(best) {
                other
            } else {
                best
            }
        })
    }

    fn at_path(&self, identity: &ApiIdentity) -> Option<&Arc<Api>> {
        let context = context_of(identity)?;
        let hash = self.hash(context, &identity.version);
        let at_path = self.by_context.iter_hash(hash).filter(|api| {
            base(&api.context, &api.version) == context && api.version == identity.version
        });
        at_path.min_by_key(|api| api.id)
    }

    fn insert(&mut self, api: &Arc<Api>) {
        let (name, context) = (self.name_hash(api), self.context_hash(api));
        let Self {
            random,
            by_name,
            by_context,
        } = self;
        by_name.insert_unique(name, Arc::clone(api), |api| {
            random.hash_one((&*api.name, &*api.version))
        });
        by_context.insert_unique(context, Arc::clone(api), |api| {
            random.hash_one((base(&api.context, &api.version), &*api.version))
        });
    }

    fn remove(&mut self, api: &Arc<Api>) {
        let (name, context) = (self.name_hash(api), self.context_hash(api));
        let tables = [(name, &mut self.by_name), (context, &mut self.by_context)];
        for (hash, table) in tables {
            if let Ok(entry) = table.find_entry(hash, |other| other.id == api.id) {
                entry.remove();
            }
        }
    }

    fn name_hash(&self, api: &Api) -> u64 {
        self.hash(&api.name, &api.version)
    }

    fn context_hash(&self, api: &Api) -> u64 {
        self.hash(base(&api.context, &api.version), &api.version)
    }

    fn hash(&self, name: &str, version: &str) -> u64 {
        self.random.hash_one((name, version))
    }
}

fn context_of(identity: &ApiIdentity) -> Option<&str> {
    let context = identity.context.as_deref()?;
    Some(base(context, &identity.version))
}

/// `/pizza/1.0.0` of the version 1.0.0 is `/pizza`.
fn base<'a>(context: &'a str, version: &str) -> &'a str {
    let context = context.trim_end_matches('/');
    let base = context.strip_suffix(version);
    base.and_then(|base| base.strip_suffix('/'))
        .unwrap_or(context)
}

/// Of the `known` names of APIs those that `name` was probably meant to be: names in WSO2's data have
/// no spaces, so that `My API` is `My_API` or `MyAPI` there. Empty if it is among them.
pub fn near_names<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    const NEAR: f64 = 0.85;
    const MOST: usize = 3;
    let wanted = plain(name);
    let mut near = Vec::new();
    for other in known {
        if other == name {
            return Vec::new();
        }
        let likeness = strsim::jaro_winkler(&wanted, &plain(other));
        if likeness >= NEAR {
            near.push((likeness, other));
        }
    }
    near.sort_by(|(one, left), (two, right)| two.total_cmp(one).then_with(|| left.cmp(right)));
    near.dedup();
    near.truncate(MOST);
    near.into_iter().map(|(_, name)| name).collect()
}

/// Letters and digits only, small.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(|letter| letter.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(id: u32, name: &str, version: &str, context: &str) -> Api {
        Api {
            id,
            name: name.into(),
            version: version.into(),
            context: context.into(),
            provider: "admin".into(),
            policy: None,
        }
    }

    fn find(apis: &Apis, name: &str, version: &str, context: Option<&str>) -> Option<u32> {
        let identity = ApiIdentity {
            name: name.into(),
            version: version.into(),
            context: context.map(Box::from),
        };
        apis.find(&identity).map(|api| api.id)
    }

    #[test]
    fn found_by_name_and_else_by_path() {
        let apis = Apis::new();
        for api in [
            api(1, "Pizza", "1", "/pizza/1"),
            api(2, "Pizza", "2", "/pizza/2"),
            api(3, "Pasta", "1", "/pasta"),
        ] {
            assert!(apis.put(api, 1, Source::Change));
        }
        assert_eq!(find(&apis, "Pizza", "2", None), Some(2));
        assert_eq!(find(&apis, "Pizza", "3", Some("/pizza")), None);
        assert_eq!(find(&apis, "My Pizza", "1", Some("/pizza")), Some(1));
        assert_eq!(find(&apis, "My Pizza", "2", Some("/pizza/2/")), Some(2));
        assert_eq!(find(&apis, "My Pasta", "1", Some("/pasta")), Some(3));
        assert_eq!(find(&apis, "My Pasta", "1", None), None);
        // The name is the stronger word.
        assert_eq!(find(&apis, "Pizza", "1", Some("/pasta")), Some(1));
    }

    #[test]
    fn the_index_follows_the_rows() {
        let apis = Apis::new();
        assert!(apis.put(api(1, "Old", "1", "/old/1"), 1, Source::Change));
        assert!(apis.put(api(1, "New", "1", "/new/1"), 2, Source::Change));
        assert_eq!(find(&apis, "Old", "1", Some("/old")), None);
        assert_eq!(find(&apis, "New", "1", None), Some(1));
        assert!(!apis.put(api(1, "Old", "1", "/old/1"), 1, Source::Change));
        assert!(apis.remove(1, 3));
        assert_eq!(find(&apis, "New", "1", Some("/new")), None);
    }

    #[test]
    fn what_was_found_is_looked_for_again_when_apis_change() {
        let apis = Apis::new();
        let sought = Sought::new(ApiIdentity {
            name: "Pizza".into(),
            version: "1".into(),
            context: Some("/pizza".into()),
        });
        let number = |change: &dyn Fn()| {
            change();
            let number = apis.number(&sought);
            assert_eq!(apis.number(&sought), number);
            assert_eq!(number, apis.find(sought.identity()).map(|api| api.id));
            number
        };
        assert_eq!(number(&|| {}), None);
        let put =
            |id, name, at| assert!(apis.put(api(id, name, "1", "/pizza/1"), at, Source::Change));
        assert_eq!(number(&|| put(7, "Old", 1)), Some(7));
        assert_eq!(number(&|| put(8, "Pizza", 2)), Some(8));
        assert_eq!(number(&|| assert!(apis.remove(8, 3))), Some(7));
        assert_eq!(number(&|| assert!(apis.remove(7, 4))), None);
        let mut list = apis.rows.begin(5).unwrap();
        assert!(apis.put(api(0, "Pizza", "1", "/"), 5, list.source()));
        assert_eq!(apis.finish(&mut list, 5), 0);
        drop(list);
        assert_eq!(number(&|| {}), Some(0));
        let mut list = apis.rows.begin(6).unwrap();
        assert_eq!(apis.finish(&mut list, 6), 1);
        assert_eq!(number(&|| {}), None);
    }

    #[test]
    fn of_two_with_one_name_the_path_decides() {
        let apis = Apis::new();
        for api in [
            api(1, "Pizza", "1", "/t/one/pizza/1"),
            api(2, "Pizza", "1", "/pizza/1"),
        ] {
            assert!(apis.put(api, 1, Source::Change));
        }
        assert_eq!(find(&apis, "Pizza", "1", Some("/pizza")), Some(2));
        assert_eq!(find(&apis, "Pizza", "1", None), Some(1));
    }

    #[test]
    fn names_with_spaces_are_found_again() {
        let known = ["MyAPI", "My_API", "Pizza", "Orders"];
        assert_eq!(near_names("My API", known), ["MyAPI", "My_API"]);
        assert!(near_names("Pizza", known).is_empty());
        assert!(near_names("Something else", known).is_empty());
        assert_eq!(near_names("Order", known), ["Orders"]);
    }
}
