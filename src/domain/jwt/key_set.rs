//! A JWK Set (RFC 7517 §5): the keys that an issuer publishes.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;

use super::{JwtAlgorithm, VerifyingKey};

/// Most keys that are looked at; issuers have two or three.
const MAX_KEYS: usize = 64;

/// Those keys of a set that can prove something here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    pub keys: Vec<VerifyingKey>,
    /// Of kinds that are not known, too short, for something else, or broken.
    pub ignored: usize,
}

/// The document is no JWK Set, or has more keys than any issuer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAKeySet;

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// The members of RFC 7517 §4 and RFC 7518 §6 that public keys have. Certificates beside the key
/// (`x5c`, `x5u`) are not looked at.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// # Errors
    /// [`NotAKeySet`]. A key that cannot be used is no error: it is ignored (RFC 7517 §5).
    pub fn parse(json: &[u8]) -> Result<Self, NotAKeySet> {
        let document: Document = serde_json::from_slice(json).map_err(|_| NotAKeySet)?;
        if document.keys.len() > MAX_KEYS {
            return Err(NotAKeySet);
        }
        let all = document.keys.len();
        let keys: Vec<VerifyingKey> = document.keys.into_iter().filter_map(key).collect();
        let ignored = all - keys.len();
        Ok(Self { keys, ignored })
    }
}

impl fmt::Display for NotAKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this is not a JWK Set of at most {MAX_KEYS} keys")
    }
}

fn key(value: Value) -> Option<VerifyingKey> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let signs = jwk.usage.as_deref().is_none_or(|usage| usage == "sig");
    let verifies = jwk
        .key_ops
        .as_ref()
        .is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
    if !signs || !verifies {
        return None;
    }
    // A key that is for an algorithm which is not known here is not for those that are.
    let only = match &jwk.alg {
        Some(word) => Some(JwtAlgorithm::parse(word)?),
        None => None,
    };
    let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => VerifyingKey::rsa(&number(&jwk.n)?, &number(&jwk.e)?),
        ("EC", Some("P-256")) => point(&jwk, 32),
        ("EC", Some("P-384")) => point(&jwk, 48),
        ("OKP", Some("Ed25519")) => VerifyingKey::ed25519(&number(&jwk.x)?),
        _ => None,
    }?;
    let key = key.named(jwk.kid.map(Into::into), only);
    only.is_none_or(|only| key.fits(only)).then_some(key)
}

/// Both coordinates have their full length (RFC 7518 §6.2.1.2).
fn point(jwk: &Jwk, length: usize) -> Option<VerifyingKey> {
    let (x, y) = (number(&jwk.x)?, number(&jwk.y)?);
    let whole = x.len() == length && y.len() == length;
    whole
        .then(|| [&[4][..], &x, &y].concat())
        .and_then(|point| VerifyingKey::elliptic(&point))
}

fn number(text: &Option<String>) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text.as_ref()?).ok()
}
