//! `[route.cors]`: which web pages of other origins may use the route.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::matching::{checked, methods};
use crate::{
    config::section::{Placed, Section},
    domain::{AskedHeaders, Cors, Methods, OriginPattern, Origins},
};

const DEFAULT_MAX_AGE: Duration = Duration::from_secs(600);
/// What a page needs to send a token and JSON.
const DEFAULT_HEADERS: &str = "Authorization, Content-Type";

/// `Some(None)` without the table, `None` when it is wrong. `of_route`: the methods that the route
/// takes.
#[allow(clippy::option_option)]
pub fn cors(section: &mut Section<'_>, of_route: Option<Methods>) -> Option<Option<Box<Cors>>> {
    let Some(mut section) = section.optional_section("cors") else {
        return Some(None);
    };
    let origins = origins(&mut section);
    let methods = allowed_methods(&mut section, of_route);
    let headers = allowed_headers(&mut section);
    let expose = header_names(&mut section, "expose_headers", false);
    let credentials = section.boolean("credentials");
    let max_age = section.duration("max_age");
    let private_network = section.boolean("private_network");
    if let (Some(Origins::Any), Some(Placed { value: true, place })) = (&origins, &credentials) {
        section.error(
            place,
            "with `origins = [\"*\"]` no browser takes `credentials`, and every page could use them",
            "name the origins, or leave out `credentials`",
        );
    }
    section.finish();
    let is_true = |value: Option<Placed<bool>>| value.is_some_and(|value| value.value);
    let max_age = max_age.map_or(DEFAULT_MAX_AGE, |max_age| max_age.value);
    Some(Some(Box::new(Cors {
        origins: origins?,
        methods: methods?,
        headers: headers?,
        expose: expose?,
        credentials: is_true(credentials),
        max_age: HeaderValue::from(max_age.as_secs()),
        private_network: is_true(private_network),
    })))
}

fn origins(section: &mut Section<'_>) -> Option<Origins> {
    const HINT: &str = "for instance origins = [\"https://app.example.com\"]";
    let Some(list) = section.texts("origins") else {
        section.missing("origins", HINT);
        return None;
    };
    if list.value.is_empty() {
        section.error(&list.place, "`origins` is empty", HINT);
        return None;
    }
    let any = list.value.iter().find(|origin| origin.value == "*");
    match any {
        Some(_) if list.value.len() == 1 => return Some(Origins::Any),
        Some(any) => {
            let what = "`*` stands for all origins, those beside it included";
            section.error(&any.place, what, "keep one or the other");
            return None;
        }
        None => {}
    }
    let count = list.value.len();
    let patterns: Vec<OriginPattern> = list
        .value
        .into_iter()
        .filter_map(|text| checked(section, text, OriginPattern::parse))
        .collect();
    (patterns.len() == count).then(|| Origins::These(patterns.into()))
}

/// Those that the route takes, or some of them.
fn allowed_methods(section: &mut Section<'_>, of_route: Option<Methods>) -> Option<HeaderValue> {
    let named = methods(section);
    let (asked, of_route) = match section.was_given("methods") {
        true => (named?, of_route?),
        false => (of_route?, of_route?),
    };
    if !of_route.covers(asked) {
        section.error(
            &section.place,
            "`methods` has some that the route itself does not take",
            format!("the route takes {of_route}"),
        );
    }
    HeaderValue::from_str(&asked.to_string()).ok()
}

fn allowed_headers(section: &mut Section<'_>) -> Option<AskedHeaders> {
    let names = header_names(section, "headers", true)?;
    Some(match names {
        None => AskedHeaders::These(HeaderValue::from_static(DEFAULT_HEADERS)),
        Some(names) if names == "*" => AskedHeaders::Any,
        Some(names) => AskedHeaders::These(names),
    })
}

/// `Some(None)` without the key, `None` when one of the names is none.
#[allow(clippy::option_option)]
fn header_names(
    section: &mut Section<'_>,
    key: &'static str,
    star: bool,
) -> Option<Option<HeaderValue>> {
    let Some(list) = section.texts(key) else {
        return Some(None);
    };
    if star && matches!(&list.value[..], [one] if one.value == "*") {
        return Some(Some(HeaderValue::from_static("*")));
    }
    for name in &list.value {
        if name.value.parse::<HeaderName>().is_err() || name.value.contains('*') {
            section.error(
                &name.place,
                "this is not the name of a header",
                match star {
                    true => "one name for each element, or [\"*\"] for any",
                    false => "one name for each element",
                },
            );
            return None;
        }
    }
    let names: Vec<&str> = list.value.iter().map(|name| name.value.as_str()).collect();
    match names.is_empty() {
        true => Some(None),
        false => HeaderValue::from_str(&names.join(", ")).ok().map(Some),
    }
}
