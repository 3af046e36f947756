//! `identity_headers`: which claims the upstream is told.

use http::HeaderName;

use crate::{
    config::{section::Section, tree::Value},
    domain::Subscriber,
};

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

pub fn identity_headers(section: &mut Section<'_>) -> Box<[(HeaderName, Box<str>)]> {
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
            Value::Text(claim) | Value::Loose(claim)
                if claim.starts_with(Subscriber::PREFIX)
                    && !Subscriber::CLAIMS.contains(&claim.as_str()) =>
            {
                let what = format!("{claim:?} is nothing that is known of subscriptions");
                let hint = format!("one of {}", Subscriber::CLAIMS.join(", "));
                section.error(&entry.node.place, what, hint);
            }
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
