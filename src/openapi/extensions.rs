//! The other `x-wso2-` extensions.

use super::{Access, Context, Node, Spotted, path};

/// `x-wso2-cors`: pages of which origins may use the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedPages {
    pub origins: Vec<String>,
    pub headers: Vec<String>,
    pub expose_headers: Vec<String>,
    pub credentials: bool,
}

/// Extensions that are read, or change nothing.
const KNOWN: [&str; 14] = [
    "x-wso2-basePath",
    "x-wso2-production-endpoints",
    "x-wso2-sandbox-endpoints",
    "x-wso2-endpoints",
    "x-wso2-throttling-tier",
    "x-wso2-disable-security",
    "x-wso2-auth-header",
    "x-wso2-application-security",
    "x-wso2-cors",
    "x-wso2-response-cache",
    "x-wso2-owner",
    "x-wso2-transports",
    "x-wso2-mutual-ssl",
    "x-wso2-security",
];

/// Tells, once for each, of the extensions of the original that do nothing here.
pub fn report_unknown(context: &Context<'_>, holder: &Node<'_>) {
    let unknown = |key: &str| key.starts_with("x-wso2-") && !KNOWN.contains(&key);
    for entry in holder.entries().iter().filter(|entry| unknown(&entry.key)) {
        let what = format!("`{}` is not supported", entry.key);
        context.notes.warn(what, entry.node.at.clone());
    }
    if let Some(mutual) = holder.get("x-wso2-mutual-ssl") {
        let what = "`x-wso2-mutual-ssl` is not read: certificates of clients are asked for by the listener";
        context.notes.warn(what, mutual.at.clone());
    }
    if let Some(transports) = holder.get("x-wso2-transports")
        && !transports
            .items()
            .iter()
            .any(|item| item.text() == Some("http"))
    {
        let what = "`x-wso2-transports` is not read: which listeners there are says the gateway's configuration";
        context.notes.warn(what, transports.at.clone());
    }
    if let Some(security) = holder.get("x-wso2-application-security") {
        application_security(context, security);
    }
}

/// Tokens are all that the gateway takes.
fn application_security(context: &Context<'_>, security: &Node<'_>) {
    let types = security.get("security-types").map_or(&[][..], Node::items);
    for kind in types {
        let word = kind.text().unwrap_or_default();
        if !matches!(word, "oauth2" | "jwt") {
            let what = format!(
                "`x-wso2-application-security` names {word:?}, which is not supported: a token is asked for"
            );
            context.notes.warn(what, kind.at.clone());
        }
    }
    if let Some(optional) = security
        .get("optional")
        .filter(|value| value.boolean() == Some(true))
    {
        let what = "`x-wso2-application-security` is optional: a token is asked for all the same";
        context.notes.warn(what, optional.at.clone());
    }
}

/// `x-wso2-basePath`, with `{version}` filled in.
pub fn base_path(context: &Context<'_>, version: &str) -> Option<Spotted<String>> {
    let field = context.root.get("x-wso2-basePath")?;
    let text = field.text()?.replace("{version}", version);
    Some(Spotted {
        value: path::base(&text),
        at: field.at.clone(),
    })
}

/// `x-wso2-throttling-tier`, or what API Manager writes.
pub fn tier(context: &Context<'_>, holder: &Node<'_>) -> Option<Spotted<String>> {
    let keys = ["x-wso2-throttling-tier", "x-throttling-tier"];
    let field = keys.iter().find_map(|key| holder.get(key))?;
    match field.text() {
        Some(name) => Some(Spotted {
            value: name.to_owned(),
            at: field.at.clone(),
        }),
        None => {
            context
                .notes
                .error("a throttling tier is a name", field.at.clone());
            None
        }
    }
}

/// `x-wso2-disable-security`, which goes before `x-auth-type`; `None`: neither says anything.
pub fn open(context: &Context<'_>, holder: &Node<'_>) -> Option<bool> {
    if let Some(field) = holder.get("x-wso2-disable-security") {
        let open = field.boolean();
        if open.is_none() {
            let what = "`x-wso2-disable-security` is true or false";
            context.notes.error(what, field.at.clone());
        }
        return open;
    }
    let kind = holder.get("x-auth-type").and_then(Node::text)?;
    kind.eq_ignore_ascii_case("none").then_some(true)
}

/// `x-scope`, which API Manager writes: the one scope of an operation.
pub fn scope(holder: &Node<'_>) -> Option<Access> {
    let scope = holder.get("x-scope").and_then(Node::text)?;
    Some(Access::Token(vec![vec![scope.to_owned()]]))
}

pub fn token_header(context: &Context<'_>) -> Option<Spotted<String>> {
    let field = context.root.get("x-wso2-auth-header")?;
    field.text().map(|name| Spotted {
        value: name.to_owned(),
        at: field.at.clone(),
    })
}

pub fn cors(context: &Context<'_>) -> Option<Spotted<SharedPages>> {
    let field = context.root.get("x-wso2-cors")?;
    let find = |name: &str| {
        let mut entries = field.entries().iter();
        let entry = entries.find(|entry| fold(&entry.key) == fold(name));
        entry.map(|entry| &*entry.node)
    };
    let list = |name: &str| {
        let found = find(name);
        let items = found.map_or(&[][..], Node::items);
        let texts = items.iter().filter_map(|item| item.text());
        texts.map(str::to_owned).collect::<Vec<_>>()
    };
    if find("corsConfigurationEnabled").and_then(Node::boolean) == Some(false) {
        return None;
    }
    let origins = list("accessControlAllowOrigins");
    if origins.is_empty() {
        return None;
    }
    let is_any = origins.iter().any(|origin| origin == "*");
    let wants_credentials =
        find("accessControlAllowCredentials").and_then(Node::boolean) == Some(true);
    if is_any && wants_credentials {
        let what = "`x-wso2-cors` lets pages of all origins send cookies, which no browser does: they cannot";
        context.notes.warn(what, field.at.clone());
    }
    let value = SharedPages {
        origins: match is_any {
            true => vec!["*".to_owned()],
            false => origins,
        },
        headers: list("accessControlAllowHeaders"),
        expose_headers: list("accessControlExposeHeaders"),
        credentials: wants_credentials && !is_any,
    };
    Some(Spotted {
        value,
        at: field.at.clone(),
    })
}

/// Keys of `x-wso2-cors` are written in two ways.
fn fold(key: &str) -> String {
    let letters = key.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

/// How long answers are kept, in seconds.
pub fn cache_seconds(context: &Context<'_>) -> Option<Spotted<u64>> {
    const DEFAULT: u64 = 300;
    let field = context.root.get("x-wso2-response-cache")?;
    if field.get("enabled").and_then(Node::boolean) != Some(true) {
        return None;
    }
    let seconds = field.get("cacheTimeoutInSeconds").and_then(Node::number);
    Some(Spotted {
        value: seconds.unwrap_or(DEFAULT),
        at: field.at.clone(),
    })
}
