//! `api`: which API a route belongs to.

use std::sync::Arc;

use crate::{
    config::section::{Placed, Section},
    domain::{Access, ApiIdentity},
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

/// Whether a route lets only those pass who have subscribed to its API; `for_all`: what is said for
/// all routes.
pub fn validates(
    route: &mut Section<'_>,
    for_all: bool,
    access: Option<&Access>,
    api: Option<&Arc<ApiIdentity>>,
) -> bool {
    const KEY: &str = "validate_subscriptions";
    let own = route.boolean(KEY);
    let is_public = matches!(access, Some(Access::Public));
    if let (Some(Placed { value: true, place }), true) = (&own, is_public) {
        route.error(
            place,
            "a public route does not know who calls, so it cannot ask for a subscription",
            format!("leave out `public` or `{KEY}`"),
        );
    }
    let place = own.as_ref().map_or(&route.place, |own| &own.place);
    let validates = own.as_ref().map_or(for_all, |own| own.value) && !is_public;
    if validates && api.is_none() && !route.was_given("api") {
        route.error(
            place,
            "nothing says to which API one must have subscribed here",
            format!("add `api = {{ name, version }}`, or `{KEY} = false`"),
        );
    }
    validates
}
