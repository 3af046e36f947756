//! `[[route]]`: which requests, what they need, where they go.

mod access;
mod action;
mod api;
mod compression;
mod cors;
mod identity;
mod matching;
mod tiers;

use std::{collections::HashMap, time::Duration};

use http::{HeaderName, header};

use super::{
    ResponseCacheSettings,
    headers::{self, Headers},
    key_managers::KeyManagers,
    limits::Rates,
    problem::Place,
    response_cache,
    section::{Placed, Section},
    upstream::{UpstreamSettings, Upstreams},
};
use crate::domain::{
    Access, Action, Destination, HostPattern, Methods, PathPattern, Route, RouteConflict,
    RouteTable, SizeLimits, Validation, Way, is_untouchable,
};
use access::access;
use action::action;
use api::{api, validation};
use compression::compression;
use cors::cors;
use identity::identity_headers;
use matching::{checked, hosts, match_headers, methods};
use tiers::tiers;

/// What metrics call requests that no route matched.
pub const NO_ROUTE: &str = "_none";

/// Routes and the upstreams they name.
pub struct Routes {
    pub table: RouteTable,
    pub upstreams: Vec<UpstreamSettings>,
    /// The first route that asks for a token, of whichever key manager, with its place.
    pub first_protected: Option<(String, Place)>,
    /// The first route that asks for a subscription, with its place.
    pub first_validated: Option<(String, Place)>,
}

/// What other sections say for all routes.
pub struct Common<'a> {
    pub clock_skew: Duration,
    /// Where the token stands, where a route does not say; `None`: in `Authorization`.
    pub token_header: Option<HeaderName>,
    pub response_cache: ResponseCacheSettings,
    pub rates: &'a Rates,
    pub sizes: &'a SizeLimits,
    /// Who must have subscribed to the API, where a route does not say.
    pub validation: Validation,
}

/// Reads all routes; `None` when there is no telling them apart.
pub fn read(
    root: &mut Section<'_>,
    common: &Common<'_>,
    mut upstreams: Upstreams,
    key_managers: &mut KeyManagers,
) -> Option<Routes> {
    let mut routes: Vec<Route> = Vec::new();
    let mut names = HashMap::new();
    let mut twins = Vec::new();
    let mut places: Vec<Placed<String>> = Vec::new();
    let mut complete = true;
    let mut headers = headers::read(root);
    for mut section in root.sections("route") {
        match route(
            &mut section,
            common,
            &mut upstreams,
            key_managers,
            &mut headers,
        ) {
            Some(route) => {
                let second = routes.len();
                if let Some(first) = names.insert(route.name.clone(), second) {
                    twins.push(RouteConflict { first, second });
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
    headers.check_identity(root, |name| {
        let mut identity = routes.iter().flat_map(|route| &route.identity_headers);
        identity.any(|(other, _)| other == name)
    });
    let first = |wanted: fn(&Route) -> bool| {
        let position = routes.iter().position(wanted)?;
        let name = routes[position].name.to_string();
        Some((name, places[position].place.clone()))
    };
    let first_protected =
        first(|route| matches!(route.access, Access::Token(_)) && route.key_manager.is_none());
    let first_validated = first(|route| route.validation.is_ever_wanted());
    let table = table(root, routes, &places, twins);
    Some(Routes {
        table: table.filter(|_| complete)?,
        upstreams: upstreams.into_list(root),
        first_protected,
        first_validated,
    })
}

/// `None`: some of them tie. `twins` are those with the same name.
fn table(
    root: &Section<'_>,
    routes: Vec<Route>,
    places: &[Placed<String>],
    mut twins: Vec<RouteConflict>,
) -> Option<RouteTable> {
    let (table, ties) = match RouteTable::new(routes) {
        Ok(table) => (Some(table), Vec::new()),
        Err(ties) => (None, ties),
    };
    // Those that tie have the same name by default.
    twins.retain(|twin| !ties.contains(twin));
    tell(
        root,
        places,
        &ties,
        "matches the same requests as",
        "tell them apart by `host`, `path`, `methods` or `match_headers`",
    );
    tell(
        root,
        places,
        &twins,
        "has the same name as",
        "give one of them another `name`",
    );
    table
}

/// Says of pairs of routes what the second does to the first.
fn tell(
    root: &Section<'_>,
    places: &[Placed<String>],
    pairs: &[RouteConflict],
    what: &str,
    hint: &str,
) {
    for pair in pairs {
        let (first, second) = (&places[pair.first], &places[pair.second]);
        root.error(
            &second.place.beside(&first.place),
            format!("{} {what} {}", second.value, first.value),
            hint,
        );
    }
}

fn route(
    section: &mut Section<'_>,
    common: &Common<'_>,
    upstreams: &mut Upstreams,
    key_managers: &mut KeyManagers,
    headers: &mut Headers,
) -> Option<Route> {
    let name = section.text("name");
    let hosts = hosts(section);
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
    let match_headers = match_headers(section);
    let action = action(section, path.as_ref(), upstreams);
    let access = access(section, common.clock_skew);
    let key_manager = key_manager(section, access.as_ref(), key_managers);
    let backend_jwt = section
        .boolean("backend_jwt")
        .is_none_or(|value| value.value);
    let forward_token = section
        .boolean("forward_token")
        .is_some_and(|value| value.value);
    let token_header = token_header(section, "token_header", common.token_header.as_ref());
    let identity_headers = identity_headers(section);
    let cors = cors(section, methods);
    let headers = headers.of_route(section);
    let compression = compression(section);
    let response_cache = response_cache::of_route(section, &common.response_cache, access.as_ref());
    let end_with_token = end_with_token(section, access.as_ref());
    let api = api(section);
    let validation = validation(section, common.validation, access.as_ref(), api.as_ref());
    let tiers = tiers(section, common.rates.tiers.as_ref(), api.as_deref());
    let (rate_limits, max_body) = common.rates.of_route(section, common.sizes);
    if matches!(access, Some(Access::Public)) && common.rates.ask_who_calls(&rate_limits) {
        section.error(
            &section.place,
            "a public route does not know who calls, so it cannot count by client",
            "name a limit with `by = \"address\"` or `by = \"route\"`",
        );
    }
    if let (Some(Action::Forward(forward)), Some(Access::Public)) = (&action, &access)
        && matches!(forward.to, Destination::Sandbox(_))
    {
        section.error(
            &section.place,
            "who sends no token has no sandbox key, so nobody gets anywhere on this route",
            "give it an `upstream`, too, or leave out `public`",
        );
    }
    let (path, hosts, methods) = (path?, hosts?, methods?);
    if let Some(name) = name.as_ref().filter(|name| name.value == NO_ROUTE) {
        section.error(
            &name.place,
            "this name stands for requests without a route",
            "",
        );
    }
    let name = name.map_or_else(|| default_name(&hosts, methods, &path), |name| name.value);
    Some(Route {
        name: name.into(),
        hosts,
        path,
        methods,
        match_headers: match_headers?,
        access: access?,
        action: action?,
        identity_headers,
        token_header: token_header?,
        backend_jwt,
        forward_token,
        cors: cors?,
        headers: (!headers.is_empty()).then(|| Box::new(headers)),
        compression,
        response_cache,
        end_with_token,
        key_manager,
        api,
        tiers,
        validation,
        rate_limits,
        max_body,
    })
}

/// The header that the token stands in: `Some(None)` for `Authorization`, `None` when the name is none.
#[allow(clippy::option_option)]
pub fn token_header(
    section: &mut Section<'_>,
    key: &'static str,
    usual: Option<&HeaderName>,
) -> Option<Option<HeaderName>> {
    let Some(Placed { value, place }) = section.text(key) else {
        return Some(usual.cloned());
    };
    match value.parse::<HeaderName>() {
        Ok(header::AUTHORIZATION) => Some(None),
        Ok(name) if !is_untouchable(&name, Way::Request) => Some(Some(name)),
        _ => {
            let what = "this header cannot carry the token";
            section.error(&place, what, "for instance \"X-Access-Token\"");
            None
        }
    }
}

fn key_manager(
    section: &mut Section<'_>,
    access: Option<&Access>,
    key_managers: &mut KeyManagers,
) -> Option<Box<str>> {
    let Placed { value, place } = key_managers.of_route(section)?;
    if let Some(Access::Public) = access {
        section.error(
            &place,
            "a public route looks at no token, so nobody is asked about one",
            "leave out `public` or `key_manager`",
        );
    }
    Some(value)
}

fn end_with_token(section: &mut Section<'_>, access: Option<&Access>) -> bool {
    let Some(Placed { value, place }) = section.boolean("end_with_token") else {
        return false;
    };
    if value && matches!(access, Some(Access::Public)) {
        section.error(
            &place,
            "a public route looks at no token, so nothing can end with it",
            "leave out `public` or `end_with_token`",
        );
    }
    value
}

/// `GET api.example.com/orders/*`, with only those parts that the route has.
fn default_name(hosts: &[HostPattern], methods: Methods, path: &PathPattern) -> String {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let host = hosts.join(",");
    match methods {
        Methods::ANY => format!("{host}{path}"),
        methods => format!("{} {host}{path}", methods.to_string().replace(", ", ",")),
    }
}
