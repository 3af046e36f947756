//! JWTs that are judged by their signature, beside opaque tokens.

use std::{
    collections::HashMap,
    io::Write,
    net::SocketAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use portcullis::demo::Reply;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};

use crate::support::{Harness, ROUTES, RawServer, free_port, local, read_head, wait_for};

/// An issuer with keys by their names, and a server that publishes those it is told to.
pub struct Issuer {
    address: SocketAddr,
    keys: HashMap<&'static str, Pair>,
    published: Arc<Mutex<Published>>,
}

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

struct Published {
    status: u16,
    body: String,
    asked: HashMap<String, usize>,
}

impl Issuer {
    pub fn start() -> Self {
        let random = SystemRandom::new();
        let p256 = || {
            let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            Pair::P256(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap())
        };
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let ed25519 = Pair::Ed25519(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap());
        let keys = HashMap::from([("one", p256()), ("two", p256()), ("ed", ed25519)]);
        let published = Arc::new(Mutex::new(Published {
            status: 200,
            body: String::new(),
            asked: HashMap::new(),
        }));
        let shared = Arc::clone(&published);
        let server = RawServer::start(move |_, mut stream| {
            let published = Arc::clone(&shared);
            std::thread::spawn(move || {
                while let Some(head) = read_head(&mut stream) {
                    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                    let mut published = published.lock();
                    *published.asked.entry(path.clone()).or_default() += 1;
                    let host = head
                        .lines()
                        .find_map(|line| line.strip_prefix("host: "))
                        .unwrap_or_default();
                    let body = match path.as_str() {
                        "/keys" => published.body.clone(),
                        _ => json!({
                            "issuer": format!("http://{host}"),
                            "jwks_uri": format!("http://{host}/keys"),
                        })
                        .to_string(),
                    };
                    let answer = format!(
                        "HTTP/1.1 {} X\r\nContent-Length: {}\r\n\r\n{body}",
                        published.status,
                        body.len()
                    );
                    drop(published);
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        });
        let issuer = Self {
            address: server.address,
            keys,
            published,
        };
        issuer.publish(&["one", "ed"]);
        issuer
    }

    pub fn name(&self) -> String {
        format!("http://{}", self.address)
    }

    fn publish(&self, names: &[&str]) {
        let keys: Vec<Value> = names.iter().map(|name| self.jwk(name)).collect();
        self.published.lock().body = json!({ "keys": keys }).to_string();
    }

    fn fails(&self, status: u16) {
        self.published.lock().status = status;
    }

    /// How often the keys were asked for.
    fn asked(&self) -> usize {
        let published = self.published.lock();
        published.asked.get("/keys").copied().unwrap_or(0)
    }

    fn jwk(&self, name: &str) -> Value {
        match &self.keys[name] {
            Pair::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({
                    "kty": "EC", "crv": "P-256", "kid": name, "use": "sig",
                    "x": encode(&point[1..33]), "y": encode(&point[33..]),
                })
            }
            Pair::Ed25519(pair) => json!({
                "kty": "OKP", "crv": "Ed25519", "kid": name, "alg": "EdDSA",
                "x": encode(pair.public_key().as_ref()),
            }),
        }
    }

    /// A token that is good for the orders.
    pub fn token(&self, key: &str) -> String {
        self.token_with(key, "joe", json!({}))
    }

    /// One with other claims, or without those that are null.
    pub fn token_with(&self, key: &str, subject: &str, change: Value) -> String {
        let mut claims = json!({
            "iss": self.name(), "sub": subject, "azp": "shop", "aud": ["orders"],
            "scope": "orders.read", "iat": now(), "exp": now() + 600,
        });
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let alg = match &self.keys[key] {
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        };
        self.sign(
            key,
            &json!({ "alg": alg, "typ": "at+jwt", "kid": key }),
            &claims,
        )
    }

    fn sign(&self, key: &str, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| encode(value.to_string().as_bytes());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = match &self.keys[key] {
            Pair::P256(pair) => {
                let random = SystemRandom::new();
                let signature = pair.sign(&random, message.as_bytes()).unwrap();
                encode(signature.as_ref())
            }
            Pair::Ed25519(pair) => encode(pair.sign(message.as_bytes()).as_ref()),
        };
        format!("{message}.{signature}")
    }

    /// The table of the configuration, and routes.
    pub fn table(&self, more: &str) -> String {
        let name = self.name();
        format!("[[jwt_issuer]]\nissuer = \"{name}\"\n{more}\n{ROUTES}")
    }

    fn verified(&self, harness: &Harness, result: &str) -> f64 {
        let name = self.name();
        harness.metric(&format!(
            "portcullis_jwt_verifications_total{{issuer=\"{name}\",result=\"{result}\"}}"
        ))
    }
}

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// With the fake key manager beside the issuer, once its keys are there.
fn beside(issuer: &Issuer, more: &str) -> Harness {
    let harness = Harness::with(&issuer.table(more));
    wait_for("the keys", || harness.admin("/readyz").status == 200);
    harness
}

/// Without any key manager.
fn alone(issuer: &Issuer, more: &str) -> Harness {
    let harness = Harness::with_key_manager_text("", &issuer.table(more));
    wait_for("the keys", || harness.admin("/readyz").status == 200);
    harness
}

#[test]
fn a_signature_is_enough_and_is_looked_at_once() {
    let issuer = Issuer::start();
    let harness = beside(&issuer, "");
    for key in ["one", "ed"] {
        let token = issuer.token(key);
        for _ in 0..3 {
            let echoed = harness.get("/orders/1", &token).echoed();
            assert_eq!(echoed.header("x-auth-subject"), ["joe"]);
            assert_eq!(echoed.header("x-auth-client"), ["shop"]);
            assert!(echoed.header("authorization").is_empty());
        }
    }
    assert_eq!(harness.key_manager.introspections(), 0);
    assert_eq!(issuer.verified(&harness, "ok"), 2.0);
    let log = harness.log(6);
    assert_eq!(log[0]["portcullis.cache"], "signature");
    assert_eq!(log[1]["portcullis.cache"], "hit");
    assert_eq!(log[1]["portcullis.client_id"], "shop");
    assert_eq!(log[1]["portcullis.reason"], "active");
    assert!(!harness.raw_log().contains(&issuer.token("ed")[..40]));
}

#[test]
fn the_rules_of_the_route_hold_for_jwts_too() {
    let issuer = Issuer::start();
    let harness = alone(&issuer, "");
    let poor = issuer.token_with("one", "joe", json!({ "scope": "other" }));
    let late = issuer.token_with("one", "joe", json!({ "exp": now() - 60 }));
    let early = issuer.token_with("one", "joe", json!({ "nbf": now() + 60 }));
    let bound = issuer.token_with("one", "joe", json!({ "cnf": { "jkt": "x" } }));
    for (token, status, reason) in [
        (&poor, 403, "insufficient_scope"),
        (&late, 401, "expired"),
        (&early, 401, "not_yet_valid"),
        (&bound, 401, "wrong_token_type"),
    ] {
        for _ in 0..2 {
            let answer = harness.get("/orders/1", token);
            assert_eq!(answer.refusal(), (status, reason.to_owned()));
        }
    }
}

#[test]
fn what_is_not_signed_as_it_should_be_is_refused() {
    let issuer = Issuer::start();
    let harness = alone(
        &issuer,
        "audience = [\"orders\", \"all\"]\ntyp = \"at+jwt\"",
    );
    let claims = json!({ "iss": issuer.name(), "aud": "orders", "scope": "orders.read",
        "exp": now() + 600 });
    let good = json!({ "alg": "ES256", "kid": "one", "typ": "at+jwt" });
    let with = |name: &str, value: Value| {
        let mut header = good.clone();
        header[name] = value;
        issuer.sign("one", &header, &claims)
    };
    assert_eq!(
        harness
            .get("/orders/1", &with("typ", json!("at+jwt")))
            .status,
        200
    );
    let other_key = issuer.sign("two", &good, &claims);
    let elsewhere = issuer.token_with("one", "joe", json!({ "aud": "stock" }));
    for (token, reason) in [
        (with("alg", json!("none")), "jwt_algorithm"),
        (with("alg", json!("HS256")), "jwt_algorithm"),
        (with("alg", json!("ES384")), "jwt_algorithm"),
        (with("kid", json!("ed")), "jwt_algorithm"),
        (with("kid", json!("../one")), "jwt_unknown_key"),
        (with("crit", json!(["exp"])), "jwt_malformed"),
        (with("typ", json!("JWT")), "wrong_token_type"),
        (other_key, "jwt_bad_signature"),
        (elsewhere, "audience_mismatch"),
    ] {
        let answer = harness.get("/orders/1", &token);
        assert_eq!(answer.refusal(), (401, reason.to_owned()), "{token}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(
            challenge.starts_with("Bearer error=\"invalid_token\""),
            "{challenge}"
        );
    }
}

#[test]
fn opaque_tokens_are_asked_about_whatever_they_look_like() {
    let issuer = Issuer::start();
    let harness = beside(&issuer, "");
    let stranger = {
        let claims = json!({ "iss": "https://other.example", "exp": now() + 600 });
        issuer.sign("one", &json!({ "alg": "ES256", "kid": "one" }), &claims)
    };
    let opaque = ["plain", "a.b", "a.b.c", "1.2.3.4.5", stranger.as_str()];
    for token in opaque {
        let reply = Reply::active("shop", "orders.read");
        harness.key_manager.set(token, reply);
        assert_eq!(harness.get("/orders/1", token).status, 200, "{token}");
    }
    assert_eq!(harness.key_manager.introspections(), opaque.len());
    // One that is ours is nobody else's business, however the key manager would answer.
    let forged = issuer.token("two");
    let reply = Reply::active("shop", "orders.read");
    harness.key_manager.set(&forged, reply);
    assert_eq!(harness.get("/orders/1", &forged).status, 401);
    assert_eq!(harness.key_manager.introspections(), opaque.len());
}

#[test]
fn without_a_key_manager_what_is_not_ours_is_refused() {
    let issuer = Issuer::start();
    let harness = alone(&issuer, "");
    for token in ["plain", "a.b.c"] {
        let answer = harness.get("/orders/1", token);
        assert_eq!(answer.refusal(), (401, "unknown_issuer".to_owned()));
    }
    assert_eq!(harness.get("/orders/1", &issuer.token("one")).status, 200);
}

#[test]
fn the_key_manager_may_say_no_as_well() {
    let issuer = Issuer::start();
    let harness = beside(&issuer, "introspect = \"also\"");
    let token = issuer.token("one");
    let refused = harness.get("/orders/1", &token).refusal();
    assert_eq!(refused, (401, "inactive".to_owned()));
    let good = issuer.token("ed");
    // What is signed counts, not what is answered.
    harness
        .key_manager
        .set(&good, Reply::active("other", "nothing"));
    for _ in 0..2 {
        let echoed = harness.get("/orders/1", &good).echoed();
        assert_eq!(echoed.header("x-auth-client"), ["shop"]);
    }
    assert_eq!(harness.key_manager.introspections(), 2);
    // A bad signature is not asked about.
    let forged = issuer.token("two");
    assert_eq!(harness.get("/orders/1", &forged).status, 401);
    assert_eq!(harness.key_manager.introspections(), 2);
}

#[test]
fn an_issuers_clients_are_not_those_of_the_key_manager() {
    let issuer = Issuer::start();
    let folder = std::env::temp_dir().join(format!("portcullis-known-as-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("clients.toml");
    let clients = r#"
        client = [
            { client_id = "shop", key_manager = "here", apis = [{ name = "Pizza", version = "1" }] },
            { client_id = "store", key_manager = "there", apis = [{ name = "Pizza", version = "1" }] },
        ]"#;
    std::fs::write(&path, clients).unwrap();
    let harness = Harness::with_keys(
        &format!(
            "[subscriptions]\nvalidate = true\nfile = {path:?}\n\
             [[jwt_issuer]]\nissuer = \"{}\"\nknown_as = \"there\"\n\
             [[route]]\npath = \"/pizza\"\nupstream = \"http://{{upstream}}\"\n\
             api = {{ name = \"Pizza\", version = \"1\" }}\n",
            issuer.name()
        ),
        "knownAs = \"here\"",
    );
    wait_for("lists and keys", || harness.admin("/readyz").status == 200);
    std::fs::remove_dir_all(&folder).unwrap();
    for (client, opaque, signed) in [("shop", 200, 403), ("store", 403, 200)] {
        let name = format!("opaque-{client}");
        harness.key_manager.set(&name, Reply::active(client, ""));
        assert_eq!(harness.get("/pizza", &name).status, opaque, "{client}");
        let token = issuer.token_with("one", "joe", json!({ "azp": client }));
        for _ in 0..2 {
            assert_eq!(harness.get("/pizza", &token).status, signed, "{client}");
        }
    }
}

#[test]
fn a_new_key_is_asked_for_once_however_many_come_with_it() {
    let issuer = Issuer::start();
    let harness = alone(&issuer, "");
    let asked = issuer.asked();
    issuer.publish(&["two"]);
    let old = issuer.token("one");
    assert_eq!(harness.get("/orders/1", &old).status, 200);
    let tokens: Vec<String> = (0..8)
        .map(|number| issuer.token_with("two", &format!("user-{number}"), json!({})))
        .collect();
    std::thread::scope(|scope| {
        for token in &tokens {
            scope.spawn(|| assert_eq!(harness.get("/orders/1", token).status, 200));
        }
    });
    assert_eq!(issuer.asked(), asked + 1);
    // What the old key has signed goes with it, although it is in the cache; and the wish for it
    // comes too soon after the last one.
    let refused = harness.get("/orders/1", &old).refusal();
    assert_eq!(refused, (401, "jwt_unknown_key".to_owned()));
    assert_eq!(issuer.asked(), asked + 1);
}

#[test]
fn keys_go_on_while_their_issuer_is_out_of_reach() {
    let issuer = Issuer::start();
    let harness = alone(&issuer, "");
    for body in ["<html>", "{\"keys\":7}"] {
        issuer.published.lock().body = body.to_owned();
    }
    issuer.fails(500);
    assert_eq!(harness.get("/orders/1", &issuer.token("two")).status, 401);
    assert_eq!(harness.get("/orders/1", &issuer.token("one")).status, 200);
    let name = issuer.name();
    let failed =
        format!("portcullis_jwks_refreshes_total{{issuer=\"{name}\",result=\"unreachable\"}}");
    assert!(harness.metric(&failed) >= 1.0);
    let keys = format!("portcullis_jwks_keys{{issuer=\"{name}\"}}");
    assert_eq!(harness.metric(&keys), 2.0);
}

#[test]
fn without_keys_nothing_is_let_through() {
    let issuer = Issuer::start();
    issuer.fails(503);
    let harness = Harness::with_key_manager_text("", &issuer.table(""));
    let answer = harness.get("/orders/1", &issuer.token("one"));
    assert_eq!(answer.refusal(), (503, "jwt_keys_unavailable".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(harness.admin("/readyz").status, 503);
    issuer.fails(200);
    wait_for("the keys", || harness.admin("/readyz").status == 200);
    assert_eq!(harness.get("/orders/1", &issuer.token("one")).status, 200);
}

#[test]
fn a_reload_keeps_the_keys_of_who_stays_and_drops_what_others_vouched_for() {
    let issuer = Issuer::start();
    let harness = beside(&issuer, "");
    let token = issuer.token("one");
    assert_eq!(harness.get("/orders/1", &token).status, 200);
    let asked = issuer.asked();
    let answer = harness.reload(|text| {
        text.push_str("\n[[route]]\npath = \"/x\"\npublic = true\nrespond = { status = 204 }\n")
    });
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(harness.get("/orders/1", &token).status, 200);
    assert_eq!(issuer.asked(), asked);
    assert_eq!(issuer.verified(&harness, "ok"), 1.0);
    // Now it is only good for another audience.
    let table = format!("issuer = \"{}\"", issuer.name());
    let answer = harness.reload(|text| {
        *text = text.replace(&table, &format!("{table}\naudience = \"stock\""));
    });
    assert_eq!(answer.status, 200, "{}", answer.body);
    let refused = harness.get("/orders/1", &token).refusal();
    assert_eq!(refused, (401, "audience_mismatch".to_owned()));
    // And then it is nobody's: the key manager is asked, and does not know it.
    let answer = harness.reload(|text| {
        *text = text
            .replace(
                "[[jwt_issuer]]",
                "[[route]]\npath = \"/y\"\npublic = true\nrespond = { status = 204 }\n[[unused]]",
            )
            .replace(&format!("[[unused]]\n{table}\naudience = \"stock\""), "")
    });
    assert_eq!(answer.status, 200, "{}", answer.body);
    let refused = harness.get("/orders/1", &token).refusal();
    assert_eq!(refused, (401, "inactive".to_owned()));
}

#[test]
fn a_reload_to_an_issuer_without_keys_changes_nothing() {
    let issuer = Issuer::start();
    let harness = Harness::start();
    let nobody = local(free_port());
    let answer = harness.reload(|text| {
        text.push_str(&format!(
            "\n[[jwt_issuer]]\nissuer = \"x\"\njwks_url = \"http://{nobody}/\"\n"
        ));
    });
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert!(
        answer.body.contains("the keys of a new issuer"),
        "{}",
        answer.body
    );
    let answer = harness.reload(|text| {
        *text = text.replace("issuer = \"x\"", &format!("issuer = \"{}\"", issuer.name()));
        *text = text.replace(&nobody.to_string(), &format!("{}/keys", issuer.address));
        *text = text.replace("/keys/", "/keys");
    });
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(harness.get("/orders/1", &issuer.token("one")).status, 200);
    assert_eq!(harness.key_manager.introspections(), 0);
}

/// What the upstream was told, after its signature was verified with the gateway's key.
fn told(answer: &crate::support::Answer, key: &Ed25519KeyPair) -> Option<Value> {
    use ring::signature::{ED25519, UnparsedPublicKey};
    let echoed = answer.echoed();
    let token = match echoed.header("x-jwt-assertion")[..] {
        [token] => token.to_owned(),
        _ => return None,
    };
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(&ED25519, key.public_key())
        .verify(message.as_bytes(), &signature)
        .unwrap();
    let payload = message.split('.').nth(1).unwrap();
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap();
    Some(serde_json::from_slice(&payload).unwrap())
}

#[test]
fn upstreams_get_a_jwt_of_the_gateways_own() {
    use base64::prelude::BASE64_STANDARD;
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        BASE64_STANDARD.encode(pkcs8.as_ref())
    );
    let issuer = Issuer::start();
    let table = issuer.table("").replace(
        "name = \"orders-write\"",
        "name = \"orders-write\"\nbackend_jwt = false",
    );
    let sections = format!(
        "[backend_jwt]\nissuer = \"gateway\"\naudience = \"orders\"\nkey = '''{pem}'''\n{table}"
    );
    let harness = Harness::with(&sections);
    wait_for("the keys", || harness.admin("/readyz").status == 200);
    let reply = Reply::active("shop", "orders.read orders.write");
    harness.key_manager.set("opaque", reply);
    let forged = "X-JWT-Assertion: forged\r\nX_JWT_Assertion: forged";
    let get = |token: &str| {
        let headers = format!("Authorization: Bearer {token}\r\n{forged}\r\n");
        harness.get_with("/orders/1", &headers)
    };
    let first = told(&get("opaque"), &key).unwrap();
    assert_eq!(first["iss"], "gateway");
    assert_eq!(first["aud"], "orders");
    assert_eq!(first["client_id"], "shop");
    assert_eq!(first["scope"], "orders.read orders.write");
    assert_eq!(first["http://wso2.org/claims/keytype"], "PRODUCTION");
    // It is made once.
    assert_eq!(told(&get("opaque"), &key).unwrap()["jti"], first["jti"]);
    // One for a JWT ends with it.
    let token = issuer.token_with("one", "joe", json!({ "exp": now() + 30 }));
    let other = told(&get(&token), &key).unwrap();
    assert_eq!(other["sub"], "joe");
    assert_ne!(other["jti"], first["jti"]);
    assert!(other["exp"].as_u64().unwrap() <= now() + 30);
    // Where there is none, the caller's does not slip through.
    let answer = harness.get_with("/public/1", &format!("{forged}\r\n"));
    assert!(answer.echoed().header("x-jwt-assertion").is_empty());
    assert!(answer.echoed().header("x_jwt_assertion").is_empty());
    let answer = harness.send(&format!(
        "POST /orders/1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer opaque\r\n{forged}\r\nContent-Length: 0\r\n\r\n"
    ));
    assert_eq!(told(&answer, &key), None);
    assert!(answer.echoed().header("x_jwt_assertion").is_empty());
}
