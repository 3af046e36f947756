//! What a file of WSO2 API Microgateway says beside opaque tokens: subscriptions, JWTs, JWTs for upstreams,
//! revocation, another header. Answers are those of the original, byte for byte.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use portcullis::{config::Keystore, demo::Reply};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{ring as provider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use serde_json::{Value, json};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::{
    jwt::Issuer,
    microgateway::{FILE, Folder, PETS},
    support::{Answer, Harness, PATIENCE, RawServer, free_port, local, read_head, wait_for},
};

const CHALLENGE: &str = "OAuth2 realm=\"WSO2 API Microgateway\", error=\"invalid token\" , \
                         error_description=\"The access token expired\"";
const INVALID: &str = "{\"fault\":{\"code\":900901, \"message\":\"Invalid Credentials\", \"description\":\"Invalid Credentials. \
                       Make sure you have given the correct access token\"}}";
const BLOCKED: &str = "{\"fault\":{\"code\":900907, \"message\":\"The requested API is temporarily blocked\", \"description\":\"The \
                       requested API is temporarily blocked. Unclassified Authentication Failure\"}}";
const FORBIDDEN: &str = "{\"fault\":{\"code\":900908, \"message\":\"Resource forbidden \", \"description\":\"Resource forbidden . \
                         Unclassified Authentication Failure\"}}";
const ON_HOLD: &str = "{\"fault\":{\"code\":900909, \"message\":\"The subscription to the API is inactive\", \"description\":\"The \
                       subscription to the API is inactive. Unclassified Authentication Failure\"}}";
const UNCLASSIFIED: &str = "{\"fault\":{\"code\":900900, \"message\":\"Unclassified Authentication Failure\", \"description\":\
                            \"Unclassified Authentication Failure. Unclassified Authentication Failure\"}}";

/// The clients that the API Manager knows, and the state of their subscriptions to the pets.
const CLIENTS: [(&str, &str, &str); 6] = [
    ("good", "PRODUCTION", "UNBLOCKED"),
    ("blocked", "PRODUCTION", "BLOCKED"),
    ("waiting", "PRODUCTION", "ON_HOLD"),
    ("refused", "PRODUCTION", "REJECTED"),
    ("paused", "PRODUCTION", "PROD_ONLY_BLOCKED"),
    ("trying", "SANDBOX", "UNBLOCKED"),
];

/// The internal data API of an API Manager, and the heads of the requests that it got.
fn api_manager() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&heads);
    let server = RawServer::start(move |_, mut stream| {
        let seen = Arc::clone(&seen);
        std::thread::spawn(move || {
            while let Some(head) = read_head(&mut stream) {
                let target = head.split(' ').nth(1).unwrap_or_default();
                let list = rows(target.trim_start_matches("/internal/data/v1/"));
                let body = json!({ "count": list.len(), "list": list }).to_string();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                seen.lock().push(head);
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        });
    });
    (server.address, heads)
}

/// Of a list; single rows are asked for only if the lists do not have them, and then there is none.
fn rows(kind: &str) -> Vec<Value> {
    let clients = || CLIENTS.iter().zip(1..);
    match kind {
        "application-key-mappings" => clients()
            .map(|((client, kind, _), id)| {
                json!({ "applicationId": id, "consumerKey": client, "keyType": kind, "keyManager": "Default" })
            })
            .collect(),
        "applications" => clients()
            .map(|((client, ..), id)| {
                json!({ "uuid": null, "id": id, "name": format!("App {client}"), "subName": "ann",
                        "policy": "Unlimited", "tokenType": "OAUTH", "groupIds": [], "attributes": {} })
            })
            .collect(),
        "apis" => vec![
            json!({ "apiId": 7, "provider": "ann", "name": "Pets", "version": "1.0.0",
                    "context": "/pets/1.0.0", "policy": null, "apiType": null, "urlMappings": [] }),
        ],
        "subscriptions" => clients()
            .map(|((_, _, state), id)| {
                json!({ "subscriptionId": id, "policyId": "Unlimited", "apiId": 7, "appId": id,
                        "subscriptionState": state })
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The tables of the original's file for it, with the slips of the original's own pages.
fn hub(address: SocketAddr, validates: bool) -> String {
    let broker = free_port();
    format!(
        "[security]\nvalidateSubscriptions = {validates}\n[apim.eventHub]\nenable = true\n\
         service_url = \"http://{address}/\"\ninternalDataContext = \"/internal/data/v1/\"\n\
         username = \"admin\"\npassword = \"hub-secret\"\n\
         eventListeningEndpoints = \"amqp://admin:admin@carbon/carbon?brokerlist='tcp://127.0.0.1:{broker}'\"\n"
    )
}

/// The original's file with these tables, and the pets.
fn start(folder: &Folder, more: &str) -> Harness {
    let file = format!("{FILE}\n{more}");
    let gateway = Harness::of_original(
        &folder.0,
        &[
            ("conf/micro-gw.conf", &file),
            ("api_definitions/pets.yaml", PETS),
        ],
    );
    wait_for("readiness", || gateway.admin("/readyz").status == 200);
    gateway
}

/// The client that a token is of has the token's name.
fn get(gateway: &Harness, client: &str) -> Answer {
    gateway
        .key_manager
        .set(client, Reply::active(client, "orders.read"));
    gateway.get("/pets/1.0.0/list", client)
}

fn assert_fault(answer: &Answer, status: u16, body: &str) {
    assert_eq!((answer.status, answer.body.as_str()), (status, body));
    let challenge = (status == 401).then_some(CHALLENGE);
    assert_eq!(answer.header("www-authenticate"), challenge);
}

#[test]
fn subscriptions_of_an_api_manager_decide() {
    let folder = Folder::new("subscriptions");
    let (address, heads) = api_manager();
    let gateway = start(&folder, &hub(address, true));
    assert_eq!(get(&gateway, "good").status, 200);
    for (client, status, body) in [
        ("blocked", 401, BLOCKED),
        ("paused", 401, BLOCKED),
        ("waiting", 401, ON_HOLD),
        ("refused", 403, FORBIDDEN),
        ("stranger", 403, FORBIDDEN),
    ] {
        assert_fault(&get(&gateway, client), status, body);
    }
    assert_fault(
        &get(&gateway, "trying"),
        403,
        "{\"ERROR_CODE\":\"900901\", \"ERROR_MESSAGE\":\"Sandbox key offered to the API with no sandbox endpoint\"}",
    );
    let nobody = Reply::Json(r#"{"active":true,"scope":"orders.read"}"#.to_owned());
    gateway.key_manager.set("nobody", nobody);
    let answer = gateway.get("/pets/1.0.0/list", "nobody");
    assert_fault(&answer, 500, UNCLASSIFIED);
    assert_eq!(gateway.get_with("/pets/1.0.0/open", "").status, 200);
    // No slash is there twice, and the account is the hub's.
    let heads = heads.lock();
    let apis = "GET /internal/data/v1/apis HTTP/1.1\r\n";
    let head = heads.iter().find(|head| head.starts_with(apis)).unwrap();
    let account = "authorization: basic ywrtaw46ahvilxnly3jlda==";
    assert!(head.to_lowercase().contains(account), "{head}");
}

#[test]
fn without_validation_the_data_still_tells_the_kind_of_key() {
    let folder = Folder::new("no-validation");
    let (address, _) = api_manager();
    let gateway = start(&folder, &hub(address, false));
    wait_for("the lists", || {
        get(&gateway, "trying").body.contains("Sandbox key")
    });
    for client in ["good", "blocked", "waiting", "stranger"] {
        assert_eq!(get(&gateway, client).status, 200, "{client}");
    }
    // An answer may be there before its line.
    wait_for("the line", || {
        gateway.log(1).iter().any(|line| {
            line["portcullis.application"] == "App blocked"
                && line["portcullis.tier"] == "Unlimited"
        })
    });
}

#[test]
fn an_event_hub_that_is_off_lets_nobody_pass() {
    let folder = Folder::new("hub-off");
    let more = "[security]\nvalidateSubscriptions = true\n[apim.eventHub]\nenable = false\n";
    let gateway = start(&folder, more);
    assert_fault(&get(&gateway, "good"), 401, INVALID);
    assert_eq!(gateway.log(1)[0]["portcullis.reason"], "subscriptions_off");
    assert_eq!(gateway.get_with("/pets/1.0.0/open", "").status, 200);
}

fn issuer_table(issuer: &Issuer, more: &str) -> String {
    let name = issuer.name();
    format!(
        "[[jwtTokenConfig]]\nissuer = \"{name}\"\njwksURL = \"{name}/keys\"\naudience = \"pets\"\n{more}\n"
    )
}

/// Of a client that `aud` names first, as in the original.
fn token(issuer: &Issuer, key: &str, client: &str) -> String {
    issuer.token_with(key, "joe", json!({ "aud": [client, "pets"] }))
}

#[test]
fn jwts_of_an_issuer_are_judged_by_their_signature() {
    let folder = Folder::new("issuer");
    let issuer = Issuer::start();
    let gateway = start(&folder, &issuer_table(&issuer, ""));
    let answer = gateway.get("/pets/1.0.0/list", &token(&issuer, "one", "good"));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(gateway.log(1)[0]["portcullis.client_id"], "good");
    // Nobody publishes this key, and the key manager has no say, whatever it would say.
    let unknown = token(&issuer, "two", "good");
    gateway
        .key_manager
        .set(&unknown, Reply::active("good", "orders.read"));
    assert_fault(&gateway.get("/pets/1.0.0/list", &unknown), 401, INVALID);
    assert_eq!(gateway.key_manager.introspections(), 0);
}

#[test]
fn jwts_that_fail_may_be_asked_about() {
    let folder = Folder::new("failed");
    let issuer = Issuer::start();
    let file = FILE.replace(
        "[keyManager]\n",
        "[keyManager]\nenableIntrospectForFailedJWT = true\n",
    );
    let file = format!("{file}\n{}", issuer_table(&issuer, ""));
    let files = [
        ("conf/micro-gw.conf", &*file),
        ("api_definitions/pets.yaml", PETS),
    ];
    let gateway = Harness::of_original(&folder.0, &files);
    wait_for("readiness", || gateway.admin("/readyz").status == 200);
    let unknown = token(&issuer, "two", "good");
    gateway
        .key_manager
        .set(&unknown, Reply::active("good", "orders.read"));
    assert_eq!(gateway.get("/pets/1.0.0/list", &unknown).status, 200);
    assert_eq!(gateway.get("/pets/1.0.0/list", &unknown).status, 200);
    assert_eq!(gateway.key_manager.introspections(), 1);
    let other = token(&issuer, "two", "other");
    assert_fault(&gateway.get("/pets/1.0.0/list", &other), 401, INVALID);
    // One that is good by itself is nobody else's business.
    let good = token(&issuer, "one", "good");
    assert_eq!(gateway.get("/pets/1.0.0/list", &good).status, 200);
    assert_eq!(gateway.key_manager.introspections(), 2);
}

#[test]
fn an_issuer_may_want_subscriptions_where_others_do_not() {
    for (of_issuer, of_all) in [(true, false), (false, true)] {
        let folder = Folder::new(&format!("issuer-validates-{of_issuer}"));
        let issuer = Issuer::start();
        let (address, _) = api_manager();
        let validates = format!("validateSubscription = {of_issuer}");
        let more = issuer_table(&issuer, &validates) + &hub(address, of_all);
        let gateway = start(&folder, &more);
        let signed = |client: &str| gateway.get("/pets/1.0.0/list", &token(&issuer, "one", client));
        assert_eq!(signed("good").status, 200);
        assert_eq!(get(&gateway, "good").status, 200);
        match of_issuer {
            true => assert_fault(&signed("stranger"), 403, FORBIDDEN),
            false => assert_eq!(signed("stranger").status, 200),
        }
        match of_all {
            true => assert_fault(&get(&gateway, "stranger"), 403, FORBIDDEN),
            false => assert_eq!(get(&gateway, "stranger").status, 200),
        }
    }
}

#[test]
fn a_certificate_of_a_trust_store_has_the_issuers_key() {
    let sections = |alias: &str| {
        format!(
            "[[jwt_issuer]]\nissuer = \"joe\"\ntrust_store_file = \"tests/keystores/java17.p12\"\n\
             trust_store_password = \"changeit\"\ncertificate_alias = \"{alias}\"\n\
             [[route]]\npath = \"/*\"\nupstream = \"http://{{upstream}}\"\n"
        )
    };
    let token = signed_by_second(&json!({ "iss": "joe", "exp": 4_102_444_800_u64 }));
    let own = Harness::with(&sections("Second"));
    assert_eq!(own.get("/", &token).status, 200);
    let other = Harness::with(&sections("p384"));
    assert_eq!(
        other.get("/", &token).refusal(),
        (401, "jwt_bad_signature".to_owned())
    );
}

/// A JWT that is signed with the key `second` of the store, which is one of P-256.
fn signed_by_second(claims: &Value) -> String {
    let random = ring::rand::SystemRandom::new();
    let key = second().key;
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.secret_der(), &random).unwrap();
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&json!({ "alg": "ES256" })), part(claims));
    let signature = pair.sign(&random, message.as_bytes()).unwrap();
    format!(
        "{message}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref())
    )
}

fn second() -> portcullis::config::ClientCertificate {
    let store = Keystore::open(Path::new("tests/keystores/java17.p12"), "changeit").unwrap();
    store.into_key(Some("second")).unwrap().certificate
}

/// Believes a server that shows the first certificate of the store, whatever its name.
#[derive(Debug)]
struct Pinned(CertificateDer<'static>);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        assert_eq!(*shown, self.0);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider::default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = provider::default_provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// The status line of an answer over TLS.
fn status_over_tls(port: u16, request: &str) -> String {
    let store = Keystore::open(Path::new("tests/keystores/java17.p12"), "changeit").unwrap();
    let certificate = store.into_key(None).unwrap().certificate.chain.remove(0);
    let config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned(certificate)))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(local(port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = StreamOwned::new(session, socket);
    stream.write_all(request.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn both_ports_with_tls_have_apis_health_and_the_key_managers_addresses() {
    let folder = Folder::new("ports");
    let (https, tokens) = (free_port(), free_port());
    let file = with_tls(https, tokens).replace("{key_manager}", "{upstream}");
    let files = [
        ("conf/micro-gw.conf", &*file),
        ("api_definitions/pets.yaml", PETS),
    ];
    let gateway = Harness::of_original(&folder.0, &files);
    assert_eq!(gateway.get_with("/health", "").status, 200);
    for port in [https, tokens] {
        for line in [
            "GET /health",
            "POST /token",
            "POST /revoke",
            "GET /authorize",
            "GET /userinfo",
            "GET /pets/1.0.0/open",
        ] {
            let request = format!(
                "{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            assert_eq!(status_over_tls(port, &request), "HTTP/1.1 200 OK", "{line}");
        }
    }
    assert_eq!(gateway.echo.requests(), 10);
}

/// The original's file with a key store.
fn with_tls(https: u16, tokens: u16) -> String {
    let store = std::path::absolute("tests/keystores/java17.p12").unwrap();
    let listener = format!(
        "[listenerConfig]\nhttpsPort = {https}\ntokenListenerPort = {tokens}\n\
         keyStorePath = {store:?}\nkeyStorePassword = \"changeit\"\n"
    );
    FILE.replace("[listenerConfig]\n", &listener)
}

#[test]
fn upstreams_get_a_jwt_that_a_key_of_the_listeners_store_has_signed() {
    let folder = Folder::new("backend-jwt");
    let (address, _) = api_manager();
    let more = format!(
        "{}[jwtConfig]\nheader = \"X-Backend\"\n[jwtGeneratorConfig]\njwtGeneratorEnabled = true\n\
         privateKeyAlias = \"second\"\nrestrictedClaims = [\"token_type\"]\n",
        hub(address, true)
    );
    let file = format!("{}\n{more}", with_tls(free_port(), free_port()));
    let files = [
        ("conf/micro-gw.conf", &*file),
        ("api_definitions/pets.yaml", PETS),
    ];
    let gateway = Harness::of_original(&folder.0, &files);
    wait_for("readiness", || gateway.admin("/readyz").status == 200);
    let echoed = get(&gateway, "good").echoed();
    let [jwt] = echoed.header("x-backend")[..] else {
        panic!("{echoed:?}")
    };
    let (message, signature) = jwt.rsplit_once('.').unwrap();
    let certificate = second().chain.remove(0);
    let (_, certificate) = X509Certificate::from_der(&certificate).unwrap();
    let point = &certificate.public_key().subject_public_key.data;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(
            message.as_bytes(),
            &BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap(),
        )
        .unwrap();
    let claims = message.split_once('.').unwrap().1;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    for (name, value) in [
        ("iss", "wso2.org/products/am"),
        ("aud", "http://org.wso2.apimgt/gateway"),
        ("sub", "demo"),
        ("http://wso2.org/claims/applicationname", "App good"),
        ("http://wso2.org/claims/subscriber", "ann"),
        ("http://wso2.org/claims/apiname", "Pets"),
    ] {
        assert_eq!(claims[name], value, "{claims}");
    }
    assert!(claims["token_type"].is_null());
    let forged = "Authorization: Bearer good\r\nX-Backend: forged\r\n";
    let echoed = gateway.get_with("/pets/1.0.0/list", forged).echoed();
    assert_eq!(echoed.header("x-backend"), [jwt]);
}

#[test]
fn revoked_tokens_are_in_a_list() {
    let folder = Folder::new("revoked");
    let server = RawServer::start(|_, mut stream| {
        if read_head(&mut stream)
            .is_some_and(|head| head.starts_with("GET /internal/data/v1/revokedjwt "))
        {
            let body = r#"[{"jwt_signature":"gone","expiry_time":9999999999999}]"#;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let more = format!(
        "[tokenRevocationConfig.persistent]\nenablePersistentStorageRetrieval = true\n\
         endpointURL = \"http://{}/internal/data/v1/\"\nusername = \"admin\"\npassword = \"admin\"\n",
        server.address
    );
    let gateway = start(&folder, &more);
    wait_for("the list", || {
        gateway.metric("portcullis_revoked_tokens") == 1.0
    });
    assert_fault(&get(&gateway, "gone"), 401, INVALID);
    assert_eq!(get(&gateway, "good").status, 200);
}

#[test]
fn tokens_may_stand_in_another_header() {
    let folder = Folder::new("header");
    let other = PETS
        .replace("Pets", "Cats")
        .replace("/pets/", "/cats/")
        .replace(
            "x-wso2-basePath",
            "x-wso2-auth-header: X-Cats\nx-wso2-basePath",
        );
    let file = format!("{FILE}\n[authConfig]\nauthorizationHeader = \"X-Token\"\n");
    let files = [
        ("conf/micro-gw.conf", &*file),
        ("api_definitions/cats.yaml", &other),
        ("api_definitions/pets.yaml", PETS),
    ];
    let gateway = Harness::of_original(&folder.0, &files);
    let active = Reply::active("shop", "orders.read");
    gateway.key_manager.set("good", active);
    for (path, header, status) in [
        ("/pets/1.0.0/list", "X-Token: Bearer good", 200),
        ("/pets/1.0.0/list", "Authorization: Bearer good", 401),
        ("/pets/1.0.0/list", "X-Cats: Bearer good", 401),
        ("/cats/1.0.0/list", "X-Cats: Bearer good", 200),
        ("/cats/1.0.0/list", "X-Token: Bearer good", 401),
    ] {
        let answer = gateway.get_with(path, &format!("{header}\r\n"));
        assert_eq!(answer.status, status, "{path} {header}");
        if status == 200 {
            let (name, _) = header.split_once(':').unwrap();
            assert!(answer.echoed().header(&name.to_lowercase()).is_empty());
        }
    }
}
