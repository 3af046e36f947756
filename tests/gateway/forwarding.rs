//! What the upstream gets, and what comes back from it.

use portcullis::demo::Reply;

use crate::support::{Harness, ROUTES, RawServer};

fn harness() -> Harness {
    let harness = Harness::start();
    harness
        .key_manager
        .set("good", Reply::active("shop", "orders.read orders.write"));
    harness
}

#[test]
fn the_token_stays_here_and_the_caller_is_named() {
    let harness = harness();
    let echoed = harness.get("/orders/1?q=a%20b&x", "good").echoed();
    assert_eq!(echoed.target, "/orders/1?q=a%20b&x");
    assert!(echoed.header("authorization").is_empty());
    assert_eq!(echoed.header("x-auth-subject"), ["user-of-shop"]);
    assert_eq!(echoed.header("x-auth-client"), ["shop"]);
    assert_eq!(echoed.header("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(echoed.header("x-forwarded-proto"), ["http"]);
    assert_eq!(echoed.header("x-forwarded-host"), ["api.example"]);
    assert_eq!(echoed.header("host").len(), 1);
    assert_ne!(echoed.header("host"), ["api.example"]);
}

#[test]
fn the_token_goes_on_where_the_route_says_so() {
    let harness = Harness::with(
        r#"
        [[route]]
        path = "/*"
        forward_token = true
        upstream = "http://{upstream}"
        "#,
    );
    harness.key_manager.set("good", Reply::active("shop", ""));
    let echoed = harness.get("/", "good").echoed();
    assert_eq!(echoed.header("authorization"), ["Bearer good"]);
}

#[test]
fn callers_cannot_say_who_they_are() {
    let harness = harness();
    let lies = "Authorization: Bearer good\r\nX-Auth-Subject: admin\r\nx_auth_subject: admin\r\n\
                X-Auth_Client: admin\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\n\
                Forwarded: for=10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nX-Original-URL: /admin\r\n\
                X-Rewrite-URL: /admin\r\nX-HTTP-Method-Override: DELETE\r\nX-Forwarded-Host: e\r\n\
                X-Forwarded-User: admin\r\nX_Forwarded_Email: admin\r\nX-Forwarded-Uri: /admin\r\n\
                X-Forwarded-Client-Cert: Subject=admin\r\nX-Original_Uri: /admin\r\n\
                X-Original-Method: DELETE\r\nX-Host: e\r\nX_HTTP_Method_Override: DELETE\r\n";
    let echoed = harness.get_with("/orders/1", lies).echoed();
    assert_eq!(echoed.header("x-auth-subject"), ["user-of-shop"]);
    assert_eq!(echoed.header("x-auth-client"), ["shop"]);
    assert_eq!(echoed.header("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(echoed.header("x-forwarded-host"), ["api.example"]);
    for name in [
        "x_auth_subject",
        "x-auth_client",
        "forwarded",
        "x-real-ip",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "x_http_method_override",
        "x-forwarded-user",
        "x_forwarded_email",
        "x-forwarded-uri",
        "x-forwarded-client-cert",
        "x-original_uri",
        "x-original-method",
        "x-host",
    ] {
        assert!(echoed.header(name).is_empty(), "{name}");
    }
    // Nor on a route that sets no identity header.
    let echoed = harness.get_with("/public/x", lies).echoed();
    assert!(echoed.header("x-auth-subject").is_empty());
}

#[test]
fn a_trusted_proxy_may_say_what_the_gateway_does_not_know() {
    let harness = Harness::with_listen("trusted_proxies = [\"127.0.0.1\"]", ROUTES);
    let said = "X-Forwarded-Client-Cert: Subject=shop\r\nX-Forwarded-User: ann\r\n\
                X-Auth-Subject: admin\r\nX-Forwarded-Port: 1\r\nX-Original-URL: /admin\r\n";
    let echoed = harness.get_with("/public/x", said).echoed();
    assert_eq!(echoed.header("x-forwarded-client-cert"), ["Subject=shop"]);
    assert_eq!(echoed.header("x-forwarded-user"), ["ann"]);
    for name in ["x-auth-subject", "x-forwarded-port", "x-original-url"] {
        assert!(echoed.header(name).is_empty(), "{name}");
    }
}

#[test]
fn connection_cannot_take_away_what_the_gateway_says() {
    let harness = harness();
    let headers = "Authorization: Bearer good\r\nConnection: X-Auth-Subject, X-Hop\r\n\
                   X-Hop: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Connection: x\r\n";
    let echoed = harness.get_with("/orders/1", headers).echoed();
    assert_eq!(echoed.header("x-auth-subject"), ["user-of-shop"]);
    assert_eq!(echoed.header("x-forwarded-for"), ["127.0.0.1"]);
    for name in ["x-hop", "keep-alive", "proxy-connection"] {
        assert!(echoed.header(name).is_empty(), "{name}");
    }
    for name in ["X-Forwarded-For", "Host", ":path", "\"quoted\""] {
        let headers = format!("Authorization: Bearer good\r\nConnection: {name}\r\n");
        let refusal = harness.get_with("/orders/1", &headers).refusal();
        assert_eq!(refusal, (400, "malformed_request".to_owned()), "{name}");
    }
}

#[test]
fn claims_cannot_break_out_of_their_header() {
    let harness = harness();
    let json =
        r#"{"active":true,"scope":"orders.read","sub":"x\r\nX-Admin: true","client_id":"Jürgen"}"#;
    harness
        .key_manager
        .set("nasty", Reply::Json(json.to_owned()));
    let echoed = harness.get("/orders/1", "nasty").echoed();
    assert_eq!(echoed.header("x-auth-subject"), ["x%0D%0AX-Admin: true"]);
    assert_eq!(echoed.header("x-auth-client"), ["J%C3%BCrgen"]);
    assert!(echoed.header("x-admin").is_empty());
}

#[test]
fn a_claim_that_is_missing_leaves_no_header() {
    let harness = harness();
    let json = r#"{"active":true,"scope":"orders.read"}"#;
    harness
        .key_manager
        .set("bare", Reply::Json(json.to_owned()));
    let headers = "Authorization: Bearer bare\r\nX-Auth-Subject: admin\r\n";
    let echoed = harness.get_with("/orders/1", headers).echoed();
    assert!(echoed.header("x-auth-subject").is_empty());
}

#[test]
fn the_trace_goes_on() {
    let harness = harness();
    let headers = "Authorization: Bearer good\r\n\
        traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\ntracestate: a=1\r\n";
    let echoed = harness.get_with("/orders/1", headers).echoed();
    let [ours] = echoed.header("traceparent")[..] else {
        panic!("one traceparent: {echoed:?}");
    };
    assert!(ours.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && ours.ends_with("-01"));
    assert!(!ours.contains("00f067aa0ba902b7"));
    assert_eq!(echoed.header("tracestate"), ["a=1"]);

    let headers = "Authorization: Bearer good\r\ntraceparent: nonsense\r\ntracestate: a=1\r\n";
    let echoed = harness.get_with("/orders/1", headers).echoed();
    assert_eq!(echoed.header("traceparent")[0].len(), 55);
    assert!(echoed.header("tracestate").is_empty());
}

#[test]
fn the_path_that_is_matched_is_the_path_that_is_sent() {
    let harness = harness();
    let headers = "Authorization: Bearer good\r\n";
    let echoed = harness
        .get_with("/%6frders/%7Ea%20b?x=%6f", headers)
        .echoed();
    assert_eq!(echoed.target, "/orders/~a%20b?x=%6f");
    let absolute = "GET http://api.example/orders/1?x=1 HTTP/1.1\r\nHost: api.example\r\n\
                    Authorization: Bearer good\r\n\r\n";
    assert_eq!(harness.send(absolute).echoed().target, "/orders/1?x=1");
}

#[test]
fn bodies_go_through() {
    let harness = harness();
    let body = "b".repeat(1 << 20);
    let request = format!(
        "POST /orders/1 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(harness.send(&request).echoed().body_bytes, 1 << 20);
    let chunked = "POST /orders/1 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good\r\n\
                   Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    assert_eq!(harness.send(chunked).echoed().body_bytes, 11);
}

#[test]
fn many_requests_on_one_connection() {
    let harness = harness();
    let mut connection = harness.connect();
    for number in 0..50 {
        let request = format!(
            "GET /orders/{number} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good\r\n\r\n"
        );
        let target = connection.send(request.as_bytes()).echoed().target;
        assert_eq!(target, format!("/orders/{number}"));
    }
}

#[test]
fn head_is_get_without_a_body() {
    let harness = harness();
    let head =
        harness.send("HEAD /orders/1 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good\r\n\r\n");
    assert_eq!(head.status, 200);
    let mut connection = harness.connect();
    for _ in 0..2 {
        let refused = connection.send(b"HEAD /orders/1 HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(refused.status, 401);
        assert!(refused.header("content-length").is_some());
    }
}

/// A gateway whose one route, a public one, goes to a server of the test's own.
fn in_front_of(upstream: std::net::SocketAddr) -> Harness {
    Harness::with(&format!(
        "[[route]]\npath = \"/*\"\npublic = true\nupstream = \"http://{upstream}\"\n"
    ))
}

#[test]
fn an_upstream_that_fails_is_told_apart() {
    let closed = ([127, 0, 0, 1], crate::support::free_port()).into();
    let refusal = in_front_of(closed).get_with("/x", "").refusal();
    assert_eq!(refusal, (502, "upstream_connect".to_owned()));

    for bytes in [&b""[..], b"nonsense\r\n\r\n"] {
        let server = RawServer::answering(bytes, true);
        let refusal = in_front_of(server.address).get_with("/x", "").refusal();
        assert_eq!(refusal, (502, "upstream_reset".to_owned()), "{bytes:?}");
    }
}

#[test]
fn what_concerns_only_the_upstreams_connection_stays_there() {
    let server = RawServer::answering(
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Internal\r\nKeep-Alive: timeout=5\r\n\
          X-Internal: 1\r\nX-Kept: 1\r\nContent-Length: 2\r\n\r\nok",
        false,
    );
    let answer = in_front_of(server.address).get_with("/x", "");
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    assert_eq!(answer.header("x-internal"), None);
    assert_eq!(answer.header("keep-alive"), None);
    assert_eq!(answer.header("x-kept"), Some("1"));
}
