//! `api`: which API a route belongs to.

use std::sync::Arc;

use crate::{config::section::Section, domain::ApiIdentity};

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
