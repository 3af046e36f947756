//! `[keyManager]` and the tables below it, as the seed document has them.

use std::time::Duration;

use http::{Uri, uri::Scheme};

use super::{
    check::Context,
    problem::Place,
    secret::{self, SecretKeys},
    section::{Names, Placed, Section},
    settings::{CredentialEncoding, CredentialSettings, KeyManagerSettings},
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads the key manager; `None` when there is none, or none that can be used.
pub fn read(root: &mut Section<'_>, context: &Context<'_>) -> Option<KeyManagerSettings> {
    // The original's file spells one table `[keyManager]` and `[keymanager.security.basic]`.
    let mut section = root.optional_loose_section("keyManager")?;
    let url = introspect_url(&mut section);
    let timeout = timeout(&mut section);
    let token_type_hint = section.text("tokenTypeHint").map(|hint| hint.value);
    let mut security = section.section("security");
    let loopback = url.as_ref().is_some_and(is_loopback);
    let credential = credential(&mut security, loopback, context);
    security.finish();
    let place = section.place.clone();
    if let Some(url) = &url {
        warn_of_risks(&section, &place, url, &credential);
    }
    section.finish();
    let url = url?;
    Some(KeyManagerSettings {
        name: url.authority()?.to_string(),
        introspect_url: url,
        timeout,
        token_type_hint,
        credential: credential?,
    })
}

/// `{serverUrl}/{tokenContext}/introspect`, or `introspectUrl` as it is.
fn introspect_url(section: &mut Section<'_>) -> Option<Uri> {
    let whole = section.text("introspectUrl");
    let server = section.text("serverUrl");
    let token_context = section.text("tokenContext");
    let Placed { value, place } = match (whole, server) {
        (Some(_), Some(server)) => {
            section.error(
                &server.place,
                "`serverUrl` and `introspectUrl` say the same thing twice",
                "keep `introspectUrl` if the path is not /oauth2/introspect",
            );
            return None;
        }
        (Some(whole), None) => whole,
        (None, Some(server)) => {
            let context = token_context.map_or_else(|| "oauth2".to_owned(), |text| text.value);
            Placed {
                value: format!(
                    "{}/{}/introspect",
                    server.value.trim_end_matches('/'),
                    context.trim_matches('/')
                ),
                place: server.place,
            }
        }
        (None, None) => {
            section.error(
                &section.place.clone(),
                "the key manager has no address",
                "set `serverUrl`, or `introspectUrl` for the whole address",
            );
            return None;
        }
    };
    match parse_url(&value) {
        Ok(url) => Some(url),
        Err(hint) => {
            section.error(&place, "this is not the address of a key manager", hint);
            None
        }
    }
}

/// An absolute http or https address without user, query or fragment.
pub fn parse_url(text: &str) -> Result<Uri, &'static str> {
    const HINT: &str = "write https://host, https://host:port or http://host:port";
    if text.contains('#') {
        return Err("leave out the part from `#` on");
    }
    let url: Uri = text.parse().map_err(|_| HINT)?;
    let scheme = url.scheme().ok_or(HINT)?;
    if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
        return Err(HINT);
    }
    let authority = url.authority().ok_or(HINT)?;
    if authority.host().is_empty() || authority.as_str().ends_with(':') {
        return Err(HINT);
    }
    if authority.as_str().contains('@') {
        return Err("credentials do not go into an address");
    }
    Ok(url)
}

fn timeout(section: &mut Section<'_>) -> Duration {
    let Some(Placed { value, place }) = section.duration("timeout") else {
        return DEFAULT_TIMEOUT;
    };
    if value.is_zero() || value > LONGEST_TIMEOUT {
        section.error(
            &place,
            "`timeout` is out of range",
            "write a time between \"1ms\" and \"60s\"; clients wait for it",
        );
    }
    value
}

/// The enabled scheme; `None` when it cannot be used (which is then reported).
fn credential(
    security: &mut Section<'_>,
    loopback: bool,
    context: &Context<'_>,
) -> Option<CredentialSettings> {
    refuse_oauth2(security);
    let Some(mut basic) = security.optional_section("basic") else {
        return Some(CredentialSettings::None);
    };
    let enabled = basic.boolean("enabled").is_none_or(|value| value.value);
    let username = basic.text("username");
    let password = secret::read(&mut basic, SecretKeys::PASSWORD, context);
    let encoding = encoding(&mut basic);
    let result = match (enabled, username, password) {
        (false, ..) => Some(CredentialSettings::None),
        (true, Some(username), Some(password)) => {
            if !loopback && username.value == "admin" && password.value.expose() == "admin" {
                basic.warn(
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
        (true, username, password) => {
            if username.is_none() {
                basic.missing("username", "the gateway's name at the key manager");
            }
            // A secret that is given and cannot be read has its own problem already.
            if password.is_none() && !SecretKeys::PASSWORD.any_given(&basic) {
                basic.missing(
                    "password",
                    "set `password_file`, `password_env` or `password`",
                );
            }
            None
        }
    };
    basic.finish();
    result
}

fn encoding(basic: &mut Section<'_>) -> CredentialEncoding {
    let Some(Placed { value, place }) = basic.text("credentialEncoding") else {
        return CredentialEncoding::Form;
    };
    match value.as_str() {
        "form" => CredentialEncoding::Form,
        "raw" => CredentialEncoding::Raw,
        _ => {
            basic.error(
                &place,
                "`credentialEncoding` is \"form\" or \"raw\"",
                "\"form\" is RFC 6749 §2.3.1 and the default",
            );
            CredentialEncoding::Form
        }
    }
}

/// The other schemes of the seed are known, and refused rather than passed over in silence.
fn refuse_oauth2(security: &mut Section<'_>) {
    let Some(mut oauth2) = security.optional_section("oauth2") else {
        return;
    };
    let place = oauth2.place.clone();
    if oauth2.boolean("enabled").is_some_and(|value| value.value) {
        oauth2.error(
            &place,
            "OAuth2 towards the key manager is not supported yet",
            "use [keymanager.security.basic]",
        );
    }
}

fn warn_of_risks(
    section: &Section<'_>,
    place: &Place,
    url: &Uri,
    credential: &Option<CredentialSettings>,
) {
    if url.scheme() == Some(&Scheme::HTTP) && !is_loopback(url) {
        section.warn(
            place,
            "tokens and credentials go to the key manager over plain http",
            "use https (RFC 7662 §4)",
        );
    }
    if matches!(credential, Some(CredentialSettings::None)) {
        section.warn(
            place,
            "the key manager is asked without credentials",
            "RFC 7662 §2.1 wants the endpoint protected: set [keymanager.security.basic]",
        );
    }
}

/// Whether the host is this machine.
pub fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl<'r> Section<'r> {
    /// A table that is found, and whose keys are compared, without regard to case and underscores.
    fn optional_loose_section(&mut self, key: &'static str) -> Option<Section<'r>> {
        self.with_loose_names(|root| root.optional_section(key))
            .map(|section| section.with_names(Names::Loose))
    }
}
