//! An operation as the table of a route.

use std::{collections::HashSet, rc::Rc};

use super::{
    Access, ApiSettings, Document, Entry, Given, Node, Place, Read, Section, Table, Value,
    entry::{entry, list, table, text, texts},
    upstreams::Upstreams,
};
use crate::openapi::{Endpoints, Operation, base, base_pattern};

/// Keys that a route without token cannot have.
const OF_TOKENS: [&str; 6] = [
    "audience",
    "end_with_token",
    "forward_token",
    "issuer",
    "key_manager",
    "validate_subscriptions",
];

/// Keys that say where requests go.
const DESTINATIONS: [&str; 2] = ["upstream", "sandbox_upstream"];

/// Makes routes of the operations of one API.
pub struct Reader<'a> {
    section: &'a Section<'a>,
    given: &'a Given,
    read: &'a Read,
    document: &'a Document,
    file: String,
    /// What the names of its routes begin with.
    name: String,
    /// Where callers find it, as a pattern; empty for the root.
    base: String,
    names: HashSet<String>,
}

impl<'a> Reader<'a> {
    pub fn new(section: &'a Section<'a>, given: &'a Given, read: &'a Read, file: String) -> Self {
        let document = &*read.document;
        let name = match &given.name {
            Some(name) => name.value.clone(),
            None => plain(&document.title),
        };
        let base = match (&given.base_path, &document.context) {
            (Some(path), _) => (base(&path.value), path.place.clone()),
            (None, Some(path)) => (path.value.clone(), read.place(&path.at)),
            (None, None) => (document.server.path.clone(), read.place(&document.at)),
        };
        Self {
            base: told_pattern(section, &base.0, &base.1),
            section,
            given,
            read,
            document,
            file,
            name,
            names: HashSet::new(),
        }
    }

    /// Adds routes and upstreams to `root`.
    pub fn read(mut self, root: &mut Table) -> ApiSettings {
        let mut upstreams = Upstreams::new(&self.name, self.read, self.section);
        let mut routes = Vec::with_capacity(self.document.operations.len());
        let mut public = 0;
        for operation in &self.document.operations {
            let access = match (self.given.public, &operation.access) {
                (Some(true), _) => &Access::Public,
                (Some(false), Access::Public) => &Access::ANY_TOKEN,
                (_, access) => access,
            };
            public += usize::from(*access == Access::Public);
            let Some(forward) = self.forward(operation, &mut upstreams) else {
                break;
            };
            let place = self.read.place(&operation.at);
            let entries = self.entries(operation, access, forward, &place);
            routes.push(Node {
                value: Value::Table(Table { entries }),
                place,
            });
        }
        if self.document.operations.is_empty() {
            let place = self.read.place(&self.document.at);
            self.section.warn(
                &place,
                "the document has no operation that can be served",
                "",
            );
        }
        self.warn_of_scopes();
        let operations = routes.len();
        upstreams.put(root);
        put_routes(root, routes, &self.given.place);
        ApiSettings {
            name: self.name,
            file: self.file,
            title: self.document.title.clone(),
            version: self.document.version.clone(),
            base_path: self.base,
            operations,
            public,
        }
    }

    fn entries(
        &mut self,
        operation: &Operation,
        access: &Access,
        forward: Forward,
        place: &Place,
    ) -> Vec<Entry> {
        let path = format!("{}{}", self.base, operation.path);
        let sent = format!("{}{}", forward.base, operation.path);
        let mut entries = vec![
            text("name", self.route_name(operation), place),
            texts("methods", [&operation.method.to_owned()], place),
        ];
        entries.extend(forward.upstreams);
        if path != sent {
            entries.push(text("rewrite", sent, place));
        }
        entries.push(text("path", path, place));
        let is_public = *access == Access::Public;
        match access {
            Access::Public => entries.push(entry("public", Value::Boolean(true), place)),
            Access::Token(sets) => entries.extend(self.scopes(sets, place)),
        }
        for given in &self.given.for_all {
            let is_for_tokens = OF_TOKENS.contains(&&*given.key);
            if !(is_public && is_for_tokens || DESTINATIONS.contains(&&*given.key)) {
                entries.push(given.clone());
            }
        }
        self.add_of_document(operation, is_public, place, &mut entries);
        entries
    }

    /// What the document says of all its operations, where `[[api]]` does not.
    fn add_of_document(
        &self,
        operation: &Operation,
        is_public: bool,
        place: &Place,
        entries: &mut Vec<Entry>,
    ) {
        let is_given = |key: &str| self.given.of_all(key).is_some();
        for (key, tier) in [("api_tier", &self.document.tier), ("tier", &operation.tier)] {
            if let Some(tier) = tier.as_ref().filter(|_| !is_given(key)) {
                entries.push(text(key, &tier.value, &self.read.place(&tier.at)));
            }
        }
        if let Some(cors) = self.document.cors.as_ref().filter(|_| !is_given("cors")) {
            let place = self.read.place(&cors.at);
            let pages = &cors.value;
            let mut inner = vec![texts("origins", &pages.origins, &place)];
            for (key, names) in [
                ("headers", &pages.headers),
                ("expose_headers", &pages.expose_headers),
            ] {
                if !names.is_empty() {
                    inner.push(texts(key, names, &place));
                }
            }
            if pages.credentials {
                inner.push(entry("credentials", Value::Boolean(true), &place));
            }
            entries.push(table("cors", inner, &place));
        }
        let cache = self.document.cache_seconds.as_ref();
        if let Some(seconds) =
            cache.filter(|_| operation.method == "GET" && !is_given("response_cache"))
        {
            let place = self.read.place(&seconds.at);
            let mut inner = vec![text("default_ttl", format!("{}s", seconds.value), &place)];
            if !is_public {
                inner.push(text("scope", "per_client", &place));
            }
            entries.push(table("response_cache", inner, &place));
        }
        if let Some(header) = self
            .document
            .token_header
            .as_ref()
            .filter(|_| !is_given("token_header"))
        {
            let place = self.read.place(&header.at);
            entries.push(text("token_header", &header.value, &place));
        }
        if !is_given("api") && !self.document.version.is_empty() {
            entries.push(self.identity(place));
        }
    }

    /// Which API it is, for subscriptions.
    fn identity(&self, place: &Place) -> Entry {
        let mut inner = vec![
            text("name", &self.document.title, place),
            text("version", &self.document.version, place),
        ];
        if !self.base.is_empty() && !self.base.contains('{') {
            inner.push(text("context", &self.base, place));
        }
        table("api", inner, place)
    }

    fn scopes(&self, sets: &[Vec<String>], place: &Place) -> Option<Entry> {
        if self.given.any_scope || (sets.len() > 1 && sets.iter().all(|set| set.len() == 1)) {
            let mut names: Vec<&String> = Vec::new();
            for name in sets.iter().flatten() {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            if !names.is_empty() {
                return Some(table("scopes", vec![texts("any", names, place)], place));
            }
        }
        match sets {
            [] => self.given.scopes.clone(),
            [set] => Some(texts("scopes", set, place)),
            sets => {
                let set = |set: &Vec<String>| Node {
                    value: list(set, place),
                    place: place.clone(),
                };
                let sets = Value::Array(sets.iter().map(set).collect());
                Some(table("scopes", vec![entry("any", sets, place)], place))
            }
        }
    }

    /// The original takes any one scope of all that an operation names.
    fn warn_of_scopes(&self) {
        let several = |operation: &&Operation| match &operation.access {
            Access::Token(sets) => sets.iter().any(|set| set.len() > 1),
            Access::Public => false,
        };
        let is_read_otherwise = self.document.is_wso2 && !self.given.any_scope;
        if let Some(operation) = self
            .document
            .operations
            .iter()
            .find(several)
            .filter(|_| is_read_otherwise)
        {
            self.section.warn(
                &self.read.place(&operation.at),
                "callers need all scopes of a requirement, as OpenAPI says; WSO2 API Microgateway takes any one of them",
                "for the latter: any_scope = true in [[api]]",
            );
        }
    }

    /// `orders.getOrder`, or `orders GET /orders/{id}`.
    fn route_name(&mut self, operation: &Operation) -> String {
        let by_id = operation
            .id
            .as_ref()
            .map(|id| format!("{}.{}", self.name, id.trim()));
        if let Some(name) = by_id
            && self.names.insert(name.clone())
        {
            return name;
        }
        format!("{} {} {}", self.name, operation.method, operation.path)
    }

    /// Where an operation's requests go; `None`, once told, when nobody says.
    fn forward(&self, operation: &Operation, upstreams: &mut Upstreams<'_>) -> Option<Forward> {
        let document = self.document;
        let production = operation
            .production
            .as_ref()
            .or(document.production.as_ref());
        let sandbox = operation.sandbox.as_ref().or(document.sandbox.as_ref());
        let given: Vec<Entry> = DESTINATIONS
            .iter()
            .filter_map(|key| self.given.of_all(key).cloned())
            .collect();
        let (list, base) = if self.given.of_all("upstream").is_some() {
            (
                given,
                document
                    .production
                    .as_ref()
                    .map_or(&*document.server.path, |all| path_of(all)),
            )
        } else if production.is_some() || sandbox.is_some() {
            let mut list = given;
            if let Some(endpoints) = production {
                list.push(upstreams.of_endpoints("upstream", endpoints));
            }
            if let Some(endpoints) =
                sandbox.filter(|_| self.given.of_all("sandbox_upstream").is_none())
            {
                self.check_paths(production, endpoints);
                list.push(upstreams.of_endpoints("sandbox_upstream", endpoints));
            }
            (
                list,
                production
                    .or(sandbox)
                    .map_or("", |endpoints| path_of(endpoints)),
            )
        } else if let Some(origin) = &document.server.origin {
            let mut list = given;
            list.push(text(
                "upstream",
                &origin.value,
                &self.read.place(&origin.at),
            ));
            (list, &*document.server.path)
        } else {
            let hint = "say so in [[api]], for instance upstream = \"http://127.0.0.1:9000\"";
            let what = "the document does not say where the API is";
            self.section.error(&self.section.place, what, hint);
            return None;
        };
        Some(Forward {
            upstreams: list,
            base: match &self.given.upstream_path {
                Some(path) => told_pattern(self.section, &self::base(&path.value), &path.place),
                None => base_pattern(base).unwrap_or_default(),
            },
        })
    }

    /// A request is rewritten in one way, whoever calls.
    fn check_paths(&self, production: Option<&Rc<Endpoints>>, sandbox: &Endpoints) {
        let differ = production.is_some_and(|production| path_of(production) != path_of(sandbox));
        if differ && self.given.upstream_path.is_none() {
            self.section.error(
                &self.read.place(&sandbox.servers[0].at),
                "the sandbox endpoint has another path than the production endpoint",
                "both get the same path: say which by `upstream_path`",
            );
        }
    }
}

fn path_of(endpoints: &Endpoints) -> &str {
    endpoints
        .servers
        .first()
        .map_or("", |server| &server.value.path)
}

struct Forward {
    /// `upstream`, `sandbox_upstream` or both.
    upstreams: Vec<Entry>,
    /// The path that stands there before the operation's own.
    base: String,
}

fn told_pattern(section: &Section<'_>, base: &str, place: &Place) -> String {
    base_pattern(base).unwrap_or_else(|fault| {
        section.error(
            place,
            format!("{base:?} cannot be a base path: {fault}"),
            "",
        );
        String::new()
    })
}

/// A title as a name: letters and digits in lower case, with `-` for all else.
fn plain(title: &str) -> String {
    let mut name = String::new();
    for letter in title.chars() {
        match letter.is_alphanumeric() {
            true => name.extend(letter.to_lowercase()),
            false if name.ends_with('-') || name.is_empty() => {}
            false => name.push('-'),
        }
    }
    let name = name.trim_end_matches('-');
    match name.is_empty() {
        true => "api".to_owned(),
        false => name.to_owned(),
    }
}

fn put_routes(root: &mut Table, routes: Vec<Node>, place: &Place) {
    let there = root.entries.iter_mut().find(|entry| entry.key == "route");
    match there.map(|entry| &mut entry.node.value) {
        Some(Value::Array(all)) => all.extend(routes),
        // It has the wrong type, which is told when it is read.
        Some(_) => {}
        None => root
            .entries
            .push(entry("route", Value::Array(routes), place)),
    }
}
