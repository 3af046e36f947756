//! Requests that could be read in two ways: refused, the connection closed, told of once.

use std::{
    io::{Read, Write},
    sync::mpsc,
};

use crate::support::{Harness, RawServer, read_request};

const GOOD: &str = "GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n";

/// Header lines (after `POST /public/x HTTP/1.1` and `Host`) that leave the length open.
const LENGTHS: [&str; 20] = [
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\ncontent-LENGTH:5",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding:\x0bchunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Content-Length: 5, 5",
    "Content-Length: 5\r\nContent-Length: 5",
    "Content-Length: 5\r\nContent-Length: 6",
    "Content-Length: +5",
    "Content-Length: -5",
    "Content-Length: 0x5",
    "Content-Length: 5 5",
    "Content-Length: 5_0",
    "Content-Length:",
    "Content-Length: 99999999999999999999",
];

/// Whole headers that are none.
const HEADERS: [&str; 21] = [
    "POST /public/x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "GET /public/x HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "GET /public/x HTTP/1.1\r\n Host: a\r\n\r\n",
    "GET /public/x HTTP/1.1\r\nHost : a\r\n\r\n",
    "GET /public/x HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n",
    "GET /public/x HTTP/1.1\r\nHost: a\r\n: z\r\n\r\n",
    "GET /public/x HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
    "GET /public/x HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "GET /public/x HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n",
    "GET /public/x HTTP/1.1\r\nHost: a\r\nX: a\rb: c\r\n\r\n",
    "GET /public/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET /public/x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "GET /public/x HTTP/1.1\r\n\r\n",
    "GET http://b/public/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /public/x\r\n\r\n",
    "GET /public/x HTTP/1.1 x\r\nHost: a\r\n\r\n",
    "GET  /public/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /public/x HTTP/2.0\r\nHost: a\r\n\r\n",
    "GET /public/x http/1.1\r\nHost: a\r\n\r\n",
    "GET /public/x HTTP/1.11\r\nHost: a\r\n\r\n",
    "G(T /public/x HTTP/1.1\r\nHost: a\r\n\r\n",
];

#[test]
fn what_has_two_readings_has_none() {
    let harness = Harness::start();
    let lengths = LENGTHS
        .iter()
        .map(|lines| format!("POST /public/x HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n0\r\n\r\n"));
    let requests = lengths.chain(HEADERS.map(str::to_owned));
    let mut count = 0;
    for request in requests {
        count += 1;
        let mut connection = harness.connect();
        // What comes after it may be taken for a request by somebody else.
        let answer = connection.send(format!("{request}{GOOD}").as_bytes());
        assert_eq!(answer.status, 400, "{request:?}: {answer:?}");
        assert!(connection.is_closed(), "{request:?}");
        let log = harness.log(count);
        assert_eq!(log.len(), count, "{request:?}");
        let line = &log[count - 1];
        assert_eq!(
            line["portcullis.reason"], "malformed_request",
            "{request:?}: {line}"
        );
        assert_eq!(line["client.address"], "127.0.0.1", "{line}");
    }
    assert_eq!(harness.echo.requests(), 0);
    let metrics = harness.admin("/metrics").body;
    let counted = format!("reason=\"malformed_request\",route=\"_none\"}} {count}\n");
    assert!(metrics.contains(&counted), "{metrics}");
}

#[test]
fn chunks_are_of_hexadecimal_digits() {
    let harness = Harness::start();
    for chunks in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5_0\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "z\r\nhello\r\n0\r\n\r\n",
        "11111111111111115\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
    ] {
        let mut connection = harness.connect();
        connection.write(
            format!(
                "POST /public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}\
                 GET /public/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
            )
            .as_bytes(),
        );
        // A line without digits ends the body; whatever is seen, nothing is seen after it.
        let answer = connection.read(false);
        let status = answer.as_ref().map(|answer| answer.status);
        let is_empty = chunks.starts_with("\r\n");
        assert!(
            is_empty || matches!(status, None | Some(400)),
            "{chunks:?}: {answer:?}"
        );
        assert!(connection.is_closed(), "{chunks:?}");
    }
    let log = harness.log(10);
    assert!(
        log.iter().all(|line| line["url.path"] == "/public/x"),
        "{log:?}"
    );
    let good = "5;a=b\r\nhello\r\n00a\r\n0123456789\r\n0\r\nX-Trailer: t\r\n\r\n";
    let answer = harness.send(&format!(
        "POST /public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n{good}"
    ));
    assert_eq!(answer.echoed().body_bytes, 15);
}

#[test]
fn a_refusal_before_the_body_leaves_the_connection_in_step() {
    let harness = Harness::start();
    let inner = "GET /public/inner HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = inner.len();
    let mut connection = harness.connect();
    let refused =
        format!("POST /orders/1 HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{inner}");
    assert_eq!(connection.send(refused.as_bytes()).status, 401);
    let answer = connection.send(GOOD.as_bytes());
    assert_eq!(answer.echoed().target, "/public/x");

    let mut connection = harness.connect();
    let refused =
        "POST /orders/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(connection.send(refused.as_bytes()).status, 401);
    connection.write(GOOD.as_bytes());
    // Kept or closed: what comes next is never taken from the body.
    if let Some(answer) = connection.read(false) {
        assert_eq!(answer.echoed().target, "/public/x");
    }
}

#[test]
fn nothing_passes_before_the_upstream_changes_its_protocol() {
    let (tell, told) = mpsc::channel();
    let upstream = RawServer::start(move |_, mut stream| {
        assert!(read_request(&mut stream));
        let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(answer).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        tell.send(rest).unwrap();
    });
    let harness = Harness::with(&format!(
        "[[route]]\npath = \"/ws\"\npublic = true\nupstream = \"http://{}\"\n",
        upstream.address
    ));
    let mut connection = harness.connect();
    let answer = connection.send(
        format!(
            "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n{GOOD}"
        )
        .as_bytes(),
    );
    assert_eq!(answer.status, 403);
    drop(connection);
    let rest = told.recv_timeout(crate::support::PATIENCE).unwrap();
    assert_eq!(String::from_utf8_lossy(&rest), "");
}
