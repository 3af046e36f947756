//! `[[jwt_issuer]]`: whose JWTs are believed by their signature, and by which keys.

use std::time::Duration;

use http::{Uri, uri::Scheme};
use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer, public_key::PublicKey};

use super::{
    check::{Context, choice},
    key_manager::{is_loopback, known_as, parse_url},
    keystore::{IssuerTrust, issuer_trust},
    pem,
    problem::Place,
    secret::{find, read_bounded},
    section::{Placed, Section, nearest},
    settings::{Introspection, JwtIssuerSettings, KeySource, TlsSettings},
};
use crate::domain::{Expected, JwtAlgorithm, KeySet, VerifyingKey};

const DEFAULT_REFRESH: Duration = Duration::from_secs(600);
const DEFAULT_ALGORITHMS: [JwtAlgorithm; 5] = [
    JwtAlgorithm::Rs256,
    JwtAlgorithm::Ps256,
    JwtAlgorithm::Es256,
    JwtAlgorithm::Es384,
    JwtAlgorithm::EdDsa,
];
/// An access token of RFC 9068, or one of the many from before it.
const DEFAULT_KINDS: [&str; 2] = ["at+jwt", "jwt"];

/// Reads all issuers; those that cannot be used are reported. `can_ask`: there is a key manager.
pub fn read(
    root: &mut Section<'_>,
    context: &Context<'_>,
    can_ask: bool,
) -> Vec<JwtIssuerSettings> {
    let mut issuers: Vec<JwtIssuerSettings> = Vec::new();
    for mut section in root.sections("jwt_issuer") {
        let issuer = issuer(&mut section, context, can_ask);
        let place = section.place.clone();
        if let Some(issuer) = issuer {
            match issuers.iter().any(|other| other.issuer == issuer.issuer) {
                true => section.error(
                    &place,
                    "this issuer stands here twice",
                    "one table has all that is to be said of it",
                ),
                false => issuers.push(issuer),
            }
        }
        section.finish();
    }
    issuers
}

fn issuer(
    section: &mut Section<'_>,
    context: &Context<'_>,
    can_ask: bool,
) -> Option<JwtIssuerSettings> {
    let issuer = section.text("issuer").filter(|text| !text.value.is_empty());
    if let Some(issuer) = &issuer {
        section.label = format!("{} ({:?})", section.label, issuer.value);
    } else {
        section.missing("issuer", "as it stands in `iss` of its tokens");
    }
    let IssuerTrust { authorities, key } = issuer_trust(section, "ca_file", context);
    let keys = keys(section, issuer.as_ref(), key, context);
    let expected = Expected {
        algorithms: algorithms(section),
        kinds: kinds(section),
        audience: names(section, "audience"),
        client_id_claim: section
            .text("client_id_claim")
            .map(|claim| claim.value.into()),
    };
    let introspect = introspect(section, can_ask);
    let validate_subscriptions = section.boolean("validate_subscriptions");
    let known_as = known_as(section, "known_as");
    let refresh = refresh(section);
    Some(JwtIssuerSettings {
        issuer: issuer?.value,
        keys: keys?,
        expected,
        introspect,
        validate_subscriptions: validate_subscriptions.map(|validate| validate.value),
        known_as,
        refresh,
        tls: TlsSettings {
            authorities,
            client: None,
        },
    })
}

/// The one place where the keys are; by default where the issuer's metadata say.
fn keys(
    section: &mut Section<'_>,
    issuer: Option<&Placed<String>>,
    stored: Option<Placed<Option<CertificateDer<'static>>>>,
    context: &Context<'_>,
) -> Option<KeySource> {
    let url = section.text("jwks_url").filter(|url| !url.value.is_empty());
    let file = section.text("jwks_file");
    let certificate = section.text("certificate_file");
    let given: Vec<&Place> = [&url, &file, &certificate]
        .into_iter()
        .flatten()
        .map(|text| &text.place)
        .chain(stored.as_ref().map(|stored| &stored.place))
        .collect();
    if let [_, second, ..] = given[..] {
        section.error(
            second,
            "the keys are in two places",
            "keep one of `jwks_url`, `jwks_file`, `certificate_file` and `certificate_alias`",
        );
        return None;
    }
    if let Some(Placed { value, place }) = stored {
        return keys_of(section, &[value?], &place);
    }
    if let Some(file) = file {
        return key_set(section, &file, context);
    }
    if let Some(file) = certificate {
        return certificate_keys(section, &file, context);
    }
    let is_url = url.is_some();
    let address = url.as_ref().or(issuer)?;
    match parse_url(&address.value) {
        Ok(url) => {
            warn_of_plain_http(section, &url, &address.place);
            Some(match is_url {
                true => KeySource::At(url),
                false => KeySource::DiscoveredFrom(url),
            })
        }
        Err(hint) if is_url => {
            section.error(&address.place, "`jwks_url` is not an address", hint);
            None
        }
        Err(_) => {
            section.error(
                &address.place,
                "this issuer is no address, so its keys cannot be found by it",
                "set `jwks_url`, `jwks_file` or `certificate_file`",
            );
            None
        }
    }
}

fn warn_of_plain_http(section: &Section<'_>, url: &Uri, place: &Place) {
    if url.scheme() == Some(&Scheme::HTTP) && !is_loopback(url) {
        section.warn(
            place,
            "the issuer's keys come over plain http: who can change them on the way can make tokens",
            "use https",
        );
    }
}

fn key_set(
    section: &Section<'_>,
    file: &Placed<String>,
    context: &Context<'_>,
) -> Option<KeySource> {
    let path = find(&file.value, context);
    let told = |fault: &dyn std::fmt::Display| {
        let what = format!("no keys can be read from {}: {fault}", path.display());
        section.error(&file.place, what, "a JWK Set (RFC 7517)");
    };
    let text = read_bounded(&path).map_err(|fault| told(&fault)).ok()?;
    let set = KeySet::parse(text.as_bytes())
        .map_err(|fault| told(&fault))
        .ok()?;
    if set.keys.is_empty() {
        told(&"none of them can be used");
        return None;
    }
    Some(KeySource::Fixed(set.keys))
}

/// The keys of certificates, which are not looked at otherwise: no chain, no dates.
fn certificate_keys(
    section: &Section<'_>,
    file: &Placed<String>,
    context: &Context<'_>,
) -> Option<KeySource> {
    let certificates = pem::certificates(section, file, context)?;
    keys_of(section, &certificates, &file.place)
}

fn keys_of(
    section: &Section<'_>,
    certificates: &[CertificateDer<'_>],
    place: &Place,
) -> Option<KeySource> {
    let keys: Option<Vec<VerifyingKey>> = certificates.iter().map(|der| public_key(der)).collect();
    if keys.is_none() {
        section.error(
            place,
            "the certificate's key cannot be used",
            "RSA of 2048 bits or more, P-256, P-384 or Ed25519",
        );
    }
    keys.map(KeySource::Fixed)
}

fn public_key(certificate: &[u8]) -> Option<VerifyingKey> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let info = certificate.public_key();
    match info.parsed().ok()? {
        PublicKey::RSA(key) => VerifyingKey::rsa(key.modulus, key.exponent),
        PublicKey::EC(point) => VerifyingKey::elliptic(point.data()),
        PublicKey::Unknown(key) => VerifyingKey::ed25519(key),
        _ => None,
    }
}

fn algorithms(section: &mut Section<'_>) -> Box<[JwtAlgorithm]> {
    let Some(list) = section.texts("algorithms") else {
        return DEFAULT_ALGORITHMS.into();
    };
    if list.value.is_empty() {
        section.error(&list.place, "`algorithms` is empty", "leave it out");
    }
    let words = JwtAlgorithm::ALL.map(|(_, word)| word);
    let mut algorithms = Vec::new();
    for Placed { value, place } in list.value {
        match JwtAlgorithm::parse(&value) {
            Some(algorithm) => algorithms.push(algorithm),
            None => {
                let hint = match nearest(&value, &words) {
                    _ if value == "none" || value.starts_with("HS") => {
                        "a key that only the issuer has is what makes a token worth anything"
                            .to_owned()
                    }
                    Some(word) => format!("did you mean \"{word}\"?"),
                    None => format!("one of {}", words.join(", ")),
                };
                section.error(&place, format!("{value:?} cannot be allowed"), hint);
            }
        }
    }
    algorithms.into()
}

fn kinds(section: &mut Section<'_>) -> Box<[Box<str>]> {
    let kinds = names(section, "typ");
    if kinds.is_empty() {
        return DEFAULT_KINDS.map(Box::from).into();
    }
    kinds
        .iter()
        .map(|kind| kind.to_ascii_lowercase())
        .map(|kind| kind.strip_prefix("application/").unwrap_or(&kind).into())
        .collect()
}

fn names(section: &mut Section<'_>, key: &'static str) -> Box<[Box<str>]> {
    let Some(list) = section.texts(key) else {
        return Box::default();
    };
    if list.value.is_empty() || list.value.iter().any(|name| name.value.is_empty()) {
        section.error(&list.place, format!("`{key}` is empty"), "leave it out");
    }
    list.value
        .into_iter()
        .map(|name| name.value.into())
        .collect()
}

/// When the key manager is asked as well.
fn introspect(section: &mut Section<'_>, can_ask: bool) -> Introspection {
    let words = [
        ("never", Introspection::Never),
        ("also", Introspection::Also),
        ("failed", Introspection::Failed),
    ];
    let asks = choice(section, "introspect", &words).unwrap_or_default();
    if asks != Introspection::Never && !can_ask {
        section.error(
            &section.place,
            "there is no [keyManager] to ask about these tokens",
            "add one, or leave out `introspect`",
        );
    }
    asks
}

fn refresh(section: &mut Section<'_>) -> Duration {
    const SHORTEST: Duration = Duration::from_secs(10);
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    let Some(Placed { value, place }) = section.duration("refresh") else {
        return DEFAULT_REFRESH;
    };
    if !(SHORTEST..=LONGEST).contains(&value) {
        section.error(
            &place,
            "`refresh` is out of range",
            "between \"10s\" and \"24h\"; a key that is not known yet is asked for at once anyway",
        );
    }
    value
}
