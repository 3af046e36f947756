//! One server of an upstream: its address, and its weight beside the others.

use http::Uri;

use super::ServerSettings;
use crate::config::{
    key_manager::parse_url,
    section::{Placed, Section},
    tree::{Node, Value},
};

const MAX_WEIGHT: u64 = 100;

/// Reads `servers`: addresses, or tables of an address and its weight.
pub fn list(section: &mut Section<'_>) -> Option<Vec<ServerSettings>> {
    let Some(entry) = section.take("servers") else {
        section.missing(
            "servers",
            "for instance servers = [\"http://10.0.0.1:9000\"]",
        );
        return None;
    };
    let place = entry.node.place.clone();
    let items = match entry.node.value {
        Value::Array(items) => items,
        Value::Loose(text) => separated(&text, &place),
        _ => {
            let hint = "for instance [\"http://10.0.0.1:9000\", { url = \"http://10.0.0.2:9000\", weight = 2 }]";
            section.error(&place, "`servers` must be a list of addresses", hint);
            return None;
        }
    };
    if items.is_empty() {
        section.error(&place, "`servers` is empty", "name at least one");
        return None;
    }
    let count = items.len();
    let mut servers: Vec<ServerSettings> = Vec::new();
    for item in items {
        let place = item.place.clone();
        let Some(server) = one(section, item) else {
            continue;
        };
        let twice = servers
            .iter()
            .any(|other| (&other.host, other.port) == (&server.host, server.port));
        if twice {
            section.error(&place, "this server is there twice", "give it a `weight`");
        }
        servers.push(server);
    }
    (servers.len() == count).then_some(servers)
}

/// Of an environment variable.
fn separated(text: &str, place: &crate::config::Place) -> Vec<Node> {
    let node = |part: &str| Node {
        value: Value::Text(part.trim().to_owned()),
        place: place.clone(),
    };
    text.split(',').map(node).collect()
}

fn one(section: &Section<'_>, item: Node) -> Option<ServerSettings> {
    let table = match item.value {
        Value::Table(table) => table,
        Value::Text(value) => {
            let place = item.place;
            return address(section, &Placed { value, place });
        }
        _ => {
            let hint = "for instance \"http://10.0.0.1:9000\"";
            section.error(
                &item.place,
                "a server is an address, or a table with one",
                hint,
            );
            return None;
        }
    };
    let mut section = section.below(table, "servers", &item.place);
    let url = section.text("url");
    if url.is_none() {
        section.missing("url", "for instance \"http://10.0.0.1:9000\"");
    }
    let weight = section.integer("weight");
    let server = url.and_then(|url| address(&section, &url));
    let weight = match weight {
        None => Some(1),
        Some(Placed { value, place }) => {
            let weight = u32::try_from(value).ok();
            let weight = weight.filter(|_| (1..=MAX_WEIGHT).contains(&value));
            if weight.is_none() {
                let hint =
                    format!("between 1 and {MAX_WEIGHT}; to use a server no longer, remove it");
                section.error(&place, "`weight` is out of range", hint);
            }
            weight
        }
    };
    section.finish();
    Some(ServerSettings {
        weight: weight?,
        ..server?
    })
}

fn address(section: &Section<'_>, url: &Placed<String>) -> Option<ServerSettings> {
    parse(&url.value)
        .map_err(|hint| section.error(&url.place, "this is not the address of an upstream", hint))
        .ok()
}

/// `Err`: what would be one.
pub fn parse(text: &str) -> Result<ServerSettings, &'static str> {
    let url: Uri = parse_url(text)?;
    if url
        .path_and_query()
        .is_some_and(|path| path.as_str() != "/")
    {
        return Err("leave out the path: it is passed on as it came");
    }
    let tls = url.scheme() == Some(&http::uri::Scheme::HTTPS);
    let host = url.host().unwrap_or_default();
    Ok(ServerSettings {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: url.port_u16().unwrap_or(if tls { 443 } else { 80 }),
        tls,
        weight: 1,
    })
}
