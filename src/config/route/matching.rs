//! `host`, `path` and `methods`: which requests are a route's.

use crate::{
    config::section::{Placed, Section},
    domain::Methods,
};

/// `Some(None)` when the key is not there, `None` when its value is wrong.
#[allow(clippy::option_option)]
pub fn parsed<T>(
    section: &mut Section<'_>,
    key: &'static str,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Option<Option<T>> {
    match section.text(key) {
        Some(text) => checked(section, text, parse).map(Some),
        None => Some(None),
    }
}

pub fn checked<T>(
    section: &Section<'_>,
    text: Placed<String>,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Option<T> {
    parse(&text.value)
        .map_err(|fault| section.error(&text.place, fault, ""))
        .ok()
}

pub fn methods(section: &mut Section<'_>) -> Option<Methods> {
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
