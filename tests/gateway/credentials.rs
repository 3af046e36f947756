//! The gateway's own credentials: every scheme of the seed, on the wire and over time.

use std::time::{Duration, Instant};

use crate::{
    auth_server::{AuthServer, Request},
    support::{Harness, PATIENCE, ROUTES, wait_for},
};

/// The tables of the seed, with values.
const GRANTS: [(&str, &str); 5] = [
    (
        "clientCredential",
        r#"
        [keymanager.security.oauth2.clientCredential]
            enabled = true
            clientId = "gw:id"
            clientSecret = "s3c+ret"
            scopes = "one, two"
        "#,
    ),
    (
        "password",
        r#"
        [keymanager.security.oauth2.password]
            enabled = true
            clientId = "gw:id"
            clientSecret = "s3c+ret"
            scopes = "one, two"
            username = "us er"
            password = "pä&ss"
        "#,
    ),
    (
        "password+refresh",
        r#"
        [keymanager.security.oauth2.password]
            enabled = true
            clientId = "gw:id"
            clientSecret = "s3c+ret"
            scopes = "one, two"
            username = "us er"
            password = "pä&ss"
        [keymanager.security.oauth2.refresh]
            enabled = true
            refreshUrl = "http://{server}/refresh"
            scopes = ""
            refreshToken = ""
            clientId = ""
            clientSecret = ""
        "#,
    ),
    (
        "directToken",
        r#"
        [keymanager.security.oauth2.directToken]
            enabled = true
            accessToken = "direct"
        "#,
    ),
    (
        "directToken+refresh",
        r#"
        [keymanager.security.oauth2.directToken]
            enabled = true
            accessToken = "direct"
        [keymanager.security.oauth2.refresh]
            enabled = true
            refreshUrl = "http://{server}/refresh"
            scopes = "three"
            refreshToken = "configured+refresh"
            clientId = "gw:id"
            clientSecret = "s3c+ret"
        "#,
    ),
];

const BEARERS: [&str; 3] = ["AUTH_HEADER_BEARER", "post_body_bearer", "NO_BEARER"];

/// `gw%3Aid:s3c%2Bret`, as RFC 6749 §2.3.1 has it.
const BASIC: &str = "Basic Z3clM0FpZDpzM2MlMkJyZXQ=";

fn oauth2(server: &AuthServer, bearer: &str, grant: &str) -> String {
    format!(
        r#"
        [keyManager]
            serverUrl = "http://{server}"
            tokenContext = "oauth2"
            timeout = "20s"
        [keymanager.security.oauth2]
            enabled = true
            credentialBearer = "{bearer}"
            tokenUrl = "http://{server}/token"
        {grant}
        "#,
        server = server.address,
    )
    .replace("{server}", &server.address.to_string())
}

fn start(server: &AuthServer, bearer: &str, grant: &str) -> Harness {
    Harness::with_key_manager_text(&oauth2(server, bearer, grant), ROUTES)
}

/// Asks with a new token until the gateway can.
fn passes(harness: &Harness, token: &str) {
    wait_for("a token of our own", || {
        harness.admin("/readyz").status == 200
    });
    let answer = harness.get("/orders/1", token);
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// What the client's credentials look like in this mode: header, and end of the form.
fn proof(bearer: &str) -> (&'static str, &'static str) {
    match bearer {
        "AUTH_HEADER_BEARER" => (BASIC, ""),
        "post_body_bearer" => ("", "&client_id=gw%3Aid&client_secret=s3c%2Bret"),
        _ => ("", ""),
    }
}

const CLIENT_CREDENTIALS: &str = "grant_type=client_credentials&scope=one+two";
const PASSWORD: &str = "grant_type=password&username=us+er&password=p%C3%A4%26ss&scope=one+two";

/// The form of the first token request and of the next one, without the client's credentials; `None`
/// where there is no such request.
fn forms(grant: &str) -> (Option<&'static str>, Option<&'static str>) {
    match grant {
        "clientCredential" => (Some(CLIENT_CREDENTIALS), Some(CLIENT_CREDENTIALS)),
        "password" => (Some(PASSWORD), Some(PASSWORD)),
        "password+refresh" => (
            Some(PASSWORD),
            Some("grant_type=refresh_token&refresh_token=refresh-1"),
        ),
        "directToken" => (None, None),
        _ => (
            None,
            Some("grant_type=refresh_token&refresh_token=configured%2Brefresh&scope=three"),
        ),
    }
}

fn assert_form(request: &Request, form: &str, bearer: &str, grant: &str) {
    let (header, end) = proof(bearer);
    assert_eq!(request.body, format!("{form}{end}"), "{grant} {bearer}");
    assert_eq!(request.authorization, header, "{grant} {bearer}");
    assert_eq!(
        request.headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    let path = match form.starts_with("grant_type=refresh_token") {
        true => "/refresh",
        false => "/token",
    };
    assert_eq!(request.path, path, "{grant} {bearer}");
}

fn last_bearer(server: &AuthServer) -> String {
    server
        .introspections()
        .last()
        .unwrap()
        .authorization
        .clone()
}

#[test]
fn a_fresh_start() {
    for (grant, tables) in GRANTS {
        for bearer in BEARERS {
            let server = AuthServer::start();
            let harness = start(&server, bearer, tables);
            passes(&harness, "a");
            let requests = server.token_requests();
            match forms(grant).0 {
                Some(form) => {
                    assert_eq!(requests.len(), 1, "{grant} {bearer}");
                    assert_form(&requests[0], form, bearer, grant);
                    assert_eq!(last_bearer(&server), "Bearer own-1");
                }
                None => {
                    assert!(requests.is_empty(), "{grant} {bearer}");
                    assert_eq!(last_bearer(&server), "Bearer direct");
                }
            }
            // The credentials of the token endpoint have no business here.
            let introspection = server.introspections().pop().unwrap();
            assert_eq!(introspection.body, "token=a", "{grant} {bearer}");
        }
    }
}

#[test]
fn a_token_that_ends_is_renewed_before_that() {
    // Lives of several seconds, so that a busy machine does not outlast them; hence side by side.
    std::thread::scope(|scope| {
        for (grant, tables) in &GRANTS[..3] {
            for bearer in BEARERS {
                scope.spawn(move || is_renewed(grant, tables, bearer));
            }
        }
    });
}

fn is_renewed(grant: &str, tables: &str, bearer: &str) {
    const LIFE: Duration = Duration::from_secs(5);
    let server = AuthServer::start();
    server.behave(|behaviour| behaviour.expires_in = LIFE.as_secs().to_string());
    let harness = start(&server, bearer, tables);
    passes(&harness, "a");
    // All along, the token in use lives: past the end of the first.
    let until = Instant::now() + LIFE + Duration::from_secs(1);
    let mut number = 0;
    while Instant::now() < until {
        number += 1;
        assert_eq!(harness.get("/orders/1", &format!("t{number}")).status, 200);
        std::thread::sleep(Duration::from_millis(50));
    }
    let form = forms(grant).1.unwrap();
    assert_form(&server.token_requests()[1], form, bearer, grant);
}

#[test]
fn a_token_that_is_refused_is_renewed_once_and_the_request_passes() {
    for (grant, tables) in GRANTS {
        for bearer in BEARERS {
            let server = AuthServer::start();
            server.behave(|behaviour| {
                behaviour.refused = vec!["own-1".to_owned(), "direct".to_owned()];
            });
            let harness = start(&server, bearer, tables);
            wait_for("readiness", || harness.admin("/readyz").status == 200);
            let answer = harness.get("/orders/1", "a");
            let Some(form) = forms(grant).1 else {
                assert_eq!(
                    answer.refusal(),
                    (503, "introspection_client_refused".to_owned())
                );
                assert!(server.token_requests().is_empty());
                continue;
            };
            if grant == "directToken+refresh" {
                // Its first token is the one that is made second elsewhere.
                server.behave(|behaviour| behaviour.refused.clear());
                wait_for("a pass", || harness.get("/orders/1", "b").status == 200);
            } else {
                assert_eq!(answer.status, 200, "{grant} {bearer}: {answer:?}");
                assert_eq!(last_bearer(&server), "Bearer own-2");
            }
            let last = server.token_requests().pop().unwrap();
            assert_form(&last, form, bearer, grant);
        }
    }
}

#[test]
fn a_token_endpoint_that_is_down_never_lets_anybody_pass() {
    for (grant, tables) in GRANTS {
        let server = AuthServer::start();
        server.behave(|behaviour| behaviour.token_answer = Some((500, "{}".to_owned())));
        let harness = start(&server, BEARERS[0], tables);
        if grant.starts_with("directToken") {
            passes(&harness, "a");
            continue;
        }
        let answer = harness.get("/orders/1", "a");
        assert_eq!(
            answer.refusal(),
            (503, "introspection_not_ready".to_owned()),
            "{grant}"
        );
        assert!(answer.header("retry-after").is_some());
        assert_eq!(harness.admin("/readyz").status, 503);
        server.behave(|behaviour| behaviour.token_answer = None);
        passes(&harness, "b");
    }
}

#[test]
fn answers_that_cannot_be_used_are_tried_again_and_the_old_token_stays() {
    let server = AuthServer::start();
    server.behave(|behaviour| behaviour.expires_in = "3".to_owned());
    let harness = start(&server, BEARERS[0], GRANTS[0].1);
    passes(&harness, "a");
    let answers = [
        (400, r#"{"error":"invalid_scope"}"#.to_owned()),
        (200, "<html>sign in</html>".to_owned()),
        (
            200,
            r#"{"access_token":"","token_type":"bearer"}"#.to_owned(),
        ),
        (200, r#"{"access_token":"x","token_type":"mac"}"#.to_owned()),
        (
            200,
            format!(r#"{{"access_token":"{}"}}"#, "x".repeat(1 << 20)),
        ),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let asked = server.token_requests().len();
        server.behave(|behaviour| behaviour.token_answer = Some(answer));
        wait_for("another attempt", || server.token_requests().len() > asked);
        // The token from before lives on, until its own end.
        let status = harness.get("/orders/1", &format!("t{number}")).status;
        assert!(matches!(status, 200 | 503), "{status}");
        server.behave(|behaviour| behaviour.token_answer = None);
        wait_for("recovery", || {
            harness
                .get("/orders/1", &format!("r{number}-{}", fastrand::u64(..)))
                .status
                == 200
        });
    }
    let metrics = harness.admin("/metrics").body;
    for result in ["ok", "refused", "bad_answer"] {
        let line = metrics.lines().find(|line| {
            line.starts_with("portcullis_credential_renewals_total{grant=\"client_credentials\"")
                && line.contains(&format!("result=\"{result}\""))
        });
        assert!(!line.unwrap().ends_with(" 0"), "{line:?}");
    }
}

#[test]
fn a_refused_refresh_falls_back_to_the_first_grant() {
    let server = AuthServer::start();
    server.behave(|behaviour| {
        behaviour.expires_in = "1".to_owned();
        behaviour.refuses_refresh = true;
    });
    let harness = start(&server, BEARERS[0], GRANTS[2].1);
    passes(&harness, "a");
    wait_for("a fall-back", || server.token_requests().len() >= 3);
    let kinds: Vec<bool> = server
        .token_requests()
        .iter()
        .map(|request| request.body.starts_with("grant_type=password"))
        .collect();
    assert_eq!(kinds[..3], [true, false, true]);
}

#[test]
fn rotation_is_honoured_and_no_refresh_token_is_sent_twice() {
    let server = AuthServer::start();
    server.behave(|behaviour| behaviour.expires_in = "1".to_owned());
    let harness = start(&server, BEARERS[0], GRANTS[2].1);
    passes(&harness, "a");
    wait_for("three renewals", || server.token_requests().len() >= 4);
    let mut sent: Vec<String> = server.token_requests()[1..]
        .iter()
        .map(|request| request.body.clone())
        .collect();
    assert!(sent[2].contains("refresh_token=refresh-3"), "{sent:?}");
    let all = sent.len();
    sent.sort();
    sent.dedup();
    assert_eq!(sent.len(), all);
}

#[test]
fn many_requests_that_see_a_refusal_make_one_renewal() {
    let server = AuthServer::start();
    let harness = start(&server, BEARERS[0], GRANTS[0].1);
    passes(&harness, "a");
    server.behave(|behaviour| behaviour.refused = vec!["own-1".to_owned()]);
    std::thread::scope(|scope| {
        let requests: Vec<_> = (0..30)
            .map(|number| {
                let harness = &harness;
                scope.spawn(move || harness.get("/orders/1", &format!("t{number}")).status)
            })
            .collect();
        for request in requests {
            assert_eq!(request.join().unwrap(), 200);
        }
    });
    assert_eq!(server.token_requests().len(), 2);
}

#[test]
fn tokens_that_are_all_refused_make_no_storm() {
    let server = AuthServer::start();
    server.behave(|behaviour| behaviour.refuses_all = true);
    let harness = start(&server, BEARERS[0], GRANTS[0].1);
    wait_for("readiness", || harness.admin("/readyz").status == 200);
    let until = Instant::now() + Duration::from_secs(3);
    let mut number = 0;
    while Instant::now() < until || number <= 50 {
        number += 1;
        let answer = harness.get("/orders/1", &format!("t{number}"));
        assert_eq!(
            answer.refusal(),
            (503, "introspection_client_refused".to_owned())
        );
    }
    let calls = server.token_requests().len();
    assert!(
        calls <= 7,
        "{calls} token requests for {number} refused requests"
    );
    // Two calls at the most for one request: never a loop.
    assert!(server.introspections().len() <= 2 * number);
}

#[test]
fn a_life_that_is_not_told_is_the_configured_one() {
    for odd in ["", "0", "-5", "\"soon\"", "null"] {
        let began = Instant::now();
        let server = AuthServer::start();
        server.behave(|behaviour| odd.clone_into(&mut behaviour.expires_in));
        let text = oauth2(&server, BEARERS[0], GRANTS[0].1)
            .replace("tokenUrl", "defaultLife = \"1s\"\n            tokenUrl");
        let harness = Harness::with_key_manager_text(&text, ROUTES);
        passes(&harness, "a");
        wait_for("a renewal", || server.token_requests().len() >= 2);
        // Not a storm either: one each time that most of a second is over.
        let requests = server.token_requests().len();
        let most = 2 + began.elapsed().as_millis() / 500;
        assert!(requests as u128 <= most, "{odd:?}: {requests} requests");
    }
}

#[test]
fn a_rotated_refresh_token_outlives_a_restart() {
    use std::os::unix::fs::PermissionsExt;
    let file = std::env::temp_dir().join(format!("portcullis-state-{}", std::process::id()));
    let server = AuthServer::start();
    server.behave(|behaviour| behaviour.refused = vec!["direct".to_owned()]);
    let text = oauth2(&server, BEARERS[0], GRANTS[4].1).replace(
        "tokenUrl",
        &format!("stateFile = \"{}\"\n            tokenUrl", file.display()),
    );
    let harness = Harness::with_key_manager_text(&text, ROUTES);
    passes(&harness, "a");
    let first = server.token_requests();
    assert!(first[0].body.contains("refresh_token=configured%2Brefresh"));
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(harness);

    let harness = Harness::with_key_manager_text(&text, ROUTES);
    passes(&harness, "b");
    let last = server.token_requests().pop().unwrap();
    assert!(
        last.body.contains("refresh_token=refresh-1"),
        "{}",
        last.body
    );
    drop(harness);
    std::fs::remove_file(file).unwrap();
}

#[test]
fn endpoints_are_discovered() {
    let server = AuthServer::start();
    let text = format!(
        r#"
        [keyManager]
            issuer = "http://{}"
        [keymanager.security.oauth2]
            enabled = true
            tokenUrl = ""
        {}
        "#,
        server.address, GRANTS[0].1
    );
    let harness = Harness::with_key_manager_text(&text, ROUTES);
    passes(&harness, "a");
    assert_eq!(server.token_requests().len(), 1);
    assert_eq!(last_bearer(&server), "Bearer own-1");
}

#[test]
fn secrets_in_the_form_and_signed_statements() {
    let server = AuthServer::start();
    let base = format!("[keyManager]\nserverUrl = \"http://{}\"\n", server.address);
    let extra = "extraParams = { resource = \"a b\" }\nextraHeaders = { \"X-Api-Key\" = \"k\" }\n";
    let text = format!(
        "{base}{extra}[keymanager.security.clientSecretPost]\nclientId = \"gw\"\nclientSecret = \"s+\"\n"
    );
    let harness = Harness::with_key_manager_text(&text, ROUTES);
    assert_eq!(harness.get("/orders/1", "a").status, 200);
    let seen = server.introspections().pop().unwrap();
    assert_eq!(
        seen.body,
        "token=a&resource=a+b&client_id=gw&client_secret=s%2B"
    );
    assert_eq!(seen.authorization, "");
    assert_eq!(seen.headers["x-api-key"], "k");
    drop(harness);

    let key = std::env::temp_dir().join(format!("portcullis-key-{}.pem", std::process::id()));
    std::fs::write(&key, ED25519_KEY).unwrap();
    let text = format!(
        "{base}[keymanager.security.privateKeyJwt]\nclientId = \"gw\"\nkeyFile = \"{}\"\nkeyId = \"k1\"\n",
        key.display()
    );
    let harness = Harness::with_key_manager_text(&text, ROUTES);
    for token in ["b", "c"] {
        assert_eq!(harness.get("/orders/1", token).status, 200);
    }
    std::fs::remove_file(key).unwrap();
    let statements: Vec<serde_json::Value> = server.introspections()[1..]
        .iter()
        .map(|request| claims(&request.body, &server))
        .collect();
    assert_ne!(statements[0]["jti"], statements[1]["jti"]);
}

/// Of no use to anybody: made for this test.
const ED25519_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";

/// The claims of the statement in a form, after a look at everything around them.
fn claims(body: &str, server: &AuthServer) -> serde_json::Value {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let form: std::collections::HashMap<String, String> = form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect();
    assert_eq!(form["client_id"], "gw");
    assert_eq!(
        form["client_assertion_type"],
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    );
    let parts: Vec<&str> = form["client_assertion"].split('.').collect();
    let json = |part: &str| -> serde_json::Value {
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!(json(parts[0])["alg"], "EdDSA");
    assert_eq!(json(parts[0])["kid"], "k1");
    let claims = json(parts[1]);
    assert_eq!(claims["iss"], "gw");
    assert_eq!(claims["sub"], "gw");
    assert_eq!(
        claims["aud"],
        format!("http://{}/oauth2/introspect", server.address)
    );
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        60
    );
    assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(parts[2]).unwrap().len(), 64);
    claims
}

#[test]
fn own_tokens_and_secrets_are_in_no_log() {
    let server = AuthServer::start();
    let harness = start(&server, BEARERS[1], GRANTS[2].1);
    passes(&harness, "a");
    harness.log(1);
    let metrics = harness.admin("/metrics").body;
    for secret in ["own-1", "refresh-1", "s3c+ret", "pä&ss"] {
        assert!(!harness.raw_log().contains(secret), "{secret}");
        assert!(!metrics.contains(secret), "{secret}");
    }
    assert!(PATIENCE > Duration::ZERO);
}
