//! `servers`, or `schemes`, `host` and `basePath`: where the API is.

use super::{Context, Node, Spotted, path};

/// Scheme and authority, as in `https://api.example.com`, and the path behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    pub origin: String,
    /// With a slash in front and none behind; empty for the root.
    pub path: String,
}

impl BaseUrl {
    /// `None`: not http or https, or no host.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(&*scheme, "http" | "https") {
            return None;
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.is_empty() || authority.contains(['{', '}', '@']) {
            return None;
        }
        Some(Self {
            origin: format!("{scheme}://{authority}"),
            path: path::base(path),
        })
    }
}

/// The first server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `None`: the document does not say.
    pub origin: Option<Spotted<String>>,
    /// The path before those of the document; empty for the root.
    pub path: String,
}

pub fn read(context: &Context<'_>) -> Server {
    match context.root.get("swagger") {
        Some(_) => of_swagger(context.root),
        None => of_servers(context),
    }
}

/// OpenAPI 2.0, "Swagger Object".
fn of_swagger(root: &Node<'_>) -> Server {
    let schemes = root.get("schemes").map_or(&[][..], Node::items);
    let has = |scheme: &str| schemes.iter().any(|item| item.text() == Some(scheme));
    let scheme = match has("http") && !has("https") {
        true => "http",
        false => "https",
    };
    let host = root.get("host");
    let origin = host.and_then(|host| {
        let url = BaseUrl::parse(&format!("{scheme}://{}", host.text()?))?;
        Some(Spotted {
            value: url.origin,
            at: host.at.clone(),
        })
    });
    let path = root.get("basePath").and_then(Node::text);
    Server {
        origin,
        path: path::base(path.unwrap_or_default()),
    }
}

/// The first of `servers`, its variables with their defaults. The others are other places where the API may be.
fn of_servers(context: &Context<'_>) -> Server {
    let nowhere = Server {
        origin: None,
        path: String::new(),
    };
    let servers = context.root.get("servers").map_or(&[][..], Node::items);
    let Some(first) = servers.first() else {
        return nowhere;
    };
    let Some((field, url)) = first
        .get("url")
        .and_then(|field| Some((field, field.text()?)))
    else {
        return nowhere;
    };
    let mut url = url.to_owned();
    let variables = first.get("variables").map_or(&[][..], Node::entries);
    for variable in variables {
        let default = variable.node.get("default").and_then(Node::text);
        url = url.replace(
            &format!("{{{}}}", variable.key),
            default.unwrap_or_default(),
        );
    }
    match BaseUrl::parse(&url) {
        Some(BaseUrl { origin, path }) => Server {
            origin: Some(Spotted {
                value: origin,
                at: field.at.clone(),
            }),
            path,
        },
        // Beside the document, wherever that is.
        None => Server {
            origin: None,
            path: match url.split_once("://") {
                Some((_, rest)) => path::base(rest.split_once('/').map_or("", |(_, path)| path)),
                None => path::base(&url),
            },
        },
    }
}
