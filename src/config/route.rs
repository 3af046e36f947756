//! `[[route]]`: which requests, what they need, where they go.

use std::time::Duration;

use http::HeaderName;

use super::{
    problem::Place,
    section::{Placed, Section},
    settings::UpstreamSettings,
    tree::Value,
    upstream::{self, Upstreams},
};
use crate::domain::{
    Access, HostPattern, Methods, PathPattern, Policy, Route, RouteTable, ScopeRule,
};

/// What metrics call requests that no route matched.
pub const NO_ROUTE: &str = "_none";

/// Headers that the gateway itself, or the connection, owns.
const RESERVED_HEADERS: [&str; 14] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Routes and the upstreams they name.
pub struct Routes {
    pub table: RouteTable,
    pub upstreams: Vec<UpstreamSettings>,
    /// The first route that asks for a token, with its place.
    pub first_protected: Option<(String, Place)>,
}

/// Reads all routes; `None` when there is no telling them apart.
pub fn read(root: &mut Section<'_>, clock_skew: Duration) -> Option<Routes> {
    let mut upstreams = Upstreams::default();
    let mut routes: Vec<Route> = Vec::new();
    let mut places: Vec<Placed<String>> = Vec::new();
    let mut complete = true;
    for mut section in root.sections("route") {
        match route(&mut section, clock_skew, &mut upstreams) {
            Some(route) => {
                let twin = routes.iter().position(|other| other.name == route.name);
                if let Some(twin) = twin {
                    section.error(
                        &section.place,
                        format!("two routes have the name {:?}", &*route.name),
                        format!(
                            "the other one is {}; give one of them a `name`",
                            places[twin].value
                        ),
                    );
                }
                routes.push(route);
                places.push(Placed {
                    value: section.label.clone(),
                    place: section.place.clone(),
                });
            }
            None => complete = false,
        }
        section.finish();
    }
    let first_protected = routes
        .iter()
        .position(|route| matches!(route.access, Access::Token(_)))
        .map(|position| {
            (
                routes[position].name.to_string(),
                places[position].place.clone(),
            )
        });
    match RouteTable::new(routes) {
        Ok(table) if complete => Some(Routes {
            table,
            upstreams: upstreams.into_list(),
            first_protected,
        }),
        Ok(_) => None,
        Err(conflicts) => {
            for conflict in conflicts {
                let (first, second) = (&places[conflict.first], &places[conflict.second]);
                root.error(
                    &second.place,
                    format!(
                        "{} matches the same requests as {}",
                        second.value, first.value
                    ),
                    "tell them apart by `host`, `path` or `methods`",
                );
            }
            None
        }
    }
}

fn route(
    section: &mut Section<'_>,
    clock_skew: Duration,
    upstreams: &mut Upstreams,
) -> Option<Route> {
    let name = section.text("name");
    let host = parsed(section, "host", HostPattern::parse);
    let path = section.text("path");
    if let Some(text) = name.as_ref().or(path.as_ref()) {
        section.label = format!("{} ({:?})", section.label, text.value);
    }
    let path = match path {
        Some(text) => checked(section, text, PathPattern::parse),
        None => {
            section.missing("path", "for everything: path = \"/*\"");
            None
        }
    };
    let methods = methods(section);
    let upstream = upstream::read(section, upstreams);
    let access = access(section, clock_skew);
    let forward_token = section
        .boolean("forward_token")
        .is_some_and(|value| value.value);
    let identity_headers = identity_headers(section);
    let (path, host, methods) = (path?, host?, methods?);
    if let Some(name) = name.as_ref().filter(|name| name.value == NO_ROUTE) {
        section.error(
            &name.place,
            "this name stands for requests without a route",
            "",
        );
    }
    let name = name.map_or_else(
        || default_name(host.as_ref(), methods, &path),
        |name| name.value,
    );
    Some(Route {
        name: name.into(),
        host,
        path,
        methods,
        access: access?,
        upstream: upstream?,
        identity_headers,
        forward_token,
    })
}

/// `GET api.example.com/orders/*`, with only those parts that the route has.
fn default_name(host: Option<&HostPattern>, methods: Methods, path: &PathPattern) -> String {
    let host = host.map(ToString::to_string).unwrap_or_default();
    match methods {
        Methods::ANY => format!("{host}{path}"),
        methods => format!("{} {host}{path}", methods.to_string().replace(", ", ",")),
    }
}

/// `Some(None)` when the key is not there, `None` when its value is wrong.
#[allow(clippy::option_option)]
fn parsed<T>(
    section: &mut Section<'_>,
    key: &'static str,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Option<Option<T>> {
    match section.text(key) {
        Some(text) => checked(section, text, parse).map(Some),
        None => Some(None),
    }
}

fn checked<T>(
    section: &Section<'_>,
    text: Placed<String>,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Option<T> {
    parse(&text.value)
        .map_err(|fault| section.error(&text.place, fault, ""))
        .ok()
}

fn methods(section: &mut Section<'_>) -> Option<Methods> {
    let Some(list) = section.texts("methods") else {
        return Some(Methods::ANY);
    };
    let names: Vec<&str> = list.value.iter().map(|name| name.value.as_str()).collect();
    if names.is_empty() {
        section.error(
            &list.place,
            "`methods` is empty",
            "leave it out to allow all",
        );
        return None;
    }
    match Methods::parse(&names) {
        Ok(methods) => Some(methods),
        Err(unknown) => {
            let place = list.value.iter().find(|name| name.value == unknown);
            let place = place.map_or(&list.place, |name| &name.place);
            let what = format!("{unknown:?} is not a method that a route can have");
            section.error(
                place,
                what,
                "one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, in capitals",
            );
            None
        }
    }
}

fn access(section: &mut Section<'_>, clock_skew: Duration) -> Option<Access> {
    let public = section.boolean("public");
    let scopes = scopes(section);
    let audience = names(section, "audience");
    let issuer = names(section, "issuer");
    let policy = Policy {
        scopes: scopes?,
        audience: audience?,
        issuer: issuer?,
        clock_skew,
    };
    match public {
        Some(public) if public.value => {
            let asks_nothing = Policy {
                clock_skew,
                ..Policy::default()
            };
            if policy != asks_nothing {
                section.error(
                    &public.place,
                    "a public route asks for no token, so it cannot ask what is in it",
                    "leave out `public`, or `scopes`, `audience` and `issuer`",
                );
            }
            Some(Access::Public)
        }
        _ => Some(Access::Token(policy)),
    }
}

/// `["a", "b"]` and `{ all = [...] }`: all of them; `{ any = [...] }`: one of them.
fn scopes(section: &mut Section<'_>) -> Option<ScopeRule> {
    let Some(entry) = section.take("scopes") else {
        return Some(ScopeRule::None);
    };
    let Value::Table(table) = entry.node.value else {
        let list = section.texts_of("scopes", entry.node)?;
        return Some(ScopeRule::All(scope_names(section, list)?));
    };
    let mut inner = section.below(table, "scopes", &entry.key_place);
    let rule = match (inner.texts("any"), inner.texts("all")) {
        (Some(list), None) => scope_names(&inner, list).map(ScopeRule::Any),
        (None, Some(list)) => scope_names(&inner, list).map(ScopeRule::All),
        _ => {
            inner.error(
                &entry.key_place,
                "`scopes` is a list, or has one of `any` and `all`",
                "for instance scopes = { any = [\"a\", \"b\"] }",
            );
            None
        }
    };
    inner.finish();
    rule
}

/// Scope names of RFC 6749 §3.3: visible ASCII without `"`, `\` and spaces.
fn scope_names(
    section: &Section<'_>,
    list: Placed<Vec<Placed<String>>>,
) -> Option<Box<[Box<str>]>> {
    if list.value.is_empty() {
        section.error(
            &list.place,
            "no scope is named",
            "leave `scopes` out to ask for none",
        );
        return None;
    }
    let legal = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    let mut names = Vec::new();
    for Placed { value, place } in list.value {
        if value.is_empty() || !value.bytes().all(legal) {
            section.error(
                &place,
                "this is not a scope",
                "one name for each element, without spaces and quotes",
            );
            return None;
        }
        names.push(value.into());
    }
    Some(names.into())
}

fn names(section: &mut Section<'_>, key: &'static str) -> Option<Box<[Box<str>]>> {
    let Some(list) = section.texts(key) else {
        return Some(Box::default());
    };
    if list.value.is_empty() || list.value.iter().any(|name| name.value.is_empty()) {
        let what = format!("`{key}` is empty");
        section.error(&list.place, what, "leave it out to accept any");
        return None;
    }
    Some(
        list.value
            .into_iter()
            .map(|name| name.value.into())
            .collect(),
    )
}

fn identity_headers(section: &mut Section<'_>) -> Box<[(HeaderName, Box<str>)]> {
    let mut headers = Vec::new();
    for entry in section.section("identity_headers").into_entries() {
        let name = entry.key.parse::<HeaderName>().ok();
        // With `_` many servers read the same name as with `-`, so that one could be passed off for
        // the other.
        let usable = name.filter(|name| {
            !RESERVED_HEADERS.contains(&name.as_str()) && !name.as_str().contains('_')
        });
        let Some(name) = usable else {
            let what = format!("`{}` cannot be an identity header", entry.key);
            section.error(
                &entry.key_place,
                what,
                "for instance \"X-Auth-Subject\" = \"sub\"",
            );
            continue;
        };
        match entry.node.value {
            Value::Text(claim) | Value::Loose(claim) if !claim.is_empty() => {
                headers.push((name, claim.into()));
            }
            _ => section.error(
                &entry.node.place,
                "name the claim that goes into this header",
                "for instance \"sub\", \"client_id\" or \"username\"",
            ),
        }
    }
    headers.into()
}
