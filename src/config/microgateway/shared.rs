//! What tells the original's files from ours, and which names are ours in them.

use crate::config::fold;

/// Tables that only the original has.
const ORIGINAL_ONLY: &[&str] = &[
    "analytics",
    "apikey",
    "authConfig",
    "b7a",
    "caching",
    "http2",
    "httpClients",
    "jwtConfig",
    "jwtGeneratorConfig",
    "jwtTokenConfig",
    "listenerConfig",
    "mutualSSLConfig",
    "server",
    "throttlingConfig",
    "tokenRevocationConfig",
    "validationConfig",
];

/// Tables and keys of ours that may stand in a file of the original's, next to its own.
pub const NATIVE_ROOTS: &[&str] = &[
    "admin",
    "api",
    "backend_jwt",
    "errors",
    "headers",
    "include",
    "jwt_issuer",
    "keyManagers",
    "limits",
    "listen",
    "log",
    "process",
    "rate_limits",
    "response_cache",
    "revocation",
    "route",
    "subscriptions",
    "tiers",
    "token",
    "token_cache",
    "tracing",
    "upstream_tls",
    "upstreams",
];

/// Keys of ours in `[keyManager]`, folded.
const NATIVE_KEY_MANAGER: &[&str] = &[
    "extraheaders",
    "extraparams",
    "introspecturl",
    "knownas",
    "timeout",
    "tls",
    "tokentypehint",
    "validatesubscriptions",
];

/// Keys of ours in `[apim.eventHub]`, folded.
const NATIVE_EVENT_HUB: &[&str] = &["maxlistbytes", "resyncinterval", "tenant", "tls"];

/// Schemes of ours in `[keymanager.security]`, folded.
const NATIVE_SCHEMES: &[&str] = &["clientsecretpost", "none", "privatekeyjwt", "tlsclientauth"];

pub fn is_native_root(key: &str) -> bool {
    // One of them has names that are compared loosely.
    NATIVE_ROOTS.iter().any(|name| fold(name) == fold(key))
}

/// Whether a key in a table that both have is one of ours.
pub fn is_native_below<'s>(folded: impl Iterator<Item = &'s str>) -> bool {
    let steps: Vec<&str> = folded.take(3).collect();
    match steps[..] {
        ["keymanager", "security", scheme] => NATIVE_SCHEMES.contains(&scheme),
        ["apim", "eventhub", key] => NATIVE_EVENT_HUB.contains(&key),
        ["keymanager", key, ..] => NATIVE_KEY_MANAGER.contains(&key),
        _ => false,
    }
}

/// Whether a file is of the original: by its name, or by a table that only the original has where
/// there is none that only we have.
pub fn is_original(name: &str, text: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or_default();
    if file.ends_with(".conf") && (file.contains("micro-gw") || file == "ballerina.conf") {
        return true;
    }
    let mut original = false;
    for table in text.lines().filter_map(table_of) {
        let table = table.split('.').next().unwrap_or_default().trim();
        if is_native_root(table) {
            return false;
        }
        original |= ORIGINAL_ONLY.iter().any(|name| fold(name) == fold(table));
    }
    original
}

/// The name in a header of a table.
fn table_of(line: &str) -> Option<&str> {
    let inner = line.trim_start().strip_prefix('[')?;
    let inner = inner.strip_prefix('[').unwrap_or(inner);
    inner.split_once(']').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart() {
        for (name, text, expected) in [
            ("conf/micro-gw.conf", "", true),
            ("default-micro-gw.conf", "[listen]", true),
            ("a.toml", "[listenerConfig]\nhttpPort = 9090", true),
            ("a.toml", "  [[jwtTokenConfig]]\n", true),
            ("a.toml", "[throttlingConfig.binary.agent]", true),
            ("a.toml", "[keyManager]\nserverUrl = \"\"", false),
            ("a.toml", "[caching]\n[[route]]", false),
            ("portcullis.conf", "# [listenerConfig]", false),
            ("a.toml", "", false),
        ] {
            assert_eq!(is_original(name, text), expected, "{name} {text}");
        }
    }

    #[test]
    fn names_that_are_ours_are_those_of_the_file_with_all_keys() {
        let all = std::fs::read_to_string("conf/portcullis.toml").unwrap();
        for line in all.lines() {
            let header = line.trim_start_matches('#');
            let Some(table) = table_of(header).filter(|_| header.starts_with('[')) else {
                continue;
            };
            let root = table.split('.').next().unwrap();
            let shared = ["keymanager", "apim"].contains(&&*fold(root));
            assert!(shared || is_native_root(root), "{table}");
        }
    }
}
