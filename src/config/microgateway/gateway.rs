//! Listeners, limits, clocks, logs; and what the original serves beside APIs.

use std::path::Path;

use http::Uri;

use super::{
    native::{Native, Placed as Text},
    original::Original,
    values::GivenSecret,
};
use crate::config::{
    key_manager::parse_url,
    problem::Place,
    section::Placed,
    tree::{Table, Value},
};

pub const KEYSTORE: &str = "runtime/bre/security/ballerinaKeystore.p12";
const TRUST_STORE: &str = "runtime/bre/security/ballerinaTruststore.p12";
const DEFAULT_PASSWORD: &str = "ballerina";
const KEY_MANAGER: &str = "key-manager";

/// What the original answers where the key manager does not.
const KEY_MANAGER_FAILED: &str = "{\"error\":\"error occurred while invoking the token endpoint\"}";

/// What the key manager answers by way of the gateway: path and method.
const FORWARDED: [(&str, &str); 4] = [
    ("token", "POST"),
    ("revoke", "POST"),
    ("authorize", "GET"),
    ("userinfo", "GET"),
];

pub fn translate(original: &Original<'_>, native: &mut Native) {
    listeners(original, native);
    client_certificates(original, native);
    upstream_tls(original, native);
    sizes(original, native);
    native.text("errors.format", "wso2", &Place::Nowhere);
    if let Some(header) = original.text("server.header") {
        native.text("headers.response.set.Server", header.value, &header.place);
    }
    log(original, native);
    admin(original, native);
    health(native);
    forwarded(original, native);
}

fn listeners(original: &Original<'_>, native: &mut Native) {
    let host = original.text("listenerConfig.host");
    let host = match host.as_ref().map(|host| host.value.as_str()) {
        None => "0.0.0.0",
        Some("localhost") => "127.0.0.1",
        Some(host) => host,
    };
    let address = |key: &str, default: i64| {
        let port = original.number(key).unwrap_or(Placed {
            value: default,
            place: Place::Nowhere,
        });
        let host = match host.contains(':') {
            true => format!("[{host}]"),
            false => host.to_owned(),
        };
        (format!("{host}:{}", port.value), port.place)
    };
    let (http, place) = address("listenerConfig.httpPort", 9090);
    native.text("listen.http", http, &place);
    if certificate(original, native) {
        let mut https: Vec<Text> = vec![
            address("listenerConfig.httpsPort", 9095),
            address("listenerConfig.tokenListenerPort", 9096),
        ];
        https.dedup_by(|one, other| one.0 == other.0);
        let place = https[0].1.clone();
        native.texts("listen.https", https, &place);
    }
    let h2c = original.flag("http2.enable").unwrap_or(Placed {
        value: true,
        place: Place::Nowhere,
    });
    native.flag("listen.h2c", h2c.value, &h2c.place);
}

/// The server's key store; `false`: there is none.
fn certificate(original: &Original<'_>, native: &mut Native) -> bool {
    let Some(path) = key_store(original) else {
        original.warn(
            &Place::Nowhere,
            "there is no key store, so there is no https",
            "set listenerConfig.keyStorePath, or GW_HOME to the folder of the original",
        );
        return false;
    };
    if path.value.ends_with("ballerinaKeystore.p12") {
        original.warn(
            &path.place,
            "the key in this store came with the original: everybody has it",
            "make one of your own before anything else",
        );
    }
    native.text("listen.tls[0].keystore_file", path.value, &path.place);
    password(
        original,
        native,
        "listenerConfig.keyStorePassword",
        "listen.tls[0].keystore_password",
    );
    true
}

/// The file of the server's key store.
pub fn key_store(original: &Original<'_>) -> Option<Placed<String>> {
    let path = original.text("listenerConfig.keyStorePath");
    path.or_else(|| shipped(original, KEYSTORE))
}

/// A store that came with the original, where it is still there.
fn shipped(original: &Original<'_>, file: &str) -> Option<Placed<String>> {
    let value = format!("{}/{file}", original.home());
    let folder = Path::new(&original.source.name).parent()?;
    folder.join(&value).is_file().then_some(Placed {
        value,
        place: Place::Nowhere,
    })
}

/// Carries the password of a store.
pub fn password(original: &Original<'_>, native: &mut Native, from: &str, to: &str) {
    let password = password_of(original, from);
    let suggested = super::variable_for(from);
    native.secret(to, password, &suggested);
}

fn password_of(original: &Original<'_>, from: &str) -> GivenSecret {
    original.secret(from).unwrap_or(GivenSecret {
        value: DEFAULT_PASSWORD.to_owned(),
        place: Place::Nowhere,
        variable: None,
    })
}

/// Whom to trust, for everything but the listeners.
pub struct TrustStore {
    pub file: Placed<String>,
    pub password: GivenSecret,
}

impl TrustStore {
    pub fn of(original: &Original<'_>) -> Option<Self> {
        let path = original.text("listenerConfig.trustStorePath");
        Some(Self {
            file: path.or_else(|| shipped(original, TRUST_STORE))?,
            password: password_of(original, "listenerConfig.trustStorePassword"),
        })
    }
}

/// Writes whom to trust into a table of ours: the keys for the file and for its password.
pub fn trust_store(original: &Original<'_>, native: &mut Native, table: &str, keys: [&str; 2]) {
    let Some(store) = TrustStore::of(original) else {
        return;
    };
    let [file, key] = keys;
    let place = store.file.place;
    native.text(&format!("{table}.{file}"), store.file.value, &place);
    let suggested = super::variable_for("listenerConfig.trustStorePassword");
    native.secret(&format!("{table}.{key}"), store.password, &suggested);
}

fn client_certificates(original: &Original<'_>, native: &mut Native) {
    let Some(verify) = original.text("mutualSSLConfig.sslVerifyClient") else {
        return;
    };
    let mode = match verify.value.to_ascii_lowercase().as_str() {
        "require" | "required" => "required",
        "optional" => "optional",
        _ => {
            let what = "`sslVerifyClient` is \"optional\" or \"require\"";
            original.error(&verify.place, what, "");
            return;
        }
    };
    native.text("listen.client_certificates.mode", mode, &verify.place);
    trust_store(
        original,
        native,
        "listen.client_certificates",
        ["trust_store_file", "trust_store_password"],
    );
}

/// Whom to trust and what to show where APIs are served.
fn upstream_tls(original: &Original<'_>, native: &mut Native) {
    const FROM: &str = "httpClients.sslConfig";
    for (store, file) in [("keyStore", "keystore"), ("trustStore", "trust_store")] {
        if let Some(path) = original.text(&format!("{FROM}.{store}Path")) {
            native.text(
                &format!("upstream_tls.{file}_file"),
                path.value,
                &path.place,
            );
            let to = format!("upstream_tls.{file}_password");
            password(original, native, &format!("{FROM}.{store}Password"), &to);
        }
    }
}

fn sizes(original: &Original<'_>, native: &mut Native) {
    for (from, to, default, most) in [
        ("maxUriLength", "limits.max_uri_bytes", 4096, 64 << 10),
        ("maxHeaderSize", "limits.max_header_bytes", 8192, 512 << 10),
    ] {
        let size = original.number(&format!("listenerConfig.{from}"));
        let Placed { value, place } = size.unwrap_or(Placed {
            value: default,
            place: Place::Nowhere,
        });
        let within = value.clamp(256, most);
        if within != value {
            let what = format!("`{from}` is out of range: {within} is used");
            original.warn(&place, what, format!("between 256 and {most}"));
        }
        native.text(to, format!("{within}B"), &place);
    }
    let body = original.number("listenerConfig.maxEntityBodySize");
    let (value, place) = match body {
        Some(Placed { value, place }) if value >= 0 => (format!("{value}B"), place),
        Some(Placed { place, .. }) => ("unlimited".to_owned(), place),
        None => ("unlimited".to_owned(), Place::Nowhere),
    };
    native.text("limits.max_body_bytes", value, &place);
}

fn log(original: &Original<'_>, native: &mut Native) {
    let Some(level) = original.text("b7a.log.level") else {
        return;
    };
    let word = match level.value.to_ascii_uppercase().as_str() {
        "DEBUG" | "TRACE" | "ALL" => "debug",
        "WARN" => "warn",
        "ERROR" | "OFF" => "error",
        _ => "info",
    };
    native.text("log.level", word, &level.place);
}

fn admin(original: &Original<'_>, native: &mut Native) {
    const METRICS: &str = "b7a.observability.metrics";
    if !original.is_on(&format!("{METRICS}.enabled")) {
        return;
    }
    let port = original.number(&format!("{METRICS}.prometheus.port"));
    let port = port.unwrap_or(Placed {
        value: 9797,
        place: Place::Nowhere,
    });
    native.text(
        "admin.listen",
        format!("127.0.0.1:{}", port.value),
        &port.place,
    );
}

fn health(native: &mut Native) {
    let here = Place::Nowhere;
    let route = next_route(native);
    native.text(&format!("{route}.name"), "health", &here);
    native.text(&format!("{route}.path"), "/health", &here);
    native.texts(
        &format!("{route}.methods"),
        vec![("GET".to_owned(), here.clone())],
        &here,
    );
    native.flag(&format!("{route}.public"), true, &here);
    native.text(
        &format!("{route}.respond.body"),
        "{\"status\":\"healthy\"}",
        &here,
    );
    native.text(
        &format!("{route}.respond.content_type"),
        "application/json",
        &here,
    );
}

/// `/token` and the others, which clients ask the gateway for.
fn forwarded(original: &Original<'_>, native: &mut Native) {
    let (server, context) = server_and_context(original);
    // What is wrong with an address is told where it is read.
    let Ok(url) = parse_url(&server.value) else {
        return;
    };
    let Some(origin) = origin(&url) else { return };
    let upstream = format!("upstreams.{KEY_MANAGER}");
    native.texts(
        &format!("{upstream}.servers"),
        vec![(origin, server.place.clone())],
        &server.place,
    );
    if url.scheme_str() == Some("https") {
        trust_store(
            original,
            native,
            &format!("{upstream}.tls"),
            ["trust_store_file", "trust_store_password"],
        );
    }
    let base = url.path().trim_end_matches('/');
    let context = context.value.trim_matches('/').to_owned();
    for (name, method) in FORWARDED {
        let route = next_route(native);
        let here = &server.place;
        native.text(&format!("{route}.name"), name, here);
        native.text(&format!("{route}.path"), format!("/{name}/*"), here);
        native.texts(
            &format!("{route}.methods"),
            vec![(method.to_owned(), here.clone())],
            here,
        );
        native.flag(&format!("{route}.public"), true, here);
        native.text(&format!("{route}.upstream"), KEY_MANAGER, here);
        native.text(
            &format!("{route}.rewrite"),
            format!("{base}/{context}/{name}/*"),
            here,
        );
        native.flag(&format!("{route}.forward_token"), true, here);
        for (key, text) in [
            ("body", KEY_MANAGER_FAILED),
            ("content_type", "application/json"),
        ] {
            native.text(&format!("{route}.on_failure.{key}"), text, here);
        }
        native.number(&format!("{route}.on_failure.status"), 500, here);
    }
}

/// Where the key manager is, by default too.
pub fn server_and_context(original: &Original<'_>) -> (Placed<String>, Placed<String>) {
    let given = |path: &str, default: &str| {
        original.text(path).unwrap_or(Placed {
            value: default.to_owned(),
            place: Place::Nowhere,
        })
    };
    (
        given("keyManager.serverUrl", "https://localhost:9443"),
        given("keyManager.tokenContext", "oauth2"),
    )
}

/// Scheme and authority.
fn origin(url: &Uri) -> Option<String> {
    let (scheme, authority) = (url.scheme_str()?, url.authority()?);
    let port = match (url.port_u16(), scheme) {
        (Some(_), _) => String::new(),
        (None, "https") => ":443".to_owned(),
        (None, _) => ":80".to_owned(),
    };
    Some(format!("{scheme}://{authority}{port}"))
}

fn next_route(native: &Native) -> String {
    let count = |table: &Table| {
        let routes = table.entries.iter().find(|entry| entry.key == "route");
        match routes.map(|entry| &entry.node.value) {
            Some(Value::Array(routes)) => routes.len(),
            _ => 0,
        }
    };
    format!("route[{}]", count(&native.root))
}
