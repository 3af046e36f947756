//! Lines of a configuration as they may be shown: without what could be a secret.

use super::{fold, section::nearest};

/// Keys whose values may be shown, and what is misspelt but nearer to one of them than to a secret's.
/// Everything else is taken for a secret: a table on one line, a part of a longer text.
const SHOWN_KEYS: &[&str] = &[
    "access",
    "algorithms",
    "allowlongttl",
    "anyscope",
    "apitier",
    "audience",
    "authorizationheader",
    "backendjwt",
    "balance",
    "basepath",
    "basetime",
    "burst",
    "by",
    "cafile",
    "certfile",
    "certificatealias",
    "certificatefile",
    "challenge",
    "claimdialect",
    "clientid",
    "clientidclaim",
    "compression",
    "connect",
    "consecutivefailures",
    "contenttype",
    "credentialbearer",
    "credentialencoding",
    "defaultlife",
    "defaulttier",
    "disablesslverification",
    "diskmaxbytes",
    "diskpath",
    "drainlimit",
    "drainnotice",
    "enable",
    "enabled",
    "enableintrospectforfailedjwt",
    "enablelegacymode",
    "endpoint",
    "endwithtoken",
    "expectedstatus",
    "expiresin",
    "format",
    "forwardtoken",
    "h2c",
    "handshaketimeout",
    "hashkey",
    "header",
    "headertimeout",
    "healthyafter",
    "host",
    "http",
    "httpport",
    "https",
    "httpsport",
    "identityheaders",
    "idle",
    "idletimeout",
    "inactivettl",
    "include",
    "internaldatacontext",
    "interval",
    "introspect",
    "introspecturl",
    "issuer",
    "jwksfile",
    "jwksurl",
    "keyalias",
    "keyfile",
    "keyid",
    "keymanager",
    "keymanageroutage",
    "keystorefile",
    "keystorepath",
    "knownas",
    "level",
    "listen",
    "listurl",
    "listurl",
    "maxage",
    "maxbodybytes",
    "maxbytes",
    "maxconnections",
    "maxconnectionsperaddress",
    "maxentries",
    "maxheaderbytes",
    "maxheaders",
    "maxlistbytes",
    "maxpending",
    "maxpercent",
    "maxrequests",
    "maxtime",
    "maxttl",
    "maxuribytes",
    "methods",
    "minrate",
    "mode",
    "name",
    "openapi",
    "origins",
    "path",
    "per",
    "policiesfile",
    "privatenetwork",
    "protocol",
    "proxyprotocolfrom",
    "public",
    "ratelimits",
    "rates",
    "read",
    "redirect",
    "redirecttohttps",
    "refresh",
    "refreshurl",
    "remove",
    "requests",
    "resolveinterval",
    "respond",
    "restrictedclaims",
    "resyncinterval",
    "retries",
    "retrybudgetpercent",
    "rewrite",
    "sample",
    "sandboxupstream",
    "scopes",
    "servername",
    "servers",
    "servertiming",
    "serverurl",
    "servicename",
    "serviceurl",
    "sslverifyclient",
    "statefile",
    "status",
    "stripprefix",
    "tenant",
    "tier",
    "tierclaim",
    "timeout",
    "timestampskew",
    "tokencachecapacity",
    "tokencacheexpirytime",
    "tokencontext",
    "tokenheader",
    "tokenlistenerport",
    "tokenmisses",
    "tokenpattern",
    "tokentypehint",
    "tokenurl",
    "topic",
    "total",
    "trustedproxies",
    "truststorefile",
    "truststorepath",
    "typ",
    "unhealthyafter",
    "upgradesocket",
    "upstream",
    "upstreampath",
    "url",
    "username",
    "validatesubscriptions",
    "verifyhostname",
    "weight",
    "write",
];

const HIDDEN: &str = "[redacted]";

const SECRET_KEYS: &[&str] = &[
    "broker",
    "headers",
    "accesstoken",
    "basic",
    "clientsecret",
    "key",
    "keystorepassword",
    "oauth2",
    "password",
    "refreshtoken",
    "secret",
    "token",
    "truststorepassword",
];

/// A line of a description of an API as it may be shown. What is in it is for everybody, but an endpoint may have been
/// given a password.
pub fn hide_passwords(line: &str) -> String {
    let folded = line.to_ascii_lowercase();
    let may_hide = |word: &str| folded.contains(word);
    match may_hide("password") || may_hide("secret") || (may_hide("://") && may_hide("@")) {
        true => HIDDEN.to_owned(),
        false => line.to_owned(),
    }
}

/// A table on one line that has a key whose value could be a secret, or speaks of one.
fn is_table_with_secrets(value: &str) -> bool {
    const WORDS: [&str; 4] = ["password", "secret", "security", "token"];
    let folded = fold(value);
    // `${home}` in a text is no table.
    let is_table = folded.starts_with('{') || (folded.starts_with('[') && folded.contains('{'));
    // Keys of tables in it have nothing behind their `=` here: what matters is what these say.
    let mut keys = folded.split(['{', '[', ',']).filter_map(|part| {
        let (key, value) = part.split_once('=')?;
        (!value.trim().is_empty()).then_some(key.trim())
    });
    is_table
        && (WORDS.iter().any(|word| folded.contains(word))
            || keys.any(|key| SECRET_KEYS.contains(&key)))
}

/// The line as it may be shown: with nothing in it that could be a secret.
pub fn hide_secrets(line: &str) -> String {
    let trimmed = line.trim_start();
    let is_header = trimmed.starts_with('[') && !trimmed.contains(['"', '\'', '=']);
    if trimmed.is_empty() || trimmed.starts_with('#') || is_header {
        return line.to_owned();
    }
    let Some((key, value)) = line.split_once('=') else {
        // No key, no value: the middle of something, or no TOML at all.
        return HIDDEN.to_owned();
    };
    let known: Vec<&str> = SHOWN_KEYS.iter().chain(SECRET_KEYS).copied().collect();
    let shown = nearest(key, &known).is_some_and(|key| SHOWN_KEYS.contains(&key));
    // An address may carry a password, and so may a table on one line.
    let may_hide = value.contains('@') || is_table_with_secrets(value);
    match (shown && !may_hide) || value.trim().is_empty() {
        true => line.to_owned(),
        false => format!("{key}= {HIDDEN}"),
    }
}
