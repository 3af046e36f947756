//! A token that may be a JWT, and a set of keys: any bytes. Nothing here is signed by anybody, so
//! nothing may be proved.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use portcullis::domain::{AccessToken, Expected, Jwt, JwtAlgorithm, KeySet};

/// A key of RFC 7515 A.3 that any set of the input stands beside.
const KEY: &str = r#"{"keys":[{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

fuzz_target!(|data: &[u8]| {
    // Up to the first line break a token, behind it a set of keys.
    let (token, keys) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[][..]),
    };
    if let Ok(set) = KeySet::parse(keys) {
        assert!(set.keys.len() + set.ignored <= 64);
        for key in &set.keys {
            assert!(
                JwtAlgorithm::ALL
                    .iter()
                    .any(|(algorithm, _)| key.fits(*algorithm)),
                "a key that fits nothing is not kept"
            );
        }
    }
    let Some(jwt) = AccessToken::parse(token).ok().and_then(Jwt::parse) else {
        return;
    };
    assert_eq!(token.iter().filter(|byte| **byte == b'.').count(), 2);
    let expected = Expected {
        algorithms: JwtAlgorithm::ALL.map(|(algorithm, _)| algorithm).into(),
        kinds: ["at+jwt", "jwt"].map(Box::from).into(),
        audience: Box::default(),
        client_id_claim: None,
    };
    let ours = KeySet::parse(KEY.as_bytes()).expect("a set of keys");
    if let Ok(algorithm) = jwt.algorithm(&expected) {
        assert!(
            !jwt.is_signed_by(&ours.keys[0], algorithm),
            "nobody signed this"
        );
    }
    let issuer = jwt.issuer().to_owned();
    if let Ok(grant) = jwt.into_grant(&expected, Arc::default()) {
        assert!(grant.expires_at().is_some());
        assert_eq!(grant.issuer(), Some(issuer.as_str()));
        assert!(!grant.is_withdrawn());
        for (name, _) in grant.claims().iter() {
            assert!(grant.claims().header(name).is_some());
        }
    }
});
