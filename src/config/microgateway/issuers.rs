//! `[[jwtTokenConfig]]`: whose JWTs are believed by their signature.

use std::path::Path;

use super::{
    gateway::{TrustStore, trust_store},
    native::Native,
    original::Original,
};
use crate::config::{keystore::Keystore, problem::Place, section::Placed};

const DEFAULT_ISSUER: &str = "https://localhost:9443/oauth2/token";
const DEFAULT_ALIAS: &str = "wso2apim310";
const DEFAULT_CLIENT: &str = "aud";

pub fn translate(original: &Original<'_>, native: &mut Native) {
    let mut next = 0;
    for issuer in tables(original) {
        if translate_one(original, native, &issuer, next) {
            next += 1;
        }
    }
}

/// Whether an issuer wants the clients of its tokens to have subscribed.
pub fn validate_subscriptions(original: &Original<'_>) -> bool {
    tables(original)
        .iter()
        .any(|table| original.is_on(&format!("{table}.validateSubscription")))
}

/// `jwtTokenConfig[0]` and so on.
fn tables(original: &Original<'_>) -> Vec<String> {
    let mut tables: Vec<String> = Vec::new();
    for found in &original.values {
        if let Some((table, _)) = found.path.split_once("].")
            && table.starts_with("jwtTokenConfig[")
        {
            let table = format!("{table}]");
            if !tables.contains(&table) {
                tables.push(table);
            }
        }
    }
    tables
}

/// `false`: it cannot be carried, which is told.
fn translate_one(
    original: &Original<'_>,
    native: &mut Native,
    from: &str,
    position: usize,
) -> bool {
    let given = |key: &str, default: &str| {
        original.text(&format!("{from}.{key}")).unwrap_or(Placed {
            value: default.to_owned(),
            place: Place::Nowhere,
        })
    };
    let to = format!("jwt_issuer[{position}]");
    let issuer = given("issuer", DEFAULT_ISSUER);
    let keys = original.text(&format!("{from}.jwksURL"));
    let alias = given("certificateAlias", DEFAULT_ALIAS);
    if keys.is_none() && !has_certificate(original, &alias, &issuer) {
        let why =
            "there is no such certificate in the trust store: JWTs of this issuer are asked about";
        original.drop_all(from, why);
        return false;
    }
    native.text(&format!("{to}.issuer"), issuer.value, &issuer.place);
    let has_tls = keys
        .as_ref()
        .is_none_or(|url| url.value.starts_with("https:"));
    if let Some(url) = &keys {
        native.text(&format!("{to}.jwks_url"), url.value.clone(), &url.place);
    }
    if has_tls {
        let store = ["trust_store_file", "trust_store_password"];
        trust_store(original, native, &to, store);
    }
    if keys.is_none() {
        let key = format!("{to}.certificate_alias");
        native.text(&key, alias.value, &alias.place);
    }
    if let Some(audience) = original.texts(&format!("{from}.audience")) {
        native.texts(&format!("{to}.audience"), audience.value, &audience.place);
    }
    let client = given("consumerKeyClaim", DEFAULT_CLIENT);
    native.text(
        &format!("{to}.client_id_claim"),
        client.value,
        &client.place,
    );
    if let Some(Placed { value, place }) = original.flag(&format!("{from}.validateSubscription")) {
        native.flag(&format!("{to}.validate_subscriptions"), value, &place);
    }
    if let Some(Placed { value: true, place }) =
        original.flag("keyManager.enableIntrospectForFailedJWT")
    {
        native.text(&format!("{to}.introspect"), "failed", &place);
    }
    true
}

/// Whether the certificate is where it is said to be. A store that cannot be opened is told where it is
/// read; one without this certificate is what the original comes with, once its stores are replaced.
fn has_certificate(
    original: &Original<'_>,
    alias: &Placed<String>,
    issuer: &Placed<String>,
) -> bool {
    let Some(TrustStore { file, password }) = TrustStore::of(original) else {
        let what = format!(
            "there is no trust store with the certificate of {:?}: its JWTs are asked about like other tokens",
            issuer.value
        );
        original.warn(
            &alias.place,
            what,
            "set listenerConfig.trustStorePath, or `jwksURL`",
        );
        return false;
    };
    let folder = Path::new(&original.source.name).parent();
    let path = folder.unwrap_or(Path::new("")).join(&file.value);
    let Ok(store) = Keystore::open(&path, &password.value) else {
        return true;
    };
    match store.certificate(&alias.value) {
        Ok(_) => true,
        Err(fault) => {
            let what = format!(
                "{} {fault}: JWTs of {:?} are asked about like other tokens",
                file.value, issuer.value
            );
            original.warn(&alias.place, what, "`certificateAlias` names one of them");
            false
        }
    }
}
