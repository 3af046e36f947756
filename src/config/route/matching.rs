//! `host`, `path`, `methods` and `match_headers`: which requests are a route's.

use http::{HeaderName, HeaderValue, header};

use crate::{
    config::{
        problem::Place,
        section::{Placed, Section},
        tree::{Entry, Value},
    },
    domain::{HeaderMatch, HostPattern, Methods},
};

/// None: any host.
pub fn hosts(section: &mut Section<'_>) -> Option<Box<[HostPattern]>> {
    let Some(list) = section.texts("host") else {
        return Some(Box::default());
    };
    if list.value.is_empty() {
        section.error(&list.place, "`host` is empty", "leave it out for any host");
        return None;
    }
    let mut hosts: Vec<HostPattern> = Vec::new();
    let mut complete = true;
    for text in list.value {
        let place = text.place.clone();
        match checked(section, text, HostPattern::parse) {
            Some(host) if hosts.contains(&host) => {
                section.error(&place, "this host stands here twice", "keep one of them");
                complete = false;
            }
            Some(host) => hosts.push(host),
            None => complete = false,
        }
    }
    complete.then(|| hosts.into())
}

/// Header to the value that it must have, or `true`: it must be there.
pub fn match_headers(section: &mut Section<'_>) -> Option<HeaderMatch> {
    let mut conditions: Vec<(HeaderName, Option<HeaderValue>)> = Vec::new();
    let mut complete = true;
    for entry in section.section("match_headers").into_entries() {
        match condition(&entry) {
            Ok((name, _)) if conditions.iter().any(|(other, _)| *other == name) => {
                section.error(&entry.key_place, "this header stands here twice", "");
                complete = false;
            }
            Ok(condition) => conditions.push(condition),
            Err((place, what, hint)) => {
                section.error(place, what, hint);
                complete = false;
            }
        }
    }
    complete.then(|| HeaderMatch::new(conditions))
}

type Fault<'e> = (&'e Place, String, &'static str);

fn condition(entry: &Entry) -> Result<(HeaderName, Option<HeaderValue>), Fault<'_>> {
    let name = entry.key.parse::<HeaderName>().ok();
    let name = name.filter(|name| *name != header::HOST).ok_or_else(|| {
        let what = format!("`{}` cannot be matched here", entry.key);
        (
            &entry.key_place,
            what,
            "a header's name; for `Host` there is `host`",
        )
    })?;
    let value = match &entry.node.value {
        Value::Boolean(true) => Some(None),
        Value::Text(value) | Value::Loose(value) => value.trim().parse().ok().map(Some),
        _ => None,
    };
    let value = value.ok_or_else(|| {
        let what = format!("`{}` is matched with a string, or with true", entry.key);
        (
            &entry.node.place,
            what,
            "true: it is there, whatever it says",
        )
    })?;
    Ok((name, value))
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
