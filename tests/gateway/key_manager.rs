//! The key manager: what it is sent, and every way in which it can fail.

use std::{io::Write, time::Duration};

use portcullis::demo::Reply;

use crate::support::{Answer, Harness, ROUTES, RawServer, read_request, wait_for};

#[test]
fn the_request_is_what_rfc_7662_asks_for() {
    let harness = Harness::start();
    harness.get_with(
        "/orders/1",
        "Authorization: Bearer a+b/c~d==\r\nCookie: c=1\r\nX-Custom: 1\r\n",
    );
    let seen = harness.key_manager.last().unwrap();
    assert_eq!(seen.method, "POST");
    assert_eq!(seen.path, "/oauth2/introspect");
    assert_eq!(seen.body, "token=a%2Bb%2Fc%7Ed%3D%3D");
    let header = |name: &str| seen.headers.get(name).and_then(|value| value.to_str().ok());
    assert_eq!(
        header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(header("accept"), Some("application/json"));
    // gateway:demo-secret
    assert_eq!(
        header("authorization"),
        Some("Basic Z2F0ZXdheTpkZW1vLXNlY3JldA==")
    );
    assert_eq!(header("cookie"), None);
    assert_eq!(header("x-custom"), None);
}

#[test]
fn the_hint_is_sent_when_configured() {
    let harness = Harness::with_keys(ROUTES, "tokenTypeHint = \"access_token\"");
    harness.get("/orders/1", "a");
    assert_eq!(
        harness.key_manager.last().unwrap().body,
        "token=a&token_type_hint=access_token"
    );
}

#[test]
fn failures_are_never_a_401_never_a_pass_and_never_remembered() {
    let harness = Harness::start();
    let json = |status, body| Reply::status(status, "application/json", body);
    let cases = [
        (json(500, "{}"), 503, "introspection_unreachable"),
        (
            json(503, r#"{"active":true}"#),
            503,
            "introspection_unreachable",
        ),
        (json(429, "{}"), 503, "introspection_rate_limited"),
        (json(401, "{}"), 503, "introspection_client_refused"),
        (json(403, ""), 503, "introspection_client_refused"),
        (
            json(400, r#"{"error":"invalid_client"}"#),
            503,
            "introspection_client_refused",
        ),
        (
            json(400, r#"{"error":"invalid_request"}"#),
            502,
            "introspection_bad_answer",
        ),
        (
            json(404, r#"{"active":true}"#),
            502,
            "introspection_bad_answer",
        ),
        (
            json(302, r#"{"active":true}"#),
            502,
            "introspection_bad_answer",
        ),
        (
            json(201, r#"{"active":true}"#),
            502,
            "introspection_bad_answer",
        ),
        (
            Reply::status(200, "text/html", "<html>sign in</html>"),
            502,
            "introspection_bad_answer",
        ),
        (Reply::Json(String::new()), 502, "introspection_bad_answer"),
        (
            Reply::Json("[]".to_owned()),
            502,
            "introspection_bad_answer",
        ),
        (
            Reply::Json(r#"{"active":"true"}"#.to_owned()),
            502,
            "introspection_bad_answer",
        ),
        (
            Reply::Json(r#"{"active":1}"#.to_owned()),
            502,
            "introspection_bad_answer",
        ),
        (
            Reply::Json(r#"{"active":false,"active":true}"#.to_owned()),
            502,
            "introspection_bad_answer",
        ),
        (
            Reply::Json(r#"{"active":true,"exp":1e400}"#.to_owned()),
            502,
            "introspection_bad_answer",
        ),
        (
            Reply::Json(format!("{{\"active\":true,\"x\":{}", "[".repeat(30_000))),
            502,
            "introspection_bad_answer",
        ),
        (
            Reply::Json(format!(
                r#"{{"active":true,"x":"{}"}}"#,
                "a".repeat(10 << 20)
            )),
            502,
            "introspection_bad_answer",
        ),
    ];
    for (number, (reply, status, reason)) in cases.into_iter().enumerate() {
        let token = format!("token{number}");
        harness.key_manager.set(&token, reply);
        let answer = harness.get("/orders/1", &token);
        assert_eq!(
            answer.refusal(),
            (status, reason.to_owned()),
            "case {number}"
        );
        assert_eq!(
            answer.header("retry-after").is_some(),
            status == 503,
            "case {number}"
        );
        assert_eq!(answer.header("www-authenticate"), None);
        assert_eq!(harness.echo.requests(), number);

        harness
            .key_manager
            .set(&token, Reply::active("shop", "orders.read"));
        assert_eq!(
            harness.get("/orders/1", &token).status,
            200,
            "case {number} was remembered"
        );
    }
}

#[test]
fn an_answer_has_its_time_and_its_failure_is_not_remembered() {
    let harness = Harness::with_keys(ROUTES, "timeout = \"500ms\"");
    let active = || Reply::active("shop", "orders.read");
    let slow = Reply::Slow(Duration::from_secs(60), Box::new(active()));
    harness.key_manager.set("good", slow);
    let answer = harness.get("/orders/1", "good");
    assert_eq!(answer.refusal(), (503, "introspection_timeout".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    harness.key_manager.set("good", active());
    wait_for("an answer in time", || {
        harness.get("/orders/1", "good").status == 200
    });
}

#[test]
fn cached_tokens_pass_while_the_key_manager_fails() {
    let harness = Harness::start();
    harness
        .key_manager
        .set("known", Reply::active("shop", "orders.read"));
    assert_eq!(harness.get("/orders/1", "known").status, 200);
    for token in ["known", "new"] {
        harness
            .key_manager
            .set(token, Reply::status(500, "text/plain", ""));
    }
    assert_eq!(harness.get("/orders/1", "known").status, 200);
    assert_eq!(harness.get("/orders/1", "new").status, 503);
}

#[test]
fn nobody_there() {
    let closed = ([127, 0, 0, 1], crate::support::free_port()).into();
    let harness = Harness::with_key_manager(ROUTES, closed);
    let answer = harness.get("/orders/1", "a");
    assert_eq!(
        answer.refusal(),
        (503, "introspection_unreachable".to_owned())
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    // Its address is nobody else's business.
    assert!(!answer.body.contains(&closed.to_string()));
}

/// What the gateway makes of these bytes from the key manager, twice in a row.
fn answers(bytes: &'static [u8], close: bool) -> [Answer; 2] {
    let server = RawServer::answering(bytes, close);
    let harness = Harness::with_key_manager(ROUTES, server.address);
    ["a", "b"].map(|token| harness.get("/orders/1", token))
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 42\r\n\r\n\
                    {\"active\":true,\"scope\":\"orders.read\"}     ";

#[test]
fn answers_on_the_wire() {
    for answer in answers(GOOD.as_bytes(), false) {
        assert_eq!(answer.status, 200);
    }
    for answer in answers(GOOD.as_bytes(), true) {
        assert_eq!(answer.status, 200);
    }
    let early: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\
        Content-Length: 37\r\n\r\n{\"active\":true,\"scope\":\"orders.read\"}";
    for answer in answers(early, false) {
        assert_eq!(answer.status, 200);
    }
}

#[test]
fn broken_framing_is_never_a_pass() {
    let cases: [(&'static [u8], &str); 7] = [
        (b"", "nothing"),
        (b"nonsense\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{\"active\":true}", "a short body"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 37\r\nContent-Length: 5\r\n\r\n\
              {\"active\":true,\"scope\":\"orders.read\"}",
            "two lengths",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{\"active\":true}",
            "a bad chunk",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 37\r\n\r\n\
              {\"active\":true,\"scope\":\"orders.read\"}",
            "compressed",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 74\r\n\r\n\
              {\"active\":true,\"scope\":\"orders.read\"}{\"active\":true,\"scope\":\"orders.read\"}",
            "two documents",
        ),
    ];
    for (bytes, what) in cases {
        for answer in answers(bytes, true) {
            assert!(matches!(answer.status, 502 | 503), "{what}: {answer:?}");
        }
    }
}

#[test]
fn bytes_after_the_answer_poison_nothing() {
    // What comes after the first answer would let the second token in.
    let server = RawServer::start(|number, mut stream| {
        std::thread::spawn(move || {
            let bad = "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"active\":false}";
            while read_request(&mut stream) {
                let surplus = if number == 0 { GOOD } else { "" };
                if stream
                    .write_all(format!("{bad}{surplus}").as_bytes())
                    .is_err()
                {
                    return;
                }
            }
        });
    });
    let harness = Harness::with_key_manager(ROUTES, server.address);
    for token in ["a", "b", "c"] {
        assert_eq!(
            harness.get("/orders/1", token).refusal().1,
            "inactive",
            "{token}"
        );
    }
    assert_eq!(harness.echo.requests(), 0);
}

#[test]
fn a_kept_connection_that_died_is_no_failure() {
    // Each connection answers once and then closes without saying so.
    let server = RawServer::answering(GOOD.as_bytes(), true);
    let harness = Harness::with_key_manager(ROUTES, server.address);
    for number in 0..30 {
        assert_eq!(harness.get("/orders/1", &format!("t{number}")).status, 200);
    }
}

#[test]
fn connections_are_reused() {
    let connections = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&connections);
    let server = RawServer::start(move |_, mut stream| {
        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        std::thread::spawn(move || {
            while read_request(&mut stream) && stream.write_all(GOOD.as_bytes()).is_ok() {}
        });
    });
    let harness = Harness::with_key_manager(ROUTES, server.address);
    for number in 0..20 {
        assert_eq!(harness.get("/orders/1", &format!("t{number}")).status, 200);
    }
    let connections = connections.load(std::sync::atomic::Ordering::SeqCst);
    // A connection is given back shortly after its answer.
    assert!(connections <= 5, "{connections} connections for 20 calls");
}
