//! `security`: whether an operation asks for a token, and for which scopes.
//!
//! Of a list of requirements one is enough; of one requirement all is needed (OpenAPI 3.1.1, "Security Requirement Object").
//! Whatever the gateway cannot check makes an operation ask for a token, never for less.

use super::{Context, Node};

/// What an operation asks of its callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    Public,
    /// A token with one of these sets of scopes; without sets, any token.
    Token(Vec<Vec<String>>),
}

impl Access {
    pub const ANY_TOKEN: Self = Self::Token(Vec::new());

    /// Only what both let in.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Public, other) | (other, Self::Public) => other,
            (one, other) if other == Self::ANY_TOKEN => one,
            (one, other) if one == Self::ANY_TOKEN => other,
            (Self::Token(one), Self::Token(other)) => {
                let mut all: Vec<String> = Vec::new();
                for scope in one.into_iter().chain(other).flatten() {
                    if !all.contains(&scope) {
                        all.push(scope);
                    }
                }
                Self::Token(vec![all])
            }
        }
    }
}

/// What `holder`, an operation or the document, says of it; `None`: nothing.
pub fn of(context: &Context<'_>, holder: &Node<'_>) -> Option<Access> {
    let field = holder.get("security")?;
    if !field.is_list() {
        if !field.is_nothing() {
            context
                .notes
                .error("`security` is a list", field.at.clone());
        }
        return None;
    }
    if field.items().is_empty() {
        // The original reads an empty list as one that names no scheme, which asks for a token.
        return Some(match context.is_wso2 {
            true => Access::ANY_TOKEN,
            false => Access::Public,
        });
    }
    let mut sets: Vec<Vec<String>> = Vec::new();
    for requirement in field.items() {
        if let Some(set) = requirement_set(context, requirement)
            && !sets.contains(&set)
        {
            sets.push(set);
        }
    }
    match sets.iter().any(Vec::is_empty) {
        true => Some(Access::ANY_TOKEN),
        false => Some(Access::Token(sets)),
    }
}

/// The scopes of one requirement; `None` when no token meets it.
fn requirement_set(context: &Context<'_>, requirement: &Node<'_>) -> Option<Vec<String>> {
    if !requirement.is_map() {
        let what = "a security requirement is a mapping of schemes to scopes";
        context.notes.error(what, requirement.at.clone());
        return None;
    }
    if requirement.entries().is_empty() {
        let what =
            "`{}` in `security` lets callers in without a token: one is asked for all the same";
        context.notes.warn(what, requirement.at.clone());
        return None;
    }
    let mut set = Vec::new();
    let mut is_for_tokens = false;
    for entry in requirement.entries() {
        match scheme(context, &entry.key) {
            Scheme::Token => {}
            Scheme::Unknown => {
                let what = format!(
                    "the security scheme {:?} is not described: it is taken for OAuth2",
                    entry.key
                );
                context.notes.warn(what, entry.node.at.clone());
            }
            Scheme::Other(kind) => {
                let what = format!(
                    "security schemes of the type {kind} are not known to the gateway: a token is asked for"
                );
                context.notes.warn(what, entry.node.at.clone());
                continue;
            }
        }
        is_for_tokens = true;
        let scopes = entry.node.items().iter().filter_map(|scope| scope.text());
        // A name has no spaces (RFC 6749 §3.3), so that with some it is a list.
        for scope in scopes.flat_map(str::split_whitespace) {
            if !set.iter().any(|other| other == scope) {
                set.push(scope.to_owned());
            }
        }
    }
    is_for_tokens.then_some(set)
}

enum Scheme {
    /// A bearer token is shown.
    Token,
    Other(String),
    Unknown,
}

fn scheme(context: &Context<'_>, name: &str) -> Scheme {
    let root = context.root;
    let new = root
        .get("components")
        .and_then(|parts| parts.get("securitySchemes"));
    let all = new.or_else(|| root.get("securityDefinitions"));
    let Some(mut found) = all.and_then(|all| all.get(name)) else {
        return Scheme::Unknown;
    };
    if let Some(target) = found.get("$ref").and_then(Node::text) {
        match super::resolve(root, target) {
            Some(target) => found = target,
            None => return Scheme::Unknown,
        }
    }
    let kind = found.get("type").and_then(Node::text).unwrap_or_default();
    let of_http = found.get("scheme").and_then(Node::text).unwrap_or_default();
    match kind {
        "oauth2" | "openIdConnect" => Scheme::Token,
        "http" if of_http.eq_ignore_ascii_case("bearer") => Scheme::Token,
        "http" => Scheme::Other(format!("http {of_http}")),
        "" => Scheme::Unknown,
        kind => Scheme::Other(kind.to_owned()),
    }
}
