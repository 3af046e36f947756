//! `public`, `scopes`, `audience` and `issuer`: what a route asks of tokens.

use std::time::Duration;

use crate::{
    config::{
        section::{Placed, Section},
        tree::{Node, Value},
    },
    domain::{Access, Policy, ScopeRule, ScopeSets},
};

pub fn access(section: &mut Section<'_>, clock_skew: Duration) -> Option<Access> {
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

/// `["a", "b"]` and `{ all = [...] }`: all of them; `{ any = [...] }`: one of them, where one that is a
/// list itself needs all of that.
fn scopes(section: &mut Section<'_>) -> Option<ScopeRule> {
    let Some(entry) = section.take("scopes") else {
        return Some(ScopeRule::None);
    };
    let Value::Table(table) = entry.node.value else {
        let list = section.texts_of("scopes", entry.node)?;
        return Some(ScopeRule::All(scope_names(section, list)?));
    };
    let mut inner = section.below(table, "scopes", &entry.key_place);
    let sets = inner.take("any");
    let rule = match (sets, inner.texts("all")) {
        (Some(entry), None) => any_of(&inner, entry.node),
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

fn any_of(section: &Section<'_>, node: Node) -> Option<ScopeRule> {
    let is_list = |item: &Node| matches!(item.value, Value::Array(_));
    let items = match &node.value {
        Value::Array(items) if items.iter().any(is_list) => items,
        _ => {
            let list = section.texts_of("any", node)?;
            return Some(ScopeRule::Any(scope_names(section, list)?));
        }
    };
    let sets = items.iter().map(|item| {
        let list = section.texts_of("any", item.clone())?;
        scope_names(section, list)
    });
    let sets = sets.collect::<Option<Vec<_>>>()?;
    Some(ScopeRule::AnySet(ScopeSets::new(sets)))
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
