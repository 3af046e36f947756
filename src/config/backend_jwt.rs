//! `[backend_jwt]`: JWTs of the gateway's own for upstreams.

use std::time::Duration;

use http::HeaderName;
use rustls::pki_types::PrivateKeyDer;

use super::{
    check::Context,
    keystore, pem,
    secret::{self, SecretKeys},
    section::{Placed, Section},
};
use crate::domain::{BackendJwt, SigningKey, Way, is_untouchable};

const DEFAULT_HEADER: HeaderName = HeaderName::from_static("x-jwt-assertion");
const DEFAULT_DIALECT: &str = "http://wso2.org/claims";
const DEFAULT_LIFE: Duration = Duration::from_secs(900);
const KEY: SecretKeys = SecretKeys {
    inline: "key",
    file: "key_file",
    variable: "key_env",
};

/// Reads the table; `None` when there is none, or none that can be used.
pub fn read(root: &mut Section<'_>, context: &Context<'_>) -> Option<BackendJwt> {
    let mut section = root.optional_section("backend_jwt")?;
    let header = header(&mut section);
    let issuer = section.text("issuer").filter(|text| !text.value.is_empty());
    if issuer.is_none() {
        section.missing("issuer", "`iss` of the JWTs, as upstreams know it");
    }
    let audience = names(&mut section, "audience");
    let restricted = names(&mut section, "restricted_claims");
    let dialect = section.text("claim_dialect");
    let dialect = dialect.map_or_else(|| DEFAULT_DIALECT.to_owned(), |text| text.value);
    let key_id = section.text("key_id").map(|text| text.value.into());
    let life = life(&mut section);
    let key = key(&mut section, context);
    section.finish();
    Some(BackendJwt {
        header: header?,
        issuer: issuer?.value.into(),
        audience,
        dialect: dialect.trim_end_matches('/').into(),
        life,
        restricted,
        key: key?,
        key_id,
    })
}

/// The private key that signs: PEM, or from a key store.
fn key(section: &mut Section<'_>, context: &Context<'_>) -> Option<SigningKey> {
    let pem = secret::read(section, KEY, context);
    let stored = keystore::identity(section, keystore::IDENTITY, context);
    match (pem, stored) {
        (Some(pem), Some(_)) => {
            section.error(
                &pem.place,
                "a PEM file and a key store both say which key signs",
                "keep `key_file`, or `keystore_file`",
            );
            None
        }
        (Some(pem), None) => pem::signing_key(section, &pem.value),
        (None, Some(stored)) => {
            let stored = stored?;
            let key = match &stored.certificate.key {
                PrivateKeyDer::Pkcs8(der) => SigningKey::from_pkcs8(der.secret_pkcs8_der()),
                _ => None,
            };
            if key.is_none() {
                section.error(
                    &stored.file.place,
                    "the key of this store cannot sign",
                    "RSA of 2048 bits or more, P-256 or Ed25519",
                );
            }
            key
        }
        (None, None) => {
            if !KEY.any_given(section) {
                let hint = "the private key that signs, PEM; or `keystore_file`";
                section.missing("key_file", hint);
            }
            None
        }
    }
}

fn header(section: &mut Section<'_>) -> Option<HeaderName> {
    let Some(Placed { value, place }) = section.text("header") else {
        return Some(DEFAULT_HEADER);
    };
    let name = value.parse::<HeaderName>().ok();
    let name = name.filter(|name| !is_untouchable(name, Way::Request));
    if name.is_none() {
        section.error(
            &place,
            format!("{value:?} cannot be the header"),
            "for instance \"X-JWT-Assertion\"",
        );
    }
    name
}

fn names(section: &mut Section<'_>, key: &'static str) -> Box<[Box<str>]> {
    let list = section
        .texts(key)
        .map(|list| list.value)
        .unwrap_or_default();
    list.into_iter().map(|name| name.value.into()).collect()
}

fn life(section: &mut Section<'_>) -> Duration {
    const SHORTEST: Duration = Duration::from_secs(10);
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    let Some(Placed { value, place }) = section.duration("expires_in") else {
        return DEFAULT_LIFE;
    };
    if !(SHORTEST..=LONGEST).contains(&value) {
        section.error(
            &place,
            "`expires_in` is out of range",
            "between \"10s\" and \"24h\"",
        );
    }
    value
}
