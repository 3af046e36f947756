//! A JWT the first time and after that: taking it apart, its signature by kind of key, and what it costs once it is in the token
//! cache, beside an opaque token.
//!
//! `cargo bench --bench jwt`. Keys and tokens are those of the unit tests, made by openssl and by RFC 7515.

use std::{hint::black_box, sync::Arc, time::Instant};

use divan::Bencher;
use portcullis::{
    auth::{Issuer, Issuers, TokenCache, Verifier},
    config::{Environment, Source, load_source},
    domain::{AccessToken, Expected, Jwt, JwtAlgorithm, KeySet, VerifyingKey},
    metrics::Metrics,
    telemetry::TraceContext,
};
use serde_json::{Value, json};

fn main() {
    divan::main();
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../src/domain/jwt/vectors.json")).expect("JSON")
}

fn token(name: &str) -> String {
    let vectors = vectors();
    vectors["tokens"][name]
        .as_str()
        .expect("a token")
        .to_owned()
}

fn keys() -> Vec<VerifyingKey> {
    let set = json!({ "keys": vectors()["keys"] }).to_string();
    KeySet::parse(set.as_bytes()).expect("a set of keys").keys
}

fn parse(token: &str) -> Jwt<'_> {
    Jwt::parse(AccessToken::parse(token.as_bytes()).expect("a token")).expect("a JWT")
}

fn expected() -> Expected {
    Expected {
        algorithms: JwtAlgorithm::ALL.map(|(algorithm, _)| algorithm).into(),
        kinds: ["jwt"].map(Box::from).into(),
        audience: Box::default(),
        client_id_claim: None,
    }
}

/// For every token that is not in the cache, where there are issuers.
#[divan::bench(args = ["opaque", "a.b.c", "RS256"])]
fn is_it_a_jwt(bencher: Bencher, name: &str) {
    let token = match name {
        "RS256" => token(name),
        other => other.to_owned(),
    };
    bencher.bench_local(|| {
        let token = AccessToken::parse(black_box(token.as_bytes())).expect("a token");
        Jwt::parse(token).is_some()
    });
}

#[divan::bench(args = ["RS256", "PS256", "RS512", "ES384"])]
fn signature(bencher: Bencher, name: &str) {
    let (token, keys) = (token(name), keys());
    let jwt = parse(&token);
    let algorithm = JwtAlgorithm::parse(name).expect("an algorithm");
    let key = keys.iter().find(|key| key.fits(algorithm)).expect("a key");
    assert!(jwt.is_signed_by(key, algorithm));
    bencher.bench_local(|| jwt.is_signed_by(black_box(key), algorithm));
}

#[divan::bench]
fn claims(bencher: Bencher) {
    let (token, expected) = (token("RS256"), expected());
    bencher
        .with_inputs(|| parse(&token))
        .bench_local_values(|jwt| jwt.into_grant(&expected, Arc::default()).is_ok());
}

/// The whole look-up of a token that was verified before.
#[divan::bench]
fn hit(bencher: Bencher) {
    let folder = std::env::temp_dir().join(format!("portcullis-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("keys.json");
    std::fs::write(&file, json!({ "keys": vectors()["keys"] }).to_string()).expect("a file");
    let text = format!(
        "[[jwt_issuer]]\nissuer = \"https://id.example\"\njwks_file = {:?}\n",
        file.display().to_string()
    );
    let settings = load_source(Source::memory(text), &Environment::default())
        .unwrap_or_else(|problems| panic!("{problems}"))
        .settings;
    std::fs::remove_dir_all(&folder).expect("the folder goes");
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let (issuer, _) = Issuer::new(&settings.jwt_issuers[0], &metrics);
    let verifier = Verifier::new(
        Vec::new(),
        Issuers::new(vec![issuer]),
        &settings.token_cache,
        &[7; 32],
        Arc::new(TokenCache::new(&settings.token_cache, Arc::clone(&metrics))),
        &metrics,
    );
    let token = token("RS256");
    let token = AccessToken::parse(token.as_bytes()).expect("a token");
    let now = Instant::now();
    let (key, known) = verifier.recall(token, None, now);
    assert!(known.is_none());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime
        .block_on(verifier.fetch(key, token, None, &TraceContext::NONE))
        .expect("the signature is good");
    bencher.bench_local(|| verifier.recall(black_box(token), None, now).1.is_some());
}
