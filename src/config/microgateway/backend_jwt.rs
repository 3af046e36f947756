//! `[jwtGeneratorConfig]` and `[jwtConfig]`: JWTs of the gateway's own for upstreams.

use super::{
    gateway::{KEYSTORE, key_store, password},
    native::Native,
    original::Original,
};
use crate::config::{problem::Place, section::Placed};

const TABLE: &str = "jwtGeneratorConfig";
const DEFAULT_ISSUER: &str = "wso2.org/products/am";
const DEFAULT_AUDIENCE: &str = "http://org.wso2.apimgt/gateway";
const DEFAULT_ALIAS: &str = "ballerina";
/// Milliseconds.
const DEFAULT_LIFE: i64 = 900_000;
const LIVES: std::ops::RangeInclusive<i64> = 10_000..=24 * 3600 * 1000;

pub fn translate(original: &Original<'_>, native: &mut Native) {
    let Some(Placed { value: true, place }) =
        original.flag(&format!("{TABLE}.jwtGeneratorEnabled"))
    else {
        return;
    };
    if let Some(header) = original.text("jwtConfig.header") {
        native.text("backend_jwt.header", header.value, &header.place);
    }
    let issuer = original.text(&format!("{TABLE}.issuer"));
    let (issuer, issuer_place) = match issuer {
        Some(issuer) => (issuer.value, issuer.place),
        None => (DEFAULT_ISSUER.to_owned(), Place::Nowhere),
    };
    native.text("backend_jwt.issuer", issuer, &issuer_place);
    let (audience, audience_place) = match original.texts(&format!("{TABLE}.audience")) {
        Some(audience) => (audience.value, audience.place),
        None => {
            let usual = (DEFAULT_AUDIENCE.to_owned(), Place::Nowhere);
            (vec![usual], Place::Nowhere)
        }
    };
    native.texts("backend_jwt.audience", audience, &audience_place);
    if let Some(dialect) = original.text(&format!("{TABLE}.claimDialect")) {
        native.text("backend_jwt.claim_dialect", dialect.value, &dialect.place);
    }
    if let Some(claims) = original.texts(&format!("{TABLE}.restrictedClaims")) {
        native.texts("backend_jwt.restricted_claims", claims.value, &claims.place);
    }
    life(original, native);
    key(original, native, &place);
}

fn life(original: &Original<'_>, native: &mut Native) {
    let life = original.number(&format!("{TABLE}.tokenExpiry"));
    let Placed { value, place } = life.unwrap_or(Placed {
        value: DEFAULT_LIFE,
        place: Place::Nowhere,
    });
    let within = value.clamp(*LIVES.start(), *LIVES.end());
    if within != value {
        let what = format!("`tokenExpiry` is out of range: {within} is used");
        original.warn(&place, what, "milliseconds, from 10 seconds to 24 hours");
    }
    native.text("backend_jwt.expires_in", format!("{within}ms"), &place);
}

/// The key of the server's store that the alias names.
fn key(original: &Original<'_>, native: &mut Native, enabled: &Place) {
    if let Some(algorithm) = original.text(&format!("{TABLE}.signingAlgorithm"))
        && algorithm.value.eq_ignore_ascii_case("none")
    {
        original.warn(
            &algorithm.place,
            "JWTs without a signature are not made: they are signed",
            "who reads only the claims does not notice",
        );
        let path = format!("{TABLE}.signingAlgorithm");
        original.drop_all(
            &path,
            "JWTs without a signature are not made: they are signed",
        );
    }
    let Some(store) = key_store(original) else {
        let what = "there is no key store with a key that signs JWTs for upstreams";
        let hint = format!("set listenerConfig.keyStorePath; it is {KEYSTORE} in the original");
        original.error(enabled, what, hint);
        return;
    };
    native.text("backend_jwt.keystore_file", store.value, &store.place);
    password(
        original,
        native,
        "listenerConfig.keyStorePassword",
        "backend_jwt.keystore_password",
    );
    let alias = original.text(&format!("{TABLE}.privateKeyAlias"));
    let (alias, place) = match alias {
        Some(alias) => (alias.value, alias.place),
        None => (DEFAULT_ALIAS.to_owned(), Place::Nowhere),
    };
    native.text("backend_jwt.key_alias", alias, &place);
}
