//! Spans for a collector, and what clients are told of times.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc::{Receiver, channel},
};

use portcullis::demo::Reply;
use serde_json::Value;

use crate::support::{Harness, PATIENCE, ROUTES, RawServer, wait_for};

const CALLER: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";

/// A collector that answers with `status`, and the head and body of each export.
fn collector(status: &'static str) -> (RawServer, Receiver<(String, String)>) {
    let (exported, exports) = channel();
    let server = RawServer::start(move |_, mut stream| {
        while let Some(export) = read_export(&mut stream) {
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}");
            if exported.send(export).is_err() || stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    (server, exports)
}

fn read_export(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.split_once("content-length: ").unwrap().1;
    let mut body = vec![0; length.split_once("\r\n").unwrap().0.parse().unwrap()];
    stream.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).unwrap()))
}

/// All spans of an export.
fn spans(body: &str) -> Vec<Value> {
    let body: Value = serde_json::from_str(body).unwrap();
    let spans = &body["resourceSpans"][0]["scopeSpans"][0]["spans"];
    spans.as_array().unwrap().clone()
}

fn attribute(span: &Value, key: &str) -> Option<Value> {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes
        .iter()
        .find(|attribute| attribute["key"] == key)?;
    found["value"].as_object().unwrap().values().next().cloned()
}

fn tracing(server: &RawServer, keys: &str) -> String {
    format!(
        "[tracing]\nendpoint = \"http://{}\"\n{keys}\n{ROUTES}",
        server.address
    )
}

#[test]
fn spans_hang_together_from_the_caller_to_both_servers() {
    let (server, exports) = collector("200 OK");
    let keys = "service_name = \"edge\"\nheaders = { \"X-Api-Key\" = \"k3y\" }";
    let harness = Harness::with(&tracing(&server, keys));
    harness
        .key_manager
        .set("s3cret-token", Reply::active("shop", "orders.read"));
    let headers = format!("Authorization: Bearer s3cret-token\r\n{CALLER}");
    let echoed = harness
        .get_with("/orders/1?password=hunter2", &headers)
        .echoed();
    let (head, body) = exports.recv_timeout(PATIENCE).unwrap();
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/json\r\n"),
        "{head}"
    );
    assert!(head.contains("x-api-key: k3y\r\n"), "{head}");
    for secret in ["s3cret-token", "hunter2", "demo-secret", "k3y"] {
        assert!(!body.contains(secret), "{secret} in {body}");
    }
    let spans = spans(&body);
    let names: Vec<&str> = spans
        .iter()
        .map(|span| span["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["GET orders", "introspect", "upstream"]);
    let [ours, introspect, upstream] = &spans[..] else {
        panic!("{spans:?}");
    };
    assert_eq!(ours["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!(introspect["parentSpanId"], ours["spanId"]);
    assert_eq!(upstream["parentSpanId"], ours["spanId"]);
    for span in &spans {
        assert_eq!(span["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
        let time = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
        assert!(time("startTimeUnixNano") <= time("endTimeUnixNano"));
    }
    // What each server was told is the span of its part.
    let seen = harness.key_manager.last().unwrap();
    for (header, span) in [
        (seen.headers["traceparent"].to_str().unwrap(), introspect),
        (echoed.header("traceparent")[0], upstream),
    ] {
        let id = span["spanId"].as_str().unwrap();
        assert_eq!(
            header,
            format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{id}-01")
        );
    }
    assert_eq!(attribute(ours, "portcullis.reason").unwrap(), "active");
    assert_eq!(attribute(ours, "http.response.status_code").unwrap(), "200");
    assert_eq!(attribute(introspect, "portcullis.cache").unwrap(), "miss");
}

#[test]
fn faults_are_kept_and_the_rest_by_chance() {
    let (server, exports) = collector("200 OK");
    let harness = Harness::with(&tracing(&server, "sample = 0"));
    harness
        .key_manager
        .set("down", Reply::status(500, "text/plain", "out of order"));
    let echoed = harness.get_with("/public/x", "").echoed();
    assert!(echoed.header("traceparent")[0].ends_with("-00"));
    assert_eq!(harness.get("/orders/1", "unknown").status, 401);
    assert_eq!(harness.get("/orders/1", "down").status, 503);
    let (_, body) = exports.recv_timeout(PATIENCE).unwrap();
    let spans = spans(&body);
    assert_eq!(spans.len(), 2, "{spans:?}");
    for span in &spans {
        assert_eq!(span["status"]["code"], 2);
        assert_eq!(span["status"]["message"], "introspection_unreachable");
    }
}

#[test]
fn every_trace_that_begins_here_can_be_kept() {
    let (server, exports) = collector("200 OK");
    let harness = Harness::with(&tracing(&server, "sample = 1"));
    let echoed = harness.get_with("/public/x", "").echoed();
    assert!(echoed.header("traceparent")[0].ends_with("-01"));
    let (_, body) = exports.recv_timeout(PATIENCE).unwrap();
    let spans = spans(&body);
    assert_eq!(spans[0]["name"], "GET /public/*");
    assert!(spans[0].get("parentSpanId").is_none());
}

#[test]
fn a_collector_that_refuses_costs_spans_not_requests() {
    let (server, exports) = collector("400 Bad Request");
    let harness = Harness::with(&tracing(&server, "sample = 1"));
    for _ in 0..10 {
        assert_eq!(harness.get_with("/public/x", "").status, 200);
    }
    exports.recv_timeout(PATIENCE).unwrap();
    let dropped = &harness.metrics.trace_spans_dropped;
    wait_for("all spans to be counted", || dropped.get() == 20);
}

#[test]
fn clients_are_told_where_the_time_went_if_the_operator_says_so() {
    let harness = Harness::with(&format!("[tracing]\nserver_timing = true\n{ROUTES}"));
    harness
        .key_manager
        .set("good", Reply::active("shop", "orders.read"));
    harness.get("/orders/1", "good");
    let answer = harness.get("/orders/1", "good");
    let times = answer.header("server-timing").unwrap();
    assert!(times.starts_with("auth;dur="), "{times}");
    assert!(times.contains(";desc=hit, upstream;dur="), "{times}");
    let answer = Harness::start().get_with("/public/x", "");
    assert_eq!(answer.header("server-timing"), None);
}
