//! Requests that nobody should send: each gets a clear answer, and the next one is not harmed.

use portcullis::demo::Reply;

use crate::support::{Harness, ROUTES};

#[test]
fn odd_tokens() {
    let harness = Harness::start();
    let long = "a".repeat(8 * 1024 + 1);
    for (value, status, reason) in [
        ("Bearer", 401, "malformed_token"),
        ("Bearer ", 401, "malformed_token"),
        ("Bearer a b", 401, "malformed_token"),
        ("Bearer a,Bearer b", 401, "malformed_token"),
        ("Bearer \u{fc}\u{f6}", 401, "malformed_token"),
        ("Bearer {\"a\":1}", 401, "malformed_token"),
        (&format!("Bearer {long}"), 400, "token_too_long"),
        ("", 401, "no_token"),
    ] {
        let answer = harness.get_with("/orders/1", &format!("Authorization: {value}\r\n"));
        assert_eq!(answer.refusal(), (status, reason.to_owned()), "{value:.40}");
    }
    assert_eq!(harness.key_manager.introspections(), 0);
    assert_eq!(harness.echo.requests(), 0);
}

#[test]
fn paths_that_servers_read_differently_are_refused() {
    let harness = Harness::start();
    for path in [
        "/public/../orders/1",
        "/public/%2e%2e/orders/1",
        "/public/..%2forders/1",
        "/public/..;/orders/1",
        "/public//x",
        "/public/x%00",
        "/public/%5c..%5corders",
        "/public/%zz",
        "/public/\\..\\orders",
        "//public/x",
    ] {
        let answer = harness.get_with(path, "");
        assert_eq!(
            answer.refusal(),
            (400, "malformed_request".to_owned()),
            "{path}"
        );
    }
    assert_eq!(harness.echo.requests(), 0);
}

#[test]
fn two_hosts_or_none() {
    let harness = Harness::start();
    let two = "GET /public/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    assert_eq!(harness.send(two).status, 400);
    let none = "GET /public/x HTTP/1.1\r\n\r\n";
    assert_eq!(harness.send(none).status, 400);
    assert_eq!(harness.echo.requests(), 0);
}

#[test]
fn a_refusal_before_the_body_does_not_shift_the_connection() {
    let harness = Harness::start();
    harness
        .key_manager
        .set("good", Reply::active("shop", "orders.read"));
    // The body looks like a request of its own.
    let smuggled = "GET /public/smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    let request = format!(
        "POST /orders/1 HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{smuggled}",
        smuggled.len()
    );
    let mut connection = harness.connect();
    assert_eq!(connection.send(request.as_bytes()).status, 401);
    let next = "GET /orders/2 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good\r\n\r\n";
    let answer = connection.send(next.as_bytes());
    assert_eq!(answer.echoed().target, "/orders/2");
    assert_eq!(harness.echo.requests(), 1);
}

#[test]
fn a_refusal_before_a_large_or_endless_body_closes() {
    let harness = Harness::start();
    for body in [
        "Content-Length: 10000000\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n",
    ] {
        let mut connection = harness.connect();
        let request = format!("POST /orders/1 HTTP/1.1\r\nHost: h\r\n{body}");
        let answer = connection.send(request.as_bytes());
        assert_eq!(answer.refusal(), (401, "no_token".to_owned()), "{body}");
        assert_eq!(answer.header("connection"), Some("close"), "{body}");
        assert!(connection.is_closed(), "{body}");
    }
    assert_eq!(harness.echo.requests(), 0);
}

#[test]
fn a_flood_of_random_tokens_leaves_good_ones_alone() {
    let harness = Harness::with(&format!("[token_cache]\nmax_ttl = \"1h\"\n{ROUTES}"));
    harness
        .key_manager
        .set("good", Reply::active("shop", "orders.read"));
    assert_eq!(harness.get("/orders/1", "good").status, 200);
    let mut connection = harness.connect();
    for number in 0..3_000 {
        let request = format!(
            "GET /orders/1 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer random{number}\r\n\r\n"
        );
        assert_eq!(connection.send(request.as_bytes()).status, 401);
    }
    let calls = harness.key_manager.introspections();
    assert_eq!(harness.get("/orders/1", "good").status, 200);
    assert_eq!(harness.key_manager.introspections(), calls);
    assert_eq!(harness.metrics.token_cache.active_entries.get(), 1);
}
