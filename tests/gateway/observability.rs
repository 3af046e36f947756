//! Metrics, health and the access log.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use portcullis::demo::Reply;

use crate::support::{Harness, RawServer, wait_for};

#[test]
fn every_request_makes_one_line_with_one_reason() {
    let harness = Harness::start();
    harness
        .key_manager
        .set("s3cret-token", Reply::active("shop", "orders.read"));
    harness.get("/orders/1?password=hunter2", "s3cret-token");
    harness.get("/orders/1", "s3cret-token");
    harness.get_with("/orders/1?access_token=s3cret-token", "");
    harness.get("/orders/1", "unknown-token");
    harness.get_with("/public/x\"y", "User-Agent: a\"b\r\n");
    harness.get_with("/nowhere", "");
    let lines = harness.log(6);
    let told: Vec<(u64, &str, &str)> = lines
        .iter()
        .map(|line| {
            (
                line["http.response.status_code"].as_u64().unwrap(),
                line["portcullis.decision"].as_str().unwrap(),
                line["portcullis.reason"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (200, "allow", "active"),
            (200, "allow", "active"),
            (401, "deny", "no_token"),
            (401, "deny", "inactive"),
            (200, "skipped", "public"),
            (404, "deny", "route_not_found"),
        ]
    );
    assert_eq!(lines[0]["portcullis.cache"], "miss");
    assert_eq!(lines[1]["portcullis.cache"], "hit");
    assert_eq!(lines[0]["portcullis.token"], lines[1]["portcullis.token"]);
    assert_eq!(lines[0]["portcullis.client_id"], "shop");
    assert_eq!(lines[0]["url.path"], "/orders/1");
    let text = harness.raw_log();
    for secret in [
        "s3cret-token",
        "unknown-token",
        "hunter2",
        "demo-secret",
        "?",
    ] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn metrics_count_what_happened() {
    let harness = Harness::start();
    harness
        .key_manager
        .set("good", Reply::active("shop", "orders.read"));
    harness.get("/orders/1", "good");
    harness.get("/orders/1", "good");
    harness.get("/orders/1", "bad");
    harness.log(3);
    let answer = harness.admin("/metrics");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    for line in [
        r#"portcullis_http_requests_total{code="200",method="GET",route="orders"} 2"#,
        r#"portcullis_http_requests_total{code="401",method="GET",route="orders"} 1"#,
        r#"portcullis_auth_decisions_total{decision="allow",reason="active",route="orders"} 2"#,
        r#"portcullis_auth_decisions_total{decision="deny",reason="inactive",route="orders"} 1"#,
        r#"portcullis_token_cache_lookups_total{cache="l1",result="hit"} 1"#,
        r#"portcullis_token_cache_lookups_total{cache="l1",result="miss"} 2"#,
        r#"portcullis_state{state="ready"} 1"#,
    ] {
        assert!(answer.body.contains(line), "{line} in {}", answer.body);
    }
    let active = answer
        .body
        .lines()
        .find(|line| {
            line.starts_with("portcullis_introspection_requests_total")
                && line.contains("\"active\"")
        })
        .unwrap();
    assert!(active.ends_with(" 1"), "{active}");
    wait_for("the end of the last one", || {
        harness.metric(r#"portcullis_http_requests_in_flight{route="orders"}"#) == 0.0
    });
}

/// Names and labels of all series of ours.
fn series(harness: &Harness) -> Vec<String> {
    harness
        .admin("/metrics")
        .body
        .lines()
        .filter(|line| line.starts_with("portcullis_"))
        .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
        .collect()
}

#[test]
fn whatever_clients_send_makes_no_series() {
    let harness = Harness::start();
    let before = series(&harness);
    for number in 0..200 {
        for request in [
            format!("GET /p{number} HTTP/1.1\r\nHost: h{number}\r\n\r\n"),
            format!("M{number} /orders/{number} HTTP/1.1\r\nHost: h\r\n\r\n"),
            format!(
                "GET /orders/{number} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t{number}\r\n\r\n"
            ),
        ] {
            assert!(harness.send(&request).status >= 400);
        }
    }
    harness.log(600);
    assert_eq!(before, series(&harness));
}

#[test]
fn the_admin_listener_says_how_things_are() {
    let harness = Harness::start();
    for (path, status, body) in [
        ("/healthz", 200, "ok\n"),
        ("/readyz", 200, "ready\n"),
        ("/nothing", 404, "there is nothing here: see /\n"),
    ] {
        let answer = harness.admin(path);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (status, body),
            "{path}"
        );
    }
    // Nothing of it on the gateway's own listener.
    assert_eq!(harness.get_with("/metrics", "").status, 404);
}

#[test]
fn the_trace_goes_to_the_key_manager_too() {
    let harness = Harness::start();
    harness
        .key_manager
        .set("good", Reply::active("shop", "orders.read"));
    let headers = "Authorization: Bearer good\r\n\
        traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    let echoed = harness.get_with("/orders/1", headers).echoed();
    let seen = harness.key_manager.last().unwrap();
    let asked = seen.headers["traceparent"].to_str().unwrap();
    assert!(asked.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && asked.ends_with("-01"));
    // Spans of their own, both below the gateway's.
    assert_ne!(asked, echoed.header("traceparent")[0]);
    assert!(!asked.contains("00f067aa0ba902b7"));
}

#[test]
fn the_status_page_tells_and_gives_nothing_away() {
    let harness = Harness::start();
    harness
        .key_manager
        .set("s3cret-token", Reply::active("shop", "orders.read"));
    harness.get("/orders/1?password=hunter2", "s3cret-token");
    harness.get("/orders/2?password=hunter2", "other-token");
    harness.get_with("/x'&y", "");
    harness.log(3);
    let answer = harness.admin("/");
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    for told in [
        "orders-write",
        "orders.read",
        "route_not_found",
        "GET /orders/2",
        "/x&#39;&amp;y",
    ] {
        assert!(answer.body.contains(told), "{told} in {}", answer.body);
    }
    for secret in [
        "s3cret-token",
        "other-token",
        "hunter2",
        "demo-secret",
        "<script",
    ] {
        assert!(!answer.body.contains(secret), "{secret} in {}", answer.body);
    }
}

#[test]
fn bytes_are_counted_both_ways() {
    let harness = Harness::start();
    let echoed = harness
        .send("POST /public/x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
        .body;
    harness.log(1);
    let metrics = harness.admin("/metrics").body;
    for line in [
        r#"portcullis_http_request_body_bytes_total{route="/public/*"} 5"#.to_owned(),
        format!(
            r#"portcullis_http_response_body_bytes_total{{route="/public/*"}} {}"#,
            echoed.len()
        ),
    ] {
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

#[test]
fn clients_that_go_away_are_counted_by_how_far_they_came() {
    // Says nothing on /silent, and never comes to an end elsewhere.
    let upstream = RawServer::start(|_, mut stream| {
        std::thread::spawn(move || {
            let mut head = [0; 1024];
            let length = stream.read(&mut head).unwrap_or(0);
            if head[..length].starts_with(b"GET /silent") {
                // Until the gateway gives up.
                let _ = stream.read(&mut head);
                return;
            }
            let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n".to_vec();
            while stream.write_all(&bytes).is_ok() {
                bytes = vec![b'x'; 65_536];
            }
        });
    });
    let route = |name: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\npath = \"/{name}\"\npublic = true\nupstream = \"http://{}\"\n",
            upstream.address
        )
    };
    let harness = Harness::with(&format!("{}{}", route("silent"), route("endless")));
    for name in ["silent", "endless"] {
        let mut client = TcpStream::connect(harness.gateway).unwrap();
        write!(client, "GET /{name} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let metric = format!("portcullis_http_requests_in_flight{{route=\"{name}\"}} 1");
        wait_for("the request", || {
            harness.admin("/metrics").body.contains(&metric)
        });
        if name == "endless" {
            client.read_exact(&mut [0; 100]).unwrap();
        }
    }
    for line in [
        r#"portcullis_client_aborts_total{phase="upstream",route="silent"} 1"#,
        r#"portcullis_client_aborts_total{phase="body",route="endless"} 1"#,
    ] {
        wait_for(line, || harness.admin("/metrics").body.contains(line));
    }
}
