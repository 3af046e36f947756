//! Lines of a configuration as they may be shown: without what could be a secret.

use super::section::nearest;

/// Keys whose values may be shown, and what is misspelt but nearer to one of them than to a secret's.
/// Everything else is taken for a secret: a table on one line, a part of a longer text.
const SHOWN_KEYS: &[&str] = &[
    "access",
    "allowlongttl",
    "anyscope",
    "apitier",
    "audience",
    "authorizationheader",
    "balance",
    "basepath",
    "basetime",
    "burst",
    "by",
    "cafile",
    "certfile",
    "certificatealias",
    "challenge",
    "clientid",
    "compression",
    "connect",
    "consecutivefailures",
    "contenttype",
    "credentialbearer",
    "credentialencoding",
    "defaultlife",
    "defaulttier",
    "disablesslverification",
    "drainlimit",
    "drainnotice",
    "enabled",
    "enableintrospectforfailedjwt",
    "enablelegacymode",
    "endpoint",
    "endwithtoken",
    "expectedstatus",
    "format",
    "forwardtoken",
    "h2c",
    "handshaketimeout",
    "hashkey",
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
    "interval",
    "introspecturl",
    "issuer",
    "jwksurl",
    "keyalias",
    "keyfile",
    "keyid",
    "keymanageroutage",
    "keystorefile",
    "keystorepath",
    "level",
    "listen",
    "maxage",
    "maxbodybytes",
    "maxbytes",
    "maxconnections",
    "maxconnectionsperaddress",
    "maxentries",
    "maxheaderbytes",
    "maxheaders",
    "listurl",
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
    "refreshurl",
    "remove",
    "requests",
    "resolveinterval",
    "respond",
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
    "tokentypehint",
    "tokenurl",
    "total",
    "trustedproxies",
    "truststorefile",
    "truststorepath",
    "unhealthyafter",
    "upgradesocket",
    "upstream",
    "upstreampath",
    "topic",
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
    // An address may carry a password.
    match (shown && !value.contains('@')) || value.trim().is_empty() {
        true => line.to_owned(),
        false => format!("{key}= {HIDDEN}"),
    }
}
