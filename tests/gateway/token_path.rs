//! Tokens: who passes, who does not, what is remembered.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis::demo::Reply;

use crate::support::{Harness, ROUTES, wait_for};

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

#[test]
fn a_missing_token_is_asked_for_without_an_error_code() {
    let harness = Harness::start();
    let answer = harness.get_with("/orders/1", "");
    assert_eq!(answer.refusal(), (401, "no_token".to_owned()));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    for headers in [
        "Authorization: Basic YTpi\r\n",
        "Authorization: DPoP abc\r\n",
    ] {
        let answer = harness.get_with("/orders/1", headers);
        assert_eq!(answer.refusal(), (401, "no_token".to_owned()));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(harness.key_manager.introspections(), 0);
    assert_eq!(harness.echo.requests(), 0);
}

#[test]
fn a_good_token_passes_and_is_remembered() {
    let harness = Harness::start();
    harness
        .key_manager
        .set("good", Reply::active("shop", "orders.read"));
    for scheme in ["Bearer", "bearer", "BEARER  "] {
        let headers = format!("Authorization: {scheme} good\r\n");
        assert_eq!(harness.get_with("/orders/1", &headers).status, 200);
    }
    assert_eq!(harness.key_manager.introspections(), 1);
    assert_eq!(harness.metrics.token_cache.hit.get(), 2);
}

#[test]
fn scopes_are_checked_on_hits_as_on_misses() {
    let harness = Harness::start();
    harness
        .key_manager
        .set("reader", Reply::active("shop", "orders.read"));
    let post = "POST /orders/1 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer reader\r\n\
                Content-Length: 0\r\n\r\n";
    for _ in 0..2 {
        let answer = harness.send(post);
        assert_eq!(answer.refusal(), (403, "insufficient_scope".to_owned()));
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(
            challenge.starts_with("Bearer error=\"insufficient_scope\"")
                && challenge.ends_with("scope=\"orders.write\""),
            "{challenge}"
        );
        assert_eq!(harness.get("/orders/1", "reader").status, 200);
    }
    assert_eq!(harness.key_manager.introspections(), 1);
    assert_eq!(harness.echo.requests(), 2);
}

#[test]
fn an_inactive_token_is_refused_and_remembered_apart() {
    let harness = Harness::start();
    let first = harness.get("/orders/1", "nobody");
    assert_eq!(first.refusal(), (401, "inactive".to_owned()));
    let challenge = first.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    let second = harness.get("/orders/1", "nobody");
    assert_eq!(second.refusal(), (401, "inactive_cached".to_owned()));
    assert_eq!(harness.key_manager.introspections(), 1);
}

#[test]
fn exp_is_looked_at_on_fresh_answers() {
    let harness = Harness::start();
    let over = format!(
        r#"{{"active":true,"scope":"orders.read","exp":{}}}"#,
        now() - 3_600
    );
    harness.key_manager.set("over", Reply::Json(over));
    let soon = r#"{"active":true,"scope":"orders.read","nbf":99999999999}"#;
    harness
        .key_manager
        .set("soon", Reply::Json(soon.to_owned()));
    for _ in 0..2 {
        let refusal = harness.get("/orders/1", "over").refusal();
        assert_eq!(refusal, (401, "expired".to_owned()));
    }
    let refusal = harness.get("/orders/1", "soon").refusal();
    assert_eq!(refusal, (401, "not_yet_valid".to_owned()));
    assert_eq!(harness.echo.requests(), 0);
}

#[test]
fn a_cached_token_ends_with_its_exp() {
    let harness = Harness::with(&format!("[token]\nclock_skew = \"0s\"\n{ROUTES}"));
    let json = format!(
        r#"{{"active":true,"scope":"orders.read","exp":{}}}"#,
        now() + 5
    );
    harness.key_manager.set("short", Reply::Json(json));
    assert_eq!(harness.get("/orders/1", "short").status, 200);
    wait_for("the end of the token", || {
        harness.get("/orders/1", "short").status != 200
    });
    let refusal = harness.get("/orders/1", "short").refusal();
    assert_eq!(refusal, (401, "expired".to_owned()));
}

#[test]
fn a_revoked_token_lives_on_no_longer_than_max_ttl() {
    let harness = Harness::with(&format!("[token_cache]\nmax_ttl = \"5s\"\n{ROUTES}"));
    harness
        .key_manager
        .set("fickle", Reply::active("shop", "orders.read"));
    assert_eq!(harness.get("/orders/1", "fickle").status, 200);
    harness.key_manager.set("fickle", Reply::inactive());
    assert_eq!(harness.get("/orders/1", "fickle").status, 200);
    wait_for("the end of the cached answer", || {
        harness.get("/orders/1", "fickle").status == 401
    });
    assert_eq!(harness.key_manager.introspections(), 2);
}

/// Whether the cache, and which part of it, was the reason.
fn from(harness: &Harness, lines: usize) -> String {
    let log = harness.log(lines);
    log.last().unwrap()["portcullis.cache"]
        .as_str()
        .unwrap_or("nobody")
        .to_owned()
}

#[test]
fn an_answer_past_its_end_is_used_in_an_outage_only_where_that_is_wanted() {
    for (lines, expected) in [("stale_if_error = \"1h\"", 200), ("", 503)] {
        let harness = Harness::with(&format!(
            "[token_cache]\nmax_ttl = \"1s\"\ninactive_ttl = \"0s\"\n{lines}\n{ROUTES}"
        ));
        let says = |reply| harness.key_manager.set("known", reply);
        says(Reply::active("shop", "orders.read"));
        assert_eq!(harness.get("/orders/1", "known").status, 200);
        says(Reply::status(500, "text/plain", ""));
        let asked = harness.key_manager.introspections();
        wait_for("the end of the answer", || {
            harness.get("/orders/1", "known");
            harness.key_manager.introspections() > asked
        });
        let answer = harness.get("/orders/1", "known");
        assert_eq!(answer.status, expected, "{answer:?}");
        if expected == 200 {
            let lines = harness.log(1).len();
            assert_eq!(from(&harness, lines), "stale");
            assert!(
                harness
                    .metric("portcullis_token_cache_lookups_total{cache=\"l1\",result=\"stale\"}")
                    >= 1.0
            );
            // For some seconds nobody else is made to wait in vain.
            assert_eq!(harness.key_manager.introspections(), asked + 1);
        }
        // Scopes are looked at all the same, and who is not known stays outside.
        let post = "POST /orders/1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer known\r\nContent-Length: 0\r\n\r\n";
        let status = if expected == 200 { 403 } else { 503 };
        assert_eq!(harness.send(post).status, status);
        harness
            .key_manager
            .set("new", Reply::status(500, "text/plain", ""));
        assert_eq!(harness.get("/orders/1", "new").status, 503);
    }
}

#[test]
fn an_answer_past_its_end_is_no_answer_to_anything_but_an_outage() {
    let json = |seconds| {
        let exp = now() + seconds;
        Reply::Json(format!(
            r#"{{"active":true,"scope":"orders.read","exp":{exp}}}"#
        ))
    };
    let json_of = |status, body| Reply::status(status, "application/json", body);
    let cases = [
        ("a no", json(3600), Reply::inactive(), (401, "inactive")),
        (
            "its exp",
            json(5),
            json_of(500, ""),
            (503, "introspection_unreachable"),
        ),
        (
            "our account",
            json(3600),
            json_of(401, "{}"),
            (503, "introspection_client_refused"),
        ),
        (
            "nonsense",
            json(3600),
            json_of(200, "[]"),
            (502, "introspection_bad_answer"),
        ),
    ];
    let harness = Harness::with(&format!(
        "[token]\nclock_skew = \"0s\"\n[token_cache]\nmax_ttl = \"1s\"\ninactive_ttl = \"0s\"\n\
         stale_if_error = \"1h\"\n{ROUTES}"
    ));
    for (token, before, after, (status, reason)) in cases {
        let token = token.replace(' ', "-");
        harness.key_manager.set(&token, before);
        assert_eq!(harness.get("/orders/1", &token).status, 200, "{token}");
        harness.key_manager.set(&token, after);
        wait_for(reason, || {
            let answer = harness.get("/orders/1", &token);
            answer.status != 200 && answer.refusal() == (status, reason.to_owned())
        });
        // A no is not forgotten in the outage that comes after it.
        harness.key_manager.set(&token, json_of(500, ""));
        if reason == "inactive" {
            assert_eq!(harness.get("/orders/1", &token).status, 503);
        }
    }
}

#[test]
fn audience_and_issuer() {
    let harness = Harness::with(
        r#"
        [[route]]
        path = "/*"
        audience = ["orders", "all"]
        issuer = "https://id.example"
        upstream = "http://{upstream}"
        "#,
    );
    for (token, json, expected) in [
        (
            "right",
            r#"{"active":true,"aud":["x","all"],"iss":"https://id.example"}"#,
            None,
        ),
        (
            "other-audience",
            r#"{"active":true,"aud":"x","iss":"https://id.example"}"#,
            Some("audience_mismatch"),
        ),
        (
            "other-issuer",
            r#"{"active":true,"aud":"all","iss":"https://evil.example"}"#,
            Some("issuer_mismatch"),
        ),
        ("neither", r#"{"active":true}"#, Some("issuer_mismatch")),
    ] {
        harness.key_manager.set(token, Reply::Json(json.to_owned()));
        for _ in 0..2 {
            let answer = harness.get("/x", token);
            match expected {
                None => assert_eq!(answer.status, 200, "{token}"),
                Some(reason) => assert_eq!(answer.refusal(), (401, reason.to_owned()), "{token}"),
            }
        }
    }
}

#[test]
fn tokens_that_are_bound_to_a_key_are_not_bearer_tokens() {
    let harness = Harness::start();
    let json =
        r#"{"active":true,"scope":"orders.read","token_type":"Bearer","cnf":{"x5t#S256":"a"}}"#;
    harness
        .key_manager
        .set("bound", Reply::Json(json.to_owned()));
    let refusal = harness.get("/orders/1", "bound").refusal();
    assert_eq!(refusal, (401, "wrong_token_type".to_owned()));
}

#[test]
fn scopes_any() {
    let harness = Harness::with(
        r#"
        [[route]]
        path = "/*"
        scopes = { any = ["a", "b"] }
        upstream = "http://{upstream}"
        "#,
    );
    harness.key_manager.set("b", Reply::active("shop", "b c"));
    harness.key_manager.set("c", Reply::active("shop", "c"));
    assert_eq!(harness.get("/", "b").status, 200);
    assert_eq!(harness.get("/", "c").status, 403);
}

#[test]
fn a_public_route_needs_no_token_and_looks_at_none() {
    let harness = Harness::start();
    assert_eq!(harness.get_with("/public/x", "").status, 200);
    assert_eq!(harness.get("/public/x", "whatever").status, 200);
    assert_eq!(harness.key_manager.introspections(), 0);
}

#[test]
fn unknown_places_and_methods() {
    let harness = Harness::start();
    let refusal = harness.get("/nowhere", "good").refusal();
    assert_eq!(refusal, (404, "route_not_found".to_owned()));
    let answer = harness.send("DELETE /orders/1 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(answer.refusal(), (405, "method_not_allowed".to_owned()));
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, PUT"));
    assert_eq!(harness.key_manager.introspections(), 0);
}

#[test]
fn hosts_have_routes_of_their_own() {
    let harness = Harness::with(
        r#"
        [[route]]
        host = "open.example"
        path = "/*"
        public = true
        upstream = "http://{upstream}"

        [[route]]
        path = "/*"
        upstream = "http://{upstream}"
        "#,
    );
    for (host, status) in [
        ("open.example", 200),
        ("OPEN.example:8080", 200),
        ("open.example.evil", 401),
        ("other.example", 401),
    ] {
        let answer = harness.send(&format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.status, status, "{host}");
    }
    // The target's authority is the host, whatever the header says (RFC 9112 §3.2.2).
    let absolute = "GET http://other.example/x HTTP/1.1\r\nHost: open.example\r\n\r\n";
    assert_ne!(harness.send(absolute).status, 200);
}

#[test]
fn more_than_one_token_or_way_of_sending_it_is_malformed() {
    let harness = Harness::start();
    harness
        .key_manager
        .set("good", Reply::active("shop", "orders.read"));
    for (path, headers) in [
        (
            "/orders/1",
            "Authorization: Bearer good\r\nAuthorization: Bearer good\r\n",
        ),
        (
            "/orders/1",
            "Authorization: Basic YTpi\r\nAuthorization: Bearer good\r\n",
        ),
        (
            "/orders/1?access_token=good",
            "Authorization: Bearer good\r\n",
        ),
    ] {
        let answer = harness.get_with(path, headers);
        assert_eq!(
            answer.refusal(),
            (400, "multiple_tokens".to_owned()),
            "{path} {headers}"
        );
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(
            challenge.contains("error=\"invalid_request\""),
            "{challenge}"
        );
    }
    // Not accepted there at all.
    let answer = harness.get_with("/orders/1?access_token=good", "");
    assert_eq!(answer.refusal(), (401, "no_token".to_owned()));
    assert_eq!(harness.key_manager.introspections(), 0);
}

#[test]
fn concurrent_requests_with_a_new_token_make_one_call() {
    let harness = Harness::start();
    harness.key_manager.set_latency(Duration::from_millis(300));
    harness
        .key_manager
        .set("new", Reply::active("shop", "orders.read"));
    std::thread::scope(|scope| {
        let requests: Vec<_> = (0..40)
            .map(|_| scope.spawn(|| harness.get("/orders/1", "new").status))
            .collect();
        for request in requests {
            assert_eq!(request.join().unwrap(), 200);
        }
    });
    assert_eq!(harness.key_manager.introspections(), 1);
    assert!(harness.metric("portcullis_introspection_coalesced_total") > 0.0);
}

#[test]
fn a_client_that_hangs_up_fails_nobody_else() {
    let harness = Harness::start();
    harness.key_manager.set_latency(Duration::from_millis(400));
    harness
        .key_manager
        .set("new", Reply::active("shop", "orders.read"));
    let request = b"GET /orders/1 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer new\r\n\r\n";
    let mut leader = harness.connect();
    leader.write(request);
    wait_for("the leader's call", || {
        harness.key_manager.introspections() == 1
    });
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| harness.get("/orders/1", "new").status);
        drop(leader);
        assert_eq!(follower.join().unwrap(), 200);
    });
    assert_eq!(harness.key_manager.introspections(), 1);
}

#[test]
fn a_token_may_stand_in_another_header() {
    let harness = Harness::with(
        r#"
        [[route]]
        path = "/a"
        token_header = "X-Access-Token"
        upstream = "http://{upstream}"
        [[route]]
        path = "/b"
        token_header = "X-Access-Token"
        forward_token = true
        upstream = "http://{upstream}"
        "#,
    );
    harness.key_manager.set("good", Reply::active("shop", ""));
    harness.key_manager.set("other", Reply::active("shop", ""));
    for value in ["good", "Bearer good"] {
        let headers = format!("X-Access-Token: {value}\r\nAuthorization: Basic YTpi\r\n");
        let echoed = harness.get_with("/a", &headers).echoed();
        assert_eq!(echoed.header("x-access-token"), Vec::<&str>::new());
        assert_eq!(echoed.header("authorization"), ["Basic YTpi"]);
        let echoed = harness.get_with("/b", &headers).echoed();
        assert_eq!(echoed.header("x-access-token"), [value]);
    }
    for (headers, reason) in [
        ("Authorization: Bearer other\r\n", "no_token"),
        ("X-Access-Token: unknown\r\n", "inactive"),
    ] {
        let (status, word) = harness.get_with("/a", headers).refusal();
        assert_eq!((status, word.contains(reason)), (401, true), "{word}");
    }
    let twice = "X-Access-Token: good\r\nX-Access-Token: other\r\n";
    let refusal = harness.get_with("/a", twice).refusal();
    assert_eq!(refusal, (400, "multiple_tokens".to_owned()));
}
