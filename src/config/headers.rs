//! `[headers]` and `[route.headers]`: what is added to the headers of requests and answers.

use http::{HeaderName, HeaderValue};

use super::section::{Placed, Section};
use crate::domain::{HeaderChanges, HeaderRules, Way, is_untouchable};

/// The rules for all routes, and what they and those of routes have touched so far.
pub struct Headers {
    for_all: HeaderRules,
    /// Names in requests, which must be nobody's identity header.
    touched: Vec<Placed<HeaderName>>,
}

/// `[headers]`: for all routes.
pub fn read(root: &mut Section<'_>) -> Headers {
    let mut headers = Headers {
        for_all: HeaderRules::default(),
        touched: Vec::new(),
    };
    headers.for_all = headers.of_route(root);
    headers
}

impl Headers {
    /// The table `headers` of a route, on top of the rules for all.
    pub fn of_route(&mut self, section: &mut Section<'_>) -> HeaderRules {
        let mut section = section.section("headers");
        let security = section.boolean("security");
        let request = changes(&mut section, "request", Way::Request, &mut self.touched);
        let response = changes(&mut section, "response", Way::Response, &mut Vec::new());
        section.finish();
        HeaderRules {
            request: self.for_all.request.and(&request),
            response: self.for_all.response.and(&response),
            security: security.map_or(self.for_all.security, |security| security.value),
        }
    }

    /// Says which touched names tell upstreams who calls.
    pub fn check_identity(&self, section: &Section<'_>, is_identity: impl Fn(&HeaderName) -> bool) {
        for name in self.touched.iter().filter(|name| is_identity(&name.value)) {
            section.error(
                &name.place,
                format!("`{}` tells an upstream who calls", name.value),
                "it is in the `identity_headers` of a route, so no rule can touch it",
            );
        }
    }
}

fn changes(
    section: &mut Section<'_>,
    key: &'static str,
    way: Way,
    touched: &mut Vec<Placed<HeaderName>>,
) -> HeaderChanges {
    let mut section = section.section(key);
    let remove = section
        .texts("remove")
        .map_or(Vec::new(), |list| list.value);
    let remove: Vec<Placed<HeaderName>> = remove
        .into_iter()
        .filter_map(|name| header_name(&section, name, way))
        .collect();
    touched.extend_from_slice(&remove);
    let set = values(&mut section, "set", way, touched);
    let add = values(&mut section, "add", way, touched);
    section.finish();
    HeaderChanges {
        remove: remove.into_iter().map(|name| name.value).collect(),
        set,
        add,
    }
}

fn values(
    section: &mut Section<'_>,
    key: &'static str,
    way: Way,
    touched: &mut Vec<Placed<HeaderName>>,
) -> Box<[(HeaderName, HeaderValue)]> {
    let mut headers = Vec::new();
    for Placed { value, place } in section.pairs(key) {
        let (name, value) = value;
        let name = Placed {
            value: name,
            place: place.clone(),
        };
        let name = header_name(section, name, way);
        // No control characters: a line break would begin a header of its own (RFC 9110 §5.5).
        let Ok(value) = HeaderValue::from_str(&value) else {
            section.error(
                &place,
                "this value cannot stand in a header",
                "one line of visible characters",
            );
            continue;
        };
        if let Some(name) = name {
            touched.push(name.clone());
            headers.push((name.value, value));
        }
    }
    headers.into()
}

fn header_name(
    section: &Section<'_>,
    Placed { value, place }: Placed<String>,
    way: Way,
) -> Option<Placed<HeaderName>> {
    let Ok(name) = value.parse::<HeaderName>() else {
        section.error(&place, format!("{value:?} is not the name of a header"), "");
        return None;
    };
    if is_untouchable(&name, way) {
        let hint = match name.as_str() {
            "authorization" => "`forward_token` says whether the upstream gets it",
            name if name.starts_with("access-control-") => "[route.cors] says what browsers may do",
            name if name.contains('_') => "write `-` for `_`: many servers read both alike",
            _ => "it belongs to the connection, to the body or to the gateway",
        };
        section.error(&place, format!("no rule can touch `{name}`"), hint);
        return None;
    }
    Some(Placed { value: name, place })
}
