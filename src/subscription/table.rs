//! All rows together, and the question that a request asks.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use hashbrown::DefaultHashBuilder;
use parking_lot::MutexGuard;

use super::{
    apis::{Apis, Sought},
    clients::{At, Client, ClientKey, Namesakes},
    names::{Name, Names, Shared},
    shelf::{List, Shelf, Source, Written},
};
use crate::domain::{
    Api, ApiIdentity, Application, Change, Edit, KeyMapping, Millis, Missing, Outcome, PolicyKind,
    Row, RowId, RowKind, Subscribed, Subscriber, Subscription, SubscriptionState, TierPolicy,
};

/// With a million rows each shard is nearly as full as it may be before it is made larger.
const SHARDS: usize = 1280;
const FEW_SHARDS: usize = 16;

/// Everything that is known of applications, APIs and subscriptions.
pub struct Table {
    clients: Shelf<ClientKey, Client>,
    applications: Shelf<u32, Arc<Application>>,
    apis: Apis,
    subscriptions: Shelf<(u32, u32), Terms>,
    application_policies: Shelf<Box<str>, Arc<TierPolicy>>,
    subscription_policies: Shelf<Box<str>, Arc<TierPolicy>>,
    names: Arc<Names>,
    owners: Shared,
    digester: (RandomState, DefaultHashBuilder),
    /// Kinds of which a whole list came, one bit for each.
    loaded: AtomicU8,
}

/// What a subscription says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Terms {
    state: SubscriptionState,
    /// The tier.
    policy: Name,
}

impl Table {
    pub fn new(names: Arc<Names>) -> Self {
        Self {
            clients: Shelf::new(SHARDS),
            applications: Shelf::new(SHARDS),
            apis: Apis::new(),
            subscriptions: Shelf::new(SHARDS),
            application_policies: Shelf::new(FEW_SHARDS),
            subscription_policies: Shelf::new(FEW_SHARDS),
            names,
            owners: Shared::default(),
            digester: (RandomState::new(), DefaultHashBuilder::default()),
            loaded: AtomicU8::new(0),
        }
    }

    /// What is known of a client and an API. `key_manager`: the name of the one that the client is
    /// registered at, where there are several.
    pub fn check(&self, client_id: &str, key_manager: Option<&str>, api: &Sought) -> Outcome {
        let mut subscriber = Subscriber::default();
        let Some(client) = self.client(client_id, key_manager) else {
            return Outcome::Unknown(Missing::KeyMapping, subscriber);
        };
        subscriber.key_type = client.key_type;
        let id = client.application;
        let api = self.apis.number(api);
        let (application, terms) = match api {
            Some(api) => self.application_and_terms(id, api),
            None => (self.applications.open(&id).get().cloned(), None),
        };
        subscriber.application = application;
        if subscriber.application.is_none() {
            return Outcome::Unknown(Missing::Application(id), subscriber);
        }
        let Some(api) = api else {
            return Outcome::Unknown(Missing::Api, subscriber);
        };
        let Some(terms) = terms else {
            let application = id;
            return Outcome::Unknown(Missing::Subscription { application, api }, subscriber);
        };
        subscriber.subscription = Some(Subscribed {
            api,
            policy: self.names.text(terms.policy),
            state: terms.state,
        });
        Outcome::Known(subscriber)
    }

    /// Takes both locks before it looks for either row: no read overtakes the taking of a lock, and rows are
    /// in no cache where there are many. So their times of waiting do not add up.
    fn application_and_terms(
        &self,
        application: u32,
        api: u32,
    ) -> (Option<Arc<Application>>, Option<Terms>) {
        let key = (application, api);
        let (one, two) = (
            self.applications.open(&application),
            self.subscriptions.open(&key),
        );
        let (application, terms) = (one.get(), two.get().copied());
        // The same holds for the count that the copy changes.
        if let Some(application) = application {
            black_box(Arc::strong_count(application));
        }
        (application.cloned(), terms)
    }

    /// What a tier's name means.
    pub fn policy(&self, kind: PolicyKind, name: &str) -> Option<Arc<TierPolicy>> {
        self.policies(kind).open(name).get().cloned()
    }

    /// Whether the source says what the names of tiers mean.
    pub fn has_policies(&self, kind: PolicyKind) -> bool {
        self.policies(kind).len() > 0
    }

    /// The API that a route belongs to.
    pub fn api(&self, identity: &ApiIdentity) -> Option<Arc<Api>> {
        self.apis.find(identity)
    }

    /// Whether enough has been loaded to refuse anybody.
    pub fn is_ready(&self) -> bool {
        const NEEDED: [RowKind; 4] = [
            RowKind::Applications,
            RowKind::KeyMappings,
            RowKind::Apis,
            RowKind::Subscriptions,
        ];
        let needed = NEEDED.iter().fold(0, |bits, kind| bits | bit(*kind));
        self.loaded.load(Ordering::Relaxed) & needed == needed
    }

    /// Rows of a kind.
    pub fn count(&self, kind: RowKind) -> usize {
        match kind {
            RowKind::Applications => self.applications.len(),
            RowKind::KeyMappings => self.clients.len(),
            RowKind::Apis => self.apis.rows.len(),
            RowKind::Subscriptions => self.subscriptions.len(),
            RowKind::ApplicationPolicies => self.application_policies.len(),
            RowKind::SubscriptionPolicies => self.subscription_policies.len(),
        }
    }

    /// Takes note of a change; says whether it was news.
    pub fn apply(&self, change: Change) -> bool {
        match change.what {
            Edit::Put(row) => self.put(row, change.at, Source::Change),
            Edit::Remove(id) => self.remove(id, change.at),
        }
    }

    /// Takes note of a whole list, which the source began to give at `at`; `None` if a later one is
    /// known.
    pub fn load(
        &self,
        kind: RowKind,
        rows: impl IntoIterator<Item = Row>,
        at: Millis,
    ) -> Option<Loaded> {
        let mut load = self.begin(kind, at)?;
        for row in rows {
            load.put(row);
        }
        Some(load.finish())
    }

    /// Begins a list, row by row; `None` if a later one is known. A list that breaks off before
    /// [`Load::finish`] says nothing about rows that are not in it.
    pub fn begin(&self, kind: RowKind, at: Millis) -> Option<Load<'_>> {
        let list = match kind {
            RowKind::Applications => self.applications.begin(at),
            RowKind::KeyMappings => self.clients.begin(at),
            RowKind::Apis => self.apis.rows.begin(at),
            RowKind::Subscriptions => self.subscriptions.begin(at),
            RowKind::ApplicationPolicies => self.application_policies.begin(at),
            RowKind::SubscriptionPolicies => self.subscription_policies.begin(at),
        }?;
        Some(Load {
            table: self,
            kind,
            at,
            list,
            report: Loaded::default(),
        })
    }

    fn put(&self, row: Row, at: Millis, from: Source) -> bool {
        match row {
            Row::Application(row) => {
                let row = Arc::new(Application {
                    owner: self.owners.share(row.owner),
                    policy: self.owners.share(row.policy),
                    ..row
                });
                is_done(&self.applications.put(row.id, row, at, from))
            }
            Row::KeyMapping(row) => self.put_client(&row, at, from),
            Row::Api(row) => self.apis.put(row, at, from),
            Row::Subscription(row) => self.put_subscription(&row, at, from),
            Row::Policy(kind, row) => {
                let written = self
                    .policies(kind)
                    .put(row.name.clone(), Arc::new(row), at, from);
                is_done(&written)
            }
        }
    }

    fn put_subscription(&self, row: &Subscription, at: Millis, from: Source) -> bool {
        let Some(policy) = self.names.number(&row.policy) else {
            return false;
        };
        let terms = Terms {
            state: row.state,
            policy,
        };
        let key = (row.application, row.api);
        is_done(&self.subscriptions.put(key, terms, at, from))
    }

    fn put_client(&self, row: &KeyMapping, at: Millis, from: Source) -> bool {
        let Some(key_manager) = At::new(&row.key_manager, &self.names) else {
            return false;
        };
        let key = ClientKey {
            digest: self.digest(&row.consumer_key),
            key_manager,
        };
        let everywhere = ClientKey {
            key_manager: At::Everywhere,
            ..key
        };
        let removed = || {
            let removed = self.clients.removed_at(&everywhere);
            removed.filter(|removed| *removed >= at)
        };
        if removed().is_some() {
            return false;
        }
        let client = Client {
            application: row.application,
            key_type: row.key_type,
        };
        let is_news = is_done(&self.clients.put(key, client, at, from));
        // A removal that has come in between did not see the row.
        let removed = removed().filter(|_| is_news);
        is_news && removed.is_none_or(|at| !is_done(&self.clients.remove(key, at)))
    }

    fn remove(&self, id: RowId, at: Millis) -> bool {
        match id {
            RowId::Application(id) => is_done(&self.applications.remove(id, at)),
            RowId::KeyMapping {
                consumer_key,
                key_manager,
            } => self.remove_client(&consumer_key, &key_manager, at),
            RowId::Api(id) => self.apis.remove(id, at),
            RowId::Subscription { application, api } => {
                is_done(&self.subscriptions.remove((application, api), at))
            }
            RowId::Policy(kind, name) => is_done(&self.policies(kind).remove(name, at)),
        }
    }

    fn remove_client(&self, consumer_key: &str, key_manager: &str, at: Millis) -> bool {
        let key_manager = match At::new(key_manager, &self.names) {
            Some(At::Unnamed) => At::Everywhere,
            Some(named) => named,
            None => return false,
        };
        let key = ClientKey {
            digest: self.digest(consumer_key),
            key_manager,
        };
        // First, so that no older row comes in behind it.
        let mut is_news = is_done(&self.clients.remove(key, at));
        if key_manager == At::Everywhere {
            let others: Vec<ClientKey> = self.clients.alike(&key, |rows| {
                rows.filter(|(other, client, _)| other.digest == key.digest && client.is_some())
                    .map(|(other, ..)| *other)
                    .collect()
            });
            for other in others {
                is_news |= is_done(&self.clients.remove(other, at));
            }
        }
        is_news
    }

    /// The client, of this key manager where one is named.
    fn client(&self, client_id: &str, key_manager: Option<&str>) -> Option<Client> {
        let digest = self.digest(client_id);
        // Of a name that no row has, only those count that name nobody.
        let wanted = key_manager.map(|name| self.names.find(name));
        let key = ClientKey {
            digest,
            key_manager: At::Unnamed,
        };
        self.clients.alike(&key, |rows| {
            let mut namesakes = Namesakes::default();
            for (other, client, at) in rows.filter(|(other, ..)| other.digest == digest) {
                let is_meant = match other.key_manager {
                    At::Unnamed | At::Everywhere => true,
                    At::Named(name) => wanted.is_none_or(|wanted| wanted == Some(name)),
                };
                if is_meant {
                    namesakes.add(other.key_manager != At::Unnamed, client.copied(), at);
                }
            }
            namesakes.one(key_manager.is_some())
        })
    }

    /// Both are keyed anew for each table; the first is SipHash, so nobody can aim at one.
    fn digest(&self, client_id: &str) -> [u64; 2] {
        let (one, two) = &self.digester;
        [one.hash_one(client_id), two.hash_one(client_id)]
    }

    fn policies(&self, kind: PolicyKind) -> &Shelf<Box<str>, Arc<TierPolicy>> {
        match kind {
            PolicyKind::Application => &self.application_policies,
            PolicyKind::Subscription => &self.subscription_policies,
        }
    }
}

/// A list that is coming in.
pub struct Load<'t> {
    table: &'t Table,
    kind: RowKind,
    at: Millis,
    /// Keeps other lists of the same kind waiting; requests and changes go on.
    list: MutexGuard<'t, List>,
    report: Loaded,
}

/// What a list brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub rows: usize,
    /// Rows that were not in it any more.
    pub removed: usize,
}

impl Load<'_> {
    /// A row of the list; one of another kind is not taken.
    pub fn put(&mut self, row: Row) {
        if row.kind() == self.kind {
            self.report.rows += 1;
            self.table.put(row, self.at, self.list.source());
        }
    }

    /// The list is complete: rows that are not in it are removed, unless a change since then put them
    /// there.
    pub fn finish(mut self) -> Loaded {
        let (table, at, list) = (self.table, self.at, &mut *self.list);
        self.report.removed = match self.kind {
            RowKind::Applications => {
                let swept = table.applications.finish(list, at, |_| {});
                table.owners.tidy();
                swept
            }
            RowKind::KeyMappings => table.clients.finish(list, at, |_| {}),
            RowKind::Apis => table.apis.finish(list, at),
            RowKind::Subscriptions => table.subscriptions.finish(list, at, |_| {}),
            RowKind::ApplicationPolicies => table.application_policies.finish(list, at, |_| {}),
            RowKind::SubscriptionPolicies => table.subscription_policies.finish(list, at, |_| {}),
        };
        table.loaded.fetch_or(bit(self.kind), Ordering::Release);
        self.report
    }
}

fn is_done<V>(written: &Written<V>) -> bool {
    matches!(written, Written::Done(_))
}

fn bit(kind: RowKind) -> u8 {
    1 << kind as u8
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::KeyType;

    fn table() -> Table {
        Table::new(Arc::default())
    }

    fn application(id: u32, name: &str) -> Row {
        Row::Application(Application {
            id,
            uuid: None,
            name: name.into(),
            owner: "admin".into(),
            policy: "Unlimited".into(),
        })
    }

    fn client(key: &str, key_manager: &str, application: u32, key_type: KeyType) -> Row {
        Row::KeyMapping(KeyMapping {
            consumer_key: key.into(),
            key_manager: key_manager.into(),
            application,
            key_type,
        })
    }

    fn api(id: u32, name: &str) -> Row {
        Row::Api(Api {
            id,
            name: name.into(),
            version: "1.0.0".into(),
            context: format!("/{name}/1.0.0").into(),
            provider: "admin".into(),
            policy: None,
        })
    }

    fn subscription(application: u32, api: u32, policy: &str, state: &str) -> Row {
        Row::Subscription(Subscription {
            application,
            api,
            policy: policy.into(),
            state: SubscriptionState::parse(state),
        })
    }

    fn put(table: &Table, at: Millis, row: Row) -> bool {
        let what = Edit::Put(row);
        table.apply(Change { at, what })
    }

    fn remove(table: &Table, at: Millis, id: RowId) -> bool {
        let what = Edit::Remove(id);
        table.apply(Change { at, what })
    }

    fn sought(name: &str) -> Sought {
        Sought::new(ApiIdentity {
            name: name.into(),
            version: "1.0.0".into(),
            context: None,
        })
    }

    #[test]
    fn a_client_is_followed_to_its_subscription() {
        let table = table();
        let (pizza, check) = (sought("Pizza"), |table: &Table, api: &Sought| {
            table.check("ck", None, api)
        });
        let nothing = Subscriber::default();
        assert_eq!(
            check(&table, &pizza),
            Outcome::Unknown(Missing::KeyMapping, nothing)
        );
        put(&table, 1, client("ck", "", 7, KeyType::Sandbox));
        let Outcome::Unknown(Missing::Application(7), known) = check(&table, &pizza) else {
            panic!("the application is known");
        };
        assert_eq!(known.key_type, KeyType::Sandbox);
        put(&table, 1, application(7, "shop"));
        assert!(matches!(
            check(&table, &pizza),
            Outcome::Unknown(Missing::Api, _)
        ));
        put(&table, 1, api(3, "Pizza"));
        assert!(matches!(
            check(&table, &pizza),
            Outcome::Unknown(
                Missing::Subscription {
                    application: 7,
                    api: 3
                },
                _
            )
        ));
        put(&table, 1, subscription(7, 3, "Gold", "UNBLOCKED"));
        let Outcome::Known(subscriber) = check(&table, &pizza) else {
            panic!("there is a subscription");
        };
        assert_eq!(&*subscriber.application.unwrap().name, "shop");
        let subscription = subscriber.subscription.unwrap();
        assert_eq!(subscription.policy, "Gold");
        assert_eq!(subscription.state, SubscriptionState::Unblocked);
        assert_eq!(subscription.api, 3);
    }

    #[test]
    fn a_client_is_one_of_its_key_manager() {
        let table = table();
        put(&table, 1, client("ck", "one", 1, KeyType::Production));
        put(&table, 1, client("ck", "two", 2, KeyType::Sandbox));
        let application = |key_manager| table.client("ck", key_manager).map(|c| c.application);
        assert_eq!(application(Some("one")), Some(1));
        assert_eq!(application(Some("two")), Some(2));
        assert_eq!(application(Some("three")), None);
        // It may be either.
        assert_eq!(application(None), None);
        put(&table, 1, client("ck", "", 3, KeyType::Production));
        assert_eq!(application(None), Some(3));
        assert_eq!(application(Some("two")), Some(2));
        assert_eq!(application(Some("three")), Some(3));
        // Without a name, the key is gone everywhere, older words included that come later.
        let id = RowId::KeyMapping {
            consumer_key: "ck".into(),
            key_manager: "".into(),
        };
        assert!(remove(&table, 5, id));
        assert_eq!(application(Some("one")), None);
        assert!(!put(
            &table,
            4,
            client("ck", "four", 4, KeyType::Production)
        ));
        assert!(put(&table, 6, client("ck", "four", 4, KeyType::Production)));
        assert_eq!(application(None), Some(4));
    }

    #[test]
    fn what_does_not_name_its_key_manager_goes_with_the_key() {
        let table = table();
        let application = |key_manager| table.client("ck", key_manager).map(|c| c.application);
        let id = |key_manager: &str| RowId::KeyMapping {
            consumer_key: "ck".into(),
            key_manager: key_manager.into(),
        };
        put(&table, 10, client("ck", "", 1, KeyType::Production));
        assert_eq!(application(Some("one")), Some(1));
        // It may be that of another key manager.
        remove(&table, 12, id("one"));
        assert_eq!((application(Some("one")), application(None)), (None, None));
        assert_eq!(application(Some("two")), Some(1));
        // An older word does not bring it back, a newer one does.
        put(&table, 11, client("ck", "", 1, KeyType::Production));
        assert_eq!(application(Some("one")), None);
        put(&table, 13, client("ck", "", 1, KeyType::Production));
        assert_eq!(
            (application(Some("one")), application(None)),
            (Some(1), Some(1))
        );
    }

    #[test]
    fn a_key_that_was_moved_is_where_the_newest_word_says() {
        let table = table();
        let application = |key_manager| table.client("ck", key_manager).map(|c| c.application);
        put(&table, 10, client("ck", "one", 1, KeyType::Production));
        put(&table, 11, client("ck", "", 2, KeyType::Production));
        assert_eq!(
            (application(Some("one")), application(None)),
            (Some(2), Some(2))
        );
        put(&table, 12, client("ck", "one", 3, KeyType::Production));
        assert_eq!(application(Some("one")), Some(3));
        // It may be another key manager's.
        assert_eq!(application(None), None);
        put(&table, 13, client("ck", "two", 3, KeyType::Production));
        put(&table, 13, client("ck", "", 3, KeyType::Sandbox));
        assert_eq!(table.client("ck", None).unwrap().key_type, KeyType::Sandbox);
    }

    #[test]
    fn it_is_ready_when_all_that_decides_has_been_loaded() {
        let table = table();
        for (kind, ready) in [
            (RowKind::Applications, false),
            (RowKind::KeyMappings, false),
            (RowKind::SubscriptionPolicies, false),
            (RowKind::Apis, false),
            (RowKind::Subscriptions, true),
        ] {
            assert!(table.load(kind, [], 1).is_some());
            assert_eq!(table.is_ready(), ready);
        }
    }

    #[test]
    fn a_list_that_breaks_off_removes_nothing() {
        let table = table();
        put(&table, 1, application(1, "one"));
        let mut load = table.begin(RowKind::Applications, 10).unwrap();
        load.put(application(2, "two"));
        drop(load);
        assert_eq!(table.count(RowKind::Applications), 2);
        let load = table.load(RowKind::Applications, [application(2, "two")], 20);
        assert_eq!(
            load.unwrap(),
            Loaded {
                rows: 1,
                removed: 1
            }
        );
        assert_eq!(table.count(RowKind::Applications), 1);
        assert!(table.load(RowKind::Applications, [], 19).is_none());
    }

    /// A source of which everything is known: its state at each of its times.
    struct Origin {
        /// Each changes one row, at its own time.
        changes: Vec<Change>,
        random: fastrand::Rng,
    }

    type State = BTreeMap<String, String>;

    impl Origin {
        fn new(seed: u64) -> Self {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut at = 10_000;
            let changes = (0..random.usize(1..60)).map(|_| {
                at += random.u64(1..700);
                let what = edit(&mut random);
                Change { at, what }
            });
            let changes = changes.collect();
            Self { changes, random }
        }

        /// The rows of a kind at a time.
        fn rows(&self, kind: RowKind, at: Millis) -> Vec<Row> {
            let mut rows: BTreeMap<String, Row> = BTreeMap::new();
            for change in self.changes.iter().filter(|change| change.at <= at) {
                match &change.what {
                    Edit::Put(row) => rows.insert(row_name(&id_of(row)), row.clone()),
                    Edit::Remove(RowId::KeyMapping {
                        consumer_key,
                        key_manager,
                    }) if key_manager.is_empty() => {
                        let is_other = |row: &Row| !matches!(row, Row::KeyMapping(row) if row.consumer_key == *consumer_key);
                        rows.retain(|_, row| is_other(row));
                        None
                    }
                    Edit::Remove(id) => rows.remove(&row_name(id)),
                };
            }
            rows.into_values()
                .filter(|row| row.kind() == kind)
                .collect()
        }

        fn end(&self) -> Millis {
            self.changes.last().unwrap().at
        }

        fn state(&self) -> State {
            let rows = RowKind::ALL.iter();
            let rows = rows.flat_map(|kind| self.rows(*kind, self.end()));
            rows.map(|row| (row_name(&id_of(&row)), format!("{row:?}")))
                .collect()
        }
    }

    fn edit(random: &mut fastrand::Rng) -> Edit {
        let (one, two) = (random.u32(0..3), random.u32(0..3));
        let word = ["UNBLOCKED", "BLOCKED", "ON_HOLD"][random.usize(0..3)];
        let key_type = [KeyType::Production, KeyType::Sandbox][random.usize(0..2)];
        let row = match random.u8(0..5) {
            0 => application(one, word),
            1 => client(
                &format!("ck{one}"),
                ["a", "b", ""][random.usize(0..3)],
                two,
                key_type,
            ),
            2 => api(one, word),
            3 => subscription(one, two, word, word),
            _ => Row::Policy(
                PolicyKind::Application,
                TierPolicy {
                    name: format!("p{one}").into(),
                    quota: None,
                    burst: None,
                    stop_on_quota: random.bool(),
                },
            ),
        };
        match random.u8(0..3) {
            0 => Edit::Remove(id_of(&row)),
            _ => Edit::Put(row),
        }
    }

    fn id_of(row: &Row) -> RowId {
        match row {
            Row::Application(row) => RowId::Application(row.id),
            Row::KeyMapping(row) => RowId::KeyMapping {
                consumer_key: row.consumer_key.clone(),
                key_manager: row.key_manager.clone(),
            },
            Row::Api(row) => RowId::Api(row.id),
            Row::Subscription(row) => RowId::Subscription {
                application: row.application,
                api: row.api,
            },
            Row::Policy(kind, row) => RowId::Policy(*kind, row.name.clone()),
        }
    }

    fn row_name(id: &RowId) -> String {
        format!("{id:?}")
    }

    /// What is in the table, said as the origin says it.
    fn state(table: &Table) -> State {
        let mut state = State::new();
        let mut add = |row: Row| state.insert(row_name(&id_of(&row)), format!("{row:?}"));
        table
            .applications
            .for_each(|_, row| drop(add(Row::Application(Application::clone(row)))));
        table
            .apis
            .rows
            .for_each(|_, row| drop(add(Row::Api(Api::clone(row)))));
        table.subscriptions.for_each(|(application, api), terms| {
            add(Row::Subscription(Subscription {
                application: *application,
                api: *api,
                policy: table.names.text(terms.policy).into(),
                state: terms.state,
            }));
        });
        table.application_policies.for_each(|_, row| {
            add(Row::Policy(PolicyKind::Application, TierPolicy::clone(row)));
        });
        table.clients.for_each(|key, row| {
            let keys = ["ck0", "ck1", "ck2"];
            let consumer_key = keys.iter().find(|text| table.digest(text) == key.digest);
            add(client(
                consumer_key.unwrap(),
                match key.key_manager {
                    At::Named(name) => table.names.text(name),
                    At::Unnamed | At::Everywhere => "",
                },
                row.application,
                row.key_type,
            ));
        });
        state
    }

    /// Something that arrives at the gateway.
    enum Arrival {
        Change(Change),
        /// The list of a kind, asked for at this time.
        List(RowKind, Millis),
    }

    fn arrive(origin: &mut Origin, table: &Table, arrivals: &mut Vec<Arrival>) {
        while let Some(arrival) = arrivals.pop() {
            let (kind, asked) = match arrival {
                Arrival::Change(change) => {
                    table.apply(change);
                    continue;
                }
                Arrival::List(kind, asked) => (kind, asked),
            };
            // As HTTP's `Date`: whole seconds.
            let at = asked / 1000 * 1000;
            let Some(mut load) = table.begin(kind, at) else {
                continue;
            };
            let mut rows = origin.rows(kind, asked);
            origin.random.shuffle(&mut rows);
            for row in rows {
                load.put(row);
                // Changes come in between.
                while origin.random.bool()
                    && let Some(Arrival::Change(_)) = arrivals.last()
                {
                    let Some(Arrival::Change(change)) = arrivals.pop() else {
                        break;
                    };
                    table.apply(change);
                }
            }
            if origin.random.u8(0..10) != 0 {
                load.finish();
            }
        }
    }

    /// Fixed seeds.
    #[test]
    fn any_order_of_lists_and_changes_ends_in_the_state_of_the_source() {
        for seed in 0..500 {
            let mut origin = Origin::new(seed);
            let table = table();
            let (first, end) = (9_000, origin.end());
            let mut arrivals: Vec<Arrival> = origin
                .changes
                .iter()
                .cloned()
                .map(Arrival::Change)
                .collect();
            for kind in RowKind::ALL {
                for _ in 0..origin.random.usize(0..4) {
                    let asked = origin.random.u64(first..end + 3000);
                    arrivals.push(Arrival::List(kind, asked));
                }
            }
            origin.random.shuffle(&mut arrivals);
            arrive(&mut origin, &table, &mut arrivals);
            assert_eq!(state(&table), origin.state(), "seed {seed}");
        }
    }

    /// Fixed seeds.
    #[test]
    fn what_got_lost_is_made_good_by_the_next_list() {
        for seed in 0..500 {
            let mut origin = Origin::new(seed);
            let table = table();
            let mut changes = origin.changes.clone();
            origin.random.shuffle(&mut changes);
            let lost = origin.random.usize(0..=changes.len());
            let mut arrivals: Vec<Arrival> = changes[lost..]
                .iter()
                .cloned()
                .map(Arrival::Change)
                .collect();
            arrive(&mut origin, &table, &mut arrivals);
            let end = origin.end() + 1000;
            for kind in RowKind::ALL {
                let rows = origin.rows(kind, end);
                assert!(table.load(kind, rows, end / 1000 * 1000).is_some());
            }
            assert_eq!(state(&table), origin.state(), "seed {seed}");
        }
    }
}
