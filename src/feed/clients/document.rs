//! A list of clients with the APIs that they may call, in TOML or JSON.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::{
    domain::{
        Api, Application, KeyMapping, KeyType, Millis, Row, RowKind, Subscription,
        SubscriptionState,
    },
    metrics::ClientFault,
    subscription::Table,
};

/// The tier of whoever has none: the one of WSO2 that has no limit.
const UNLIMITED: &str = "Unlimited";

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Toml,
    Json,
}

/// Clients, and what was wrong with others.
#[derive(Debug, Default)]
pub struct Document {
    clients: Vec<Client>,
    pub skipped: Vec<ClientFault>,
}

/// Why a list cannot be used at all. Repeats nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Line and column, where they are known.
    Syntax(Option<(usize, usize)>),
    /// There is no list `client` in it.
    NoList,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(Some((line, column))) => {
                write!(f, "it cannot be read from line {line}, column {column} on")
            }
            Self::Syntax(None) => f.write_str("it is neither TOML nor JSON, whichever is wanted"),
            Self::NoList => f.write_str("it has no list `client`"),
        }
    }
}

/// One `[[client]]`.
#[derive(Debug)]
struct Client {
    client_id: Box<str>,
    key_manager: Box<str>,
    application: Box<str>,
    application_tier: Arc<str>,
    key_type: KeyType,
    apis: Vec<Use>,
}

/// One of its `apis`.
#[derive(Debug)]
struct Use {
    name: Box<str>,
    version: Box<str>,
    tier: Box<str>,
    state: SubscriptionState,
}

impl Document {
    /// Reads a list. Clients that cannot be understood are left out.
    ///
    /// # Errors
    /// [`Unreadable`]: there is no list.
    pub fn parse(bytes: &[u8], form: Form) -> Result<Self, Unreadable> {
        let Body(document) = match form {
            Form::Json => serde_json::from_slice(bytes).map_err(|fault| {
                let place = (fault.line() > 0).then(|| (fault.line(), fault.column()));
                Unreadable::Syntax(place)
            })?,
            Form::Toml => toml::from_slice(bytes).map_err(|fault| {
                let place = fault.span().map(|span| line_and_column(bytes, span.start));
                Unreadable::Syntax(place)
            })?,
        };
        document.ok_or(Unreadable::NoList)
    }

    /// Clients that can be used.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Names and versions of the APIs that are in it.
    pub fn apis(&self) -> impl Iterator<Item = (&str, &str)> {
        let apis = self.clients.iter().flat_map(|client| &client.apis);
        apis.map(|api| (&*api.name, &*api.version))
    }
}

fn line_and_column(bytes: &[u8], position: usize) -> (usize, usize) {
    let before = &bytes[..position.min(bytes.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count();
    let start = before.iter().rposition(|byte| *byte == b'\n');
    (
        line + 1,
        before.len() - start.map_or(0, |start| start + 1) + 1,
    )
}

/// Numbers for the names of a source that has none. A name keeps its number from one list to the next,
/// so that a client never has the subscriptions of another one while a new list is on its way in.
#[derive(Default)]
pub struct Register {
    clients: Numbers,
    apis: Numbers,
    last: Millis,
}

#[derive(Default)]
struct Numbers {
    known: HashMap<(Box<str>, Box<str>), u32>,
    next: u32,
}

impl Numbers {
    fn number(&mut self, one: &str, two: &str) -> u32 {
        let next = &mut self.next;
        *self
            .known
            .entry((one.into(), two.into()))
            .or_insert_with(|| {
                *next = next.wrapping_add(1);
                *next
            })
    }

    /// Forgets the names of those that are not `used`.
    fn retain(&mut self, used: &HashSet<u32>) {
        self.known.retain(|_, number| used.contains(number));
    }
}

impl Register {
    /// Puts a list into the table, in the place of the one before. A client's own row comes last.
    pub fn load(&mut self, document: Document, table: &Table) {
        let at = self.next_time();
        let (mut applications, mut keys) = (Vec::new(), Vec::new());
        let (mut apis, mut subscriptions) = (HashMap::new(), Vec::new());
        for client in document.clients {
            let application = self.clients.number(&client.client_id, &client.key_manager);
            for used in client.apis {
                let api = self.apis.number(&used.name, &used.version);
                apis.entry(api).or_insert_with(|| Api {
                    id: api,
                    name: used.name,
                    version: used.version,
                    context: Box::default(),
                    provider: Box::default(),
                    policy: None,
                });
                subscriptions.push(Row::Subscription(Subscription {
                    application,
                    api,
                    policy: used.tier,
                    state: used.state,
                }));
            }
            applications.push(Row::Application(Application {
                id: application,
                uuid: None,
                name: client.application,
                owner: "".into(),
                policy: client.application_tier,
            }));
            keys.push(Row::KeyMapping(KeyMapping {
                consumer_key: client.client_id,
                key_manager: client.key_manager,
                application,
                key_type: client.key_type,
            }));
        }
        let used_apis: HashSet<u32> = apis.keys().copied().collect();
        let used_clients = applications.iter().filter_map(|row| match row {
            Row::Application(row) => Some(row.id),
            _ => None,
        });
        let used_clients: HashSet<u32> = used_clients.collect();
        let apis = apis.into_values().map(Row::Api).collect();
        for (kind, rows) in [
            (RowKind::Applications, applications),
            (RowKind::Apis, apis),
            (RowKind::Subscriptions, subscriptions),
            (RowKind::KeyMappings, keys),
        ] {
            // Times only grow, so it is never older than one before.
            table.load(kind, rows, at);
        }
        self.clients.retain(&used_clients);
        self.apis.retain(&used_apis);
    }

    fn next_time(&mut self) -> Millis {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        self.last = now.max(self.last + 1);
        self.last
    }
}

/// The whole text; `None` without a list.
struct Body(Option<Document>);

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(BodyVisitor)
    }
}

struct BodyVisitor;

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table with a list `client`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Body, A::Error> {
        let mut document = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != "client" {
                map.next_value::<de::IgnoredAny>()?;
                continue;
            }
            if document.is_some() {
                return Err(de::Error::duplicate_field("client"));
            }
            document = Some(map.next_value_seed(Clients)?);
        }
        Ok(Body(document))
    }
}

/// Takes the list one by one.
struct Clients;

impl<'de> DeserializeSeed<'de> for Clients {
    type Value = Document;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Document, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Clients {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of clients")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Document, A::Error> {
        let mut document = Document::default();
        let mut known = HashSet::new();
        while let Some(value) = list.next_element::<Value>()? {
            let client = match value {
                Value::Object(fields) => client(fields),
                _ => Err(ClientFault::Form),
            };
            let client = client.and_then(|client| {
                let name = (client.client_id.clone(), client.key_manager.clone());
                known
                    .insert(name)
                    .then_some(client)
                    .ok_or(ClientFault::Twice)
            });
            match client {
                Ok(client) => document.clients.push(client),
                Err(fault) => document.skipped.push(fault),
            }
        }
        Ok(document)
    }
}

fn client(mut fields: Map<String, Value>) -> Result<Client, ClientFault> {
    let client_id = text(&mut fields, "client_id")?.ok_or(ClientFault::Missing)?;
    let application = text(&mut fields, "application")?;
    let key_type = match text(&mut fields, "key_type")? {
        None => KeyType::Production,
        Some(word) => KeyType::parse(&word).ok_or(ClientFault::UnknownWord)?,
    };
    let tier = text(&mut fields, "tier")?;
    let state = text(&mut fields, "state")?;
    let key_manager = text(&mut fields, "key_manager")?.unwrap_or_default();
    let application_tier = text(&mut fields, "application_tier")?;
    let apis = match fields.remove("apis") {
        None => return Err(ClientFault::Missing),
        Some(Value::Array(apis)) => apis,
        Some(_) => return Err(ClientFault::WrongType),
    };
    nothing_else(&fields)?;
    let apis = apis.into_iter().map(|api| match api {
        Value::Object(fields) => api_use(fields, tier.as_deref(), state.as_deref()),
        _ => Err(ClientFault::WrongType),
    });
    Ok(Client {
        application: application.unwrap_or_else(|| client_id.clone()),
        application_tier: application_tier.as_deref().unwrap_or(UNLIMITED).into(),
        key_manager,
        key_type,
        apis: apis.collect::<Result<_, _>>()?,
        client_id,
    })
}

fn api_use(
    mut fields: Map<String, Value>,
    tier: Option<&str>,
    state: Option<&str>,
) -> Result<Use, ClientFault> {
    let name = text(&mut fields, "name")?.ok_or(ClientFault::Missing)?;
    let version = text(&mut fields, "version")?.ok_or(ClientFault::Missing)?;
    let own_tier = text(&mut fields, "tier")?;
    let own_state = text(&mut fields, "state")?;
    nothing_else(&fields)?;
    let of_client = state.map_or(SubscriptionState::Unblocked, SubscriptionState::parse);
    let own_state = own_state.map_or(SubscriptionState::Unblocked, |word| {
        SubscriptionState::parse(&word)
    });
    Ok(Use {
        name,
        version,
        tier: own_tier.as_deref().or(tier).unwrap_or(UNLIMITED).into(),
        // What is said of the client is not undone for one API.
        state: own_state.max(of_client),
    })
}

/// A text that is not empty.
fn text(fields: &mut Map<String, Value>, key: &str) -> Result<Option<Box<str>>, ClientFault> {
    match fields.remove(key) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.into())),
        Some(Value::String(_)) => Err(ClientFault::Missing),
        Some(_) => Err(ClientFault::WrongType),
    }
}

fn nothing_else(fields: &Map<String, Value>) -> Result<(), ClientFault> {
    match fields.is_empty() {
        true => Ok(()),
        false => Err(ClientFault::UnknownKey),
    }
}
