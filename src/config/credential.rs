//! `[keymanager.security.…]`: how the gateway proves itself to the key manager. Exactly one scheme.
//!
//! The original lets the first of several schemes win, and `basic` is on unless it is switched off,
//! so that an OAuth2 set-up can be ignored in silence. Here two schemes are a mistake that names
//! both places.

use super::{
    check::Context,
    oauth2, pem,
    problem::Place,
    secret::{self, SecretKeys},
    section::{Placed, Section},
    settings::{CredentialEncoding, CredentialSettings, PrivateKeyJwtSettings, TlsSettings},
};

use crate::domain::Secret;

/// A scheme that is switched on, and where.
pub struct Enabled {
    name: &'static str,
    place: Place,
    /// `None` when it cannot be used, which is reported.
    settings: Option<CredentialSettings>,
}

/// What the schemes need to know beside their tables.
pub struct Surroundings<'a> {
    pub loopback: bool,
    pub discovers: bool,
    pub tls: &'a TlsSettings,
    /// A client certificate is configured, whether it can be used or not.
    pub shows_certificate: bool,
    pub context: &'a Context<'a>,
}

/// The one scheme that is enabled; `None` when it cannot be used (which is reported).
pub fn read(security: &mut Section<'_>, around: &Surroundings<'_>) -> Option<CredentialSettings> {
    let schemes = [
        none(security),
        basic(security, around),
        secret_post(security, around),
        private_key_jwt(security, around),
        tls_client_auth(security, around),
        oauth2::read(security, around),
    ];
    let mut enabled = schemes.into_iter().flatten();
    let Some(first) = enabled.next() else {
        return Some(CredentialSettings::None);
    };
    if let Some(other) = enabled.next() {
        let hint = match first.name {
            "basic" => "basic is on unless it says `enabled = false`",
            _ => "say `enabled = false` in one of them",
        };
        let what = format!("`{}` and `{}` are both enabled", first.name, other.name);
        for place in [&first.place, &other.place] {
            security.error(place, what.as_str(), hint);
        }
        return None;
    }
    first.settings
}

/// A table that is a scheme; the original's `enabled`, with its default for this table.
pub fn scheme<'r>(
    security: &mut Section<'r>,
    name: &'static str,
    default: bool,
) -> Option<(Section<'r>, bool)> {
    let mut section = security.optional_section(name)?;
    let enabled = section.boolean("enabled");
    if enabled.is_none() && !default && !section.was_given("enabled") {
        section.warn(
            &section.place.clone(),
            format!("`{name}` stands here, but is not enabled"),
            "say `enabled = true` or `enabled = false`",
        );
    }
    if !section.was_given("enabled") {
        section.misspelt("enabled");
    }
    let enabled = enabled.map_or(default, |enabled| enabled.value);
    Some((section, enabled))
}

pub fn finish(
    section: Section<'_>,
    name: &'static str,
    settings: Option<CredentialSettings>,
) -> Option<Enabled> {
    let place = section.place.clone();
    section.finish();
    Some(Enabled {
        name,
        place,
        settings,
    })
}

/// `[keymanager.security.none]`: that the key manager asks for nothing is meant.
fn none(security: &mut Section<'_>) -> Option<Enabled> {
    let (section, enabled) = scheme(security, "none", true)?;
    enabled
        .then(|| finish(section, "none", Some(CredentialSettings::NoneNeeded)))
        .flatten()
}

fn basic(security: &mut Section<'_>, around: &Surroundings<'_>) -> Option<Enabled> {
    let (mut section, enabled) = scheme(security, "basic", true)?;
    if !enabled {
        return None;
    }
    let username = section.text("username");
    let password = secret::read(&mut section, SecretKeys::PASSWORD, around.context);
    let encoding = encoding(&mut section);
    let settings = match (username, password) {
        (Some(username), Some(password)) => {
            if !around.loopback && username.value == "admin" && password.value.expose() == "admin" {
                section.warn(
                    &password.place,
                    "admin/admin is the password that everybody tries first",
                    "give the gateway an account of its own, which may introspect and no more",
                );
            }
            Some(CredentialSettings::Basic {
                username: username.value,
                password: password.value,
                encoding,
            })
        }
        _ => {
            section.missing("username", "the gateway's name at the key manager");
            missing_secret(&section, SecretKeys::PASSWORD);
            None
        }
    };
    finish(section, "basic", settings)
}

fn secret_post(security: &mut Section<'_>, around: &Surroundings<'_>) -> Option<Enabled> {
    let (mut section, enabled) = scheme(security, "clientSecretPost", true)?;
    if !enabled {
        return None;
    }
    let client_id = given(&mut section, "clientId");
    let client_secret = given_secret(&mut section, SecretKeys::CLIENT_SECRET, around);
    let settings = client_id
        .zip(client_secret)
        .map(
            |(client_id, client_secret)| CredentialSettings::SecretPost {
                client_id,
                client_secret,
            },
        );
    finish(section, "clientSecretPost", settings)
}

fn private_key_jwt(security: &mut Section<'_>, around: &Surroundings<'_>) -> Option<Enabled> {
    const KEY: SecretKeys = SecretKeys {
        inline: "key",
        file: "keyFile",
        variable: "keyEnv",
    };
    let (mut section, enabled) = scheme(security, "privateKeyJwt", true)?;
    if !enabled {
        return None;
    }
    let client_id = given(&mut section, "clientId");
    let key_id = section.text("keyId").map(|text| text.value);
    let audience = section.text("audience").map(|text| text.value);
    let key = given_secret(&mut section, KEY, around);
    let key = key.and_then(|pem| pem::signing_key(&section, &pem));
    let settings = client_id.zip(key).map(|(client_id, key)| {
        CredentialSettings::PrivateKeyJwt(PrivateKeyJwtSettings {
            client_id,
            key,
            key_id,
            audience,
        })
    });
    finish(section, "privateKeyJwt", settings)
}

fn tls_client_auth(security: &mut Section<'_>, around: &Surroundings<'_>) -> Option<Enabled> {
    let (mut section, enabled) = scheme(security, "tlsClientAuth", true)?;
    if !enabled {
        return None;
    }
    let client_id = given(&mut section, "clientId");
    if around.tls.client.is_none() && !around.shows_certificate {
        section.error(
            &section.place.clone(),
            "`tlsClientAuth` has no certificate to show",
            "set `certFile` and `keyFile` in [keymanager.tls]",
        );
    }
    let settings = client_id.map(|client_id| CredentialSettings::TlsClientAuth { client_id });
    finish(section, "tlsClientAuth", settings)
}

pub fn encoding(section: &mut Section<'_>) -> CredentialEncoding {
    let Some(Placed { value, place }) = section.text("credentialEncoding") else {
        return CredentialEncoding::Form;
    };
    match value.as_str() {
        "form" => CredentialEncoding::Form,
        "raw" => CredentialEncoding::Raw,
        _ => {
            section.error(
                &place,
                "`credentialEncoding` is \"form\" or \"raw\"",
                "\"form\" is RFC 6749 §2.3.1 and the default",
            );
            CredentialEncoding::Form
        }
    }
}

/// A string that must be there and not empty.
pub fn given(section: &mut Section<'_>, key: &'static str) -> Option<String> {
    match section.text(key) {
        Some(text) if text.value.is_empty() => {
            section.error(&text.place, format!("`{key}` is empty"), "");
            None
        }
        Some(text) => Some(text.value),
        None => {
            section.missing(key, "");
            None
        }
    }
}

/// A secret that must be there and not empty.
pub fn given_secret(
    section: &mut Section<'_>,
    keys: SecretKeys,
    around: &Surroundings<'_>,
) -> Option<Secret> {
    match secret::read(section, keys, around.context) {
        Some(secret) if secret.value.expose().is_empty() => {
            section.error(&secret.place, format!("`{}` is empty", keys.inline), "");
            None
        }
        Some(secret) => Some(secret.value),
        None => {
            missing_secret(section, keys);
            None
        }
    }
}

/// A secret that is given and cannot be read has its own problem already.
pub fn missing_secret(section: &Section<'_>, keys: SecretKeys) {
    if !keys.any_given(section) {
        let hint = format!(
            "set `{}`, `{}` or `{}`",
            keys.file, keys.variable, keys.inline
        );
        section.missing(keys.inline, &hint);
    }
}
