//! Examples of the RFCs and of another library, and what attackers make of them.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};

use super::*;
use crate::domain::AccessToken;

const ISSUER: &str = "https://id.example";

/// RFC 7515 A.2.
const RSA: (&str, &str) = (
    r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
);

/// RFC 7515 A.3.
const P256: (&str, &str) = (
    r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
);

/// RFC 8037 A.4, whose payload is no JSON.
const ED25519: (&str, &str) = (
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
);

/// Keys and tokens that openssl has made.
fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn key_set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn one_key(jwk: &str) -> VerifyingKey {
    let jwk = serde_json::from_str(jwk).unwrap();
    key_set(&[jwk]).keys.remove(0)
}

pub fn parse(token: &str) -> Option<Jwt<'_>> {
    Jwt::parse(AccessToken::parse(token.as_bytes()).unwrap())
}

pub fn expected() -> Expected {
    Expected {
        algorithms: JwtAlgorithm::ALL.map(|(algorithm, _)| algorithm).into(),
        kinds: ["at+jwt", "jwt"].map(Box::from).into(),
        audience: Box::default(),
        client_id_claim: None,
    }
}

pub fn encode(value: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value)
}

/// A token with this header and these claims, and a signature of nothing.
pub fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}.AAAA", encode(header), encode(claims))
}

#[test]
fn the_examples_of_the_rfcs_are_good() {
    for ((jwk, token), algorithm) in [(RSA, JwtAlgorithm::Rs256), (P256, JwtAlgorithm::Es256)] {
        let jwt = parse(token).unwrap();
        assert_eq!(jwt.issuer(), "joe");
        assert_eq!(jwt.algorithm(&expected()), Ok(algorithm));
        assert!(jwt.is_signed_by(&one_key(jwk), algorithm));
        let grant = jwt.into_grant(&expected(), Arc::default()).unwrap();
        assert_eq!(grant.expires_at(), Some(1_300_819_380));
    }
    let (message, signature) = ED25519.1.rsplit_once('.').unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    let key = one_key(ED25519.0);
    assert!(key.verify(JwtAlgorithm::EdDsa, message.as_bytes(), &signature));
    assert!(!key.verify(JwtAlgorithm::EdDsa, b"another message", &signature));
}

#[test]
fn every_algorithm_is_understood_and_no_key_is_used_with_anothers() {
    let vectors = vectors();
    let keys = key_set(vectors["keys"].as_array().unwrap()).keys;
    for (name, token) in vectors["tokens"].as_object().unwrap() {
        let jwt = parse(token.as_str().unwrap()).unwrap();
        let right = match jwt.algorithm(&expected()) {
            Ok(algorithm) => keys
                .iter()
                .filter(|key| jwt.is_signed_by(key, algorithm))
                .count(),
            Err(fault) => {
                // HS256 is signed with the public key of the issuer as if it were a secret.
                assert_eq!(fault, JwtFault::Algorithm);
                assert!(["HS256", "none"].contains(&name.as_str()), "{name}");
                continue;
            }
        };
        // Signatures in DER are not those of RFC 7518 §3.4.
        assert_eq!(right, usize::from(!name.ends_with("-DER")), "{name}");
        // Whatever the header says, the key decides.
        for (other, word) in JwtAlgorithm::ALL {
            let as_other = keys.iter().any(|key| jwt.is_signed_by(key, other));
            assert_eq!(as_other, word == name, "{name} as {word}");
        }
    }
}

#[test]
fn what_is_changed_is_no_good() {
    let key = one_key(P256.0);
    let token = P256.1;
    let good =
        |token: &str| parse(token).is_some_and(|jwt| jwt.is_signed_by(&key, JwtAlgorithm::Es256));
    assert!(good(token));
    let (message, signature) = token.rsplit_once('.').unwrap();
    let claims = encode(r#"{"iss":"joe","exp":4102444800}"#);
    assert!(!good(&format!("eyJhbGciOiJFUzI1NiJ9.{claims}.{signature}")));
    // The last letter has two bits that say nothing: another spelling is another token.
    assert!(signature.ends_with('Q'));
    let twin = format!("{message}.{}R", &signature[..signature.len() - 1]);
    assert!(!good(&twin));
    for signature in ["", "AAAA", &signature[2..], &format!("{signature}==")] {
        assert!(!good(&format!("{message}.{signature}")), "{signature}");
    }
    // Zeros as both numbers once passed for a signature of everything (CVE-2022-21449).
    assert!(!good(&format!(
        "{message}.{}",
        BASE64_URL_SAFE_NO_PAD.encode([0; 64])
    )));
}

#[test]
fn only_allowed_algorithms_are_looked_at() {
    let narrow = Expected {
        algorithms: [JwtAlgorithm::Es256].into(),
        ..expected()
    };
    for alg in [
        "RS256", "none", "None", "NONE", "HS256", "es256", "ES256 ", "ES512", "", "dir",
    ] {
        let token = unsigned(&format!(r#"{{"alg":"{alg}"}}"#), r#"{"iss":"joe"}"#);
        let jwt = parse(&token).unwrap();
        assert_eq!(jwt.algorithm(&narrow), Err(JwtFault::Algorithm), "{alg}");
    }
    let token = unsigned(r#"{"alg":"Ed25519"}"#, r#"{"iss":"joe"}"#);
    let jwt = parse(&token).unwrap();
    assert_eq!(jwt.algorithm(&expected()), Ok(JwtAlgorithm::EdDsa));
}

#[test]
fn what_must_be_understood_is_not() {
    for header in [
        r#"{"alg":"ES256","crit":["exp"],"exp":1}"#,
        r#"{"alg":"ES256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"ES256","crit":[]}"#,
        r#"{"alg":"ES256","crit":null}"#,
    ] {
        let token = unsigned(header, r#"{"iss":"joe"}"#);
        let jwt = parse(&token).unwrap();
        assert_eq!(
            jwt.algorithm(&expected()),
            Err(JwtFault::Malformed),
            "{header}"
        );
    }
}

/// A token brings its own key along, or says where to get one: it is proved by the issuer's or not
/// at all.
#[test]
fn keys_in_headers_are_not_followed() {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let own = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
    let point = own.public_key().as_ref();
    let (x, y) = (&point[1..33], &point[33..]);
    let [x, y] = [x, y].map(|half| BASE64_URL_SAFE_NO_PAD.encode(half));
    let header = json!({
        "alg": "ES256", "jku": "https://evil.example/keys", "x5u": "https://evil.example/x",
        "jwk": { "kty": "EC", "crv": "P-256", "x": x, "y": y },
    });
    let claims = format!(r#"{{"iss":"{ISSUER}","exp":4102444800}}"#);
    let message = format!("{}.{}", encode(&header.to_string()), encode(&claims));
    let signature = own.sign(&random, message.as_bytes()).unwrap();
    let token = format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature));
    let jwt = parse(&token).unwrap();
    assert!(!jwt.is_signed_by(&one_key(P256.0), JwtAlgorithm::Es256));
    let point = VerifyingKey::elliptic(point).unwrap();
    assert!(jwt.is_signed_by(&point, JwtAlgorithm::Es256));
}

#[test]
fn a_token_is_no_jwt_because_of_its_dots() {
    let jwt = unsigned(r#"{"alg":"ES256"}"#, r#"{"iss":"joe"}"#);
    let (head, rest) = jwt.split_once('.').unwrap();
    let long = "a".repeat(8_000);
    for opaque in [
        "a.b.c",
        "1.2.3.4.5",
        "2YotnFZFEjr1zCsicMWpAA",
        "ya29.a0AfB_byC-1Kx.example",
        "v2.local.opaque-token_with.dots",
        "eyJ0b2tlbiI6MX0.eyJpc3MiOiJqb2UifQ.AAAA", // no `alg`
        &format!("{head}."),
        &format!("{head}.{rest}.AAAA"),
        &format!("{head}..AAAA"),
        &format!("{long}.{rest}"),
        &unsigned("{}", r#"{"iss":"joe"}"#),
        &unsigned(r#"{"alg":7}"#, r#"{"iss":"joe"}"#),
        &unsigned(r#"{"alg":"ES256","kid":7}"#, r#"{"iss":"joe"}"#),
        &unsigned(r#"{"alg":"ES256"}"#, "{}"),
        &unsigned(r#"{"alg":"ES256"}"#, r#"{"iss":["joe"]}"#),
        &unsigned(r#"{"alg":"ES256"}"#, r#"{"iss":"joe","iss":"ann"}"#),
        &unsigned(r#"{"alg":"none","alg":"ES256"}"#, r#"{"iss":"joe"}"#),
        // Nested: what is signed is another JWT.
        &unsigned(r#"{"alg":"ES256","cty":"JWT"}"#, &jwt),
        &unsigned("[]", r#"{"iss":"joe"}"#),
        &unsigned(&"[".repeat(5_000), r#"{"iss":"joe"}"#),
    ] {
        assert!(parse(opaque).is_none(), "{opaque}");
    }
    assert!(parse(&jwt).is_some());
}

#[test]
fn a_key_id_may_be_anything_and_means_nothing_but_itself() {
    for kid in [
        "../../etc/passwd",
        "' OR 1=1",
        "\\u0000",
        "\u{202e}",
        "a\\nb",
        "",
    ] {
        let header = format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
        let token = unsigned(&header, r#"{"iss":"joe"}"#);
        assert!(parse(&token).unwrap().key_id().is_some(), "{kid}");
    }
}

#[test]
fn keys_that_cannot_prove_anything_are_ignored() {
    let vectors = vectors();
    let good: Value = serde_json::from_str(P256.0).unwrap();
    let with = |name: &str, value: Value| {
        let mut jwk = good.clone();
        jwk[name] = value;
        jwk
    };
    let set = key_set(&[
        good.clone(),
        with("use", json!("sig")),
        with("key_ops", json!(["verify"])),
        with("alg", json!("ES256")),
        with("x5c", json!(["nonsense"])),
    ]);
    assert_eq!((set.keys.len(), set.ignored), (5, 0));
    let set = key_set(&[
        with("use", json!("enc")),
        with("key_ops", json!(["encrypt"])),
        with("alg", json!("ES384")),
        with("alg", json!("RS256")),
        with("alg", json!("none")),
        with("crv", json!("P-384")),
        with("crv", json!("secp256k1")),
        with("x", json!("AAAA")),
        with("x", json!(7)),
        with("y", Value::Null),
        json!({ "kty": "oct", "k": "c2VjcmV0" }),
        vectors["short"].clone(),
        json!({ "kty": "RSA", "n": vectors["keys"][0]["n"], "e": "AQ" }),
        json!({ "kty": "RSA", "n": vectors["keys"][0]["n"], "e": "AA" }),
        json!(null),
        json!([]),
    ]);
    assert_eq!((set.keys.len(), set.ignored), (0, 16));
}

#[test]
fn sets_of_keys_are_bounded() {
    let key: Value = serde_json::from_str(P256.0).unwrap();
    let many = json!({ "keys": vec![key; 65] }).to_string();
    for nonsense in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>", many.as_str()] {
        assert_eq!(
            KeySet::parse(nonsense.as_bytes()),
            Err(NotAKeySet),
            "{nonsense}"
        );
    }
}
