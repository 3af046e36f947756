//! `api`: which API a route belongs to.

use std::sync::Arc;

use crate::{
    config::section::{Placed, Section},
    domain::{Access, ApiIdentity, Validation},
};

/// Reads `api = { name, version, context }`.
pub fn api(route: &mut Section<'_>) -> Option<Arc<ApiIdentity>> {
    let mut section = route.optional_section("api")?;
    let mut text = |key: &'static str, hint: &str| {
        let text = section.text(key);
        match &text {
            None => section.missing(key, hint),
            Some(text) if text.value.is_empty() => {
                section.error(&text.place, format!("`{key}` is empty"), hint);
            }
            Some(_) => {}
        }
        text.map(|text| text.value.into())
    };
    let name = text("name", "the API's name at the source of the subscriptions");
    let version = text("version", "for instance version = \"1.0.0\"");
    let context = section.text("context").and_then(|context| {
        let is_path = context.value.starts_with('/');
        if !is_path {
            let what = "`context` is the path that the API begins with";
            section.error(&context.place, what, "for instance \"/pizza\"");
        }
        is_path.then(|| context.value.into())
    });
    section.finish();
    Some(Arc::new(ApiIdentity {
        name: name?,
        version: version?,
        context,
    }))
}

/// Whom a route lets pass only if they have subscribed to its API; `for_all`: what is said for all routes.
pub fn validation(
    route: &mut Section<'_>,
    for_all: Validation,
    access: Option<&Access>,
    api: Option<&Arc<ApiIdentity>>,
) -> Validation {
    const KEY: &str = "validate_subscriptions";
    let own = route.boolean(KEY);
    if let Some(Access::Public) = access {
        if let Some(Placed { value: true, place }) = &own {
            route.error(
                place,
                "a public route does not know who calls, so it cannot ask for a subscription",
                format!("leave out `public` or `{KEY}`"),
            );
        }
        return Validation::Same(false);
    }
    let place = own.as_ref().map_or(&route.place, |own| &own.place);
    let validation = own
        .as_ref()
        .map_or(for_all, |own| Validation::Same(own.value));
    if validation.is_ever_wanted() && api.is_none() && !route.was_given("api") {
        route.error(
            place,
            "nothing says to which API one must have subscribed here",
            format!("add `api = {{ name, version }}`, or `{KEY} = false`"),
        );
    }
    validation
}
