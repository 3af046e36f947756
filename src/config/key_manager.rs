//! One key manager: `[keyManager]` and the tables below it, as the seed document has them.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri, header, uri::Scheme};

use super::{
    check::Context,
    credential::{self, Surroundings},
    pem,
    problem::Place,
    secret,
    section::{Placed, Section},
    settings::{CredentialSettings, EndpointSettings, KeyManagerSettings},
};
use crate::domain::AskedAbout;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads one key manager; `None` when it cannot be used. `name`: that of one of several, as which the source
/// of subscriptions knows it, too, unless it says otherwise.
pub fn read(
    mut section: Section<'_>,
    context: &Context<'_>,
    name: Option<&str>,
    about: AskedAbout,
) -> Option<KeyManagerSettings> {
    let (endpoint, issuer) = endpoint(&mut section);
    let timeout = timeout(&mut section);
    let validate_subscriptions = section.boolean("validateSubscriptions");
    let known_as = known_as(&mut section, "knownAs");
    let token_type_hint = section.text("tokenTypeHint").map(|hint| hint.value);
    let extra_params = section.pairs("extraParams");
    let extra_headers = extra_headers(&mut section);
    let (tls, shows_certificate) = pem::read(&mut section, context);
    let mut security = section.section("security");
    let around = Surroundings {
        loopback: endpoint
            .as_ref()
            .is_some_and(|endpoint| is_loopback(endpoint.url())),
        discovers: matches!(endpoint, Some(EndpointSettings::DiscoveredFrom(_))),
        tls: &tls,
        shows_certificate,
        context,
    };
    let mut credential = credential::read(&mut security, &around);
    if let (Some(CredentialSettings::PrivateKeyJwt(jwt)), Some(issuer)) = (&mut credential, issuer)
    {
        // An assertion is meant for the issuer rather than for one of its endpoints.
        jwt.audience.get_or_insert(issuer);
    }
    security.finish();
    let place = section.place.clone();
    if let Some(endpoint) = &endpoint {
        warn_of_risks(
            &section,
            &place,
            endpoint.url(),
            &credential,
            shows_certificate,
        );
    }
    section.finish();
    let endpoint = endpoint?;
    Some(KeyManagerSettings {
        name: match name {
            Some(name) => name.to_owned(),
            None => endpoint.url().authority()?.to_string(),
        },
        about,
        endpoint,
        validate_subscriptions: validate_subscriptions.map(|validate| validate.value),
        known_as: known_as.or_else(|| name.map(str::to_owned)),
        timeout,
        token_type_hint,
        extra_params: extra_params.into_iter().map(|pair| pair.value).collect(),
        extra_headers,
        tls,
        credential: credential?,
    })
}

/// The name that a key manager or an issuer has at the source of subscriptions.
pub fn known_as(section: &mut Section<'_>, key: &'static str) -> Option<String> {
    let name = section.text(key)?;
    if name.value.is_empty() {
        let what = format!("`{key}` is empty");
        section.error(&name.place, what, "leave it out where there is only one");
        return None;
    }
    Some(name.value)
}

/// `issuer`, or an address; and the issuer as it is written.
fn endpoint(section: &mut Section<'_>) -> (Option<EndpointSettings>, Option<String>) {
    let Some(issuer) = section.text("issuer") else {
        return (introspect_url(section).map(EndpointSettings::At), None);
    };
    for key in ["serverUrl", "introspectUrl", "tokenContext"] {
        if let Some(other) = section.text(key) {
            section.error(
                &other.place,
                format!("`{key}` and `issuer` both say where to ask"),
                "keep one of them",
            );
        }
    }
    match parse_url(&issuer.value) {
        Ok(url) => (
            Some(EndpointSettings::DiscoveredFrom(url)),
            Some(issuer.value),
        ),
        Err(hint) => {
            section.error(&issuer.place, "this is not the address of an issuer", hint);
            (None, None)
        }
    }
}

fn extra_headers(section: &mut Section<'_>) -> Vec<(HeaderName, HeaderValue)> {
    const OURS: [HeaderName; 5] = [
        header::AUTHORIZATION,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::HOST,
        header::TRANSFER_ENCODING,
    ];
    let refusal = "this cannot be an extra header";
    secret::headers(section, "extraHeaders", &OURS, refusal)
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
                "set `serverUrl`, `introspectUrl` for the whole address, or `issuer`",
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

fn warn_of_risks(
    section: &Section<'_>,
    place: &Place,
    url: &Uri,
    credential: &Option<CredentialSettings>,
    shows_certificate: bool,
) {
    if url.scheme() == Some(&Scheme::HTTP) && !is_loopback(url) {
        section.warn(
            place,
            "tokens and credentials go to the key manager over plain http",
            "use https (RFC 7662 §4)",
        );
    }
    if matches!(credential, Some(CredentialSettings::None)) && !shows_certificate {
        section.warn(
            place,
            "the key manager is asked without credentials",
            "RFC 7662 §2.1 wants the endpoint protected; if that is done otherwise, say so by \
             [keymanager.security.none]",
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
