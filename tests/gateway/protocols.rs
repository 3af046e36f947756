//! What is more than a question and an answer: WebSockets, streams, gRPC, trailers, `Expect`, HTTP/1.0.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Mutex, mpsc},
    time::{SystemTime, UNIX_EPOCH},
};

use portcullis::demo::Reply;

use crate::support::{Connection, Harness, PATIENCE, RawServer, wait_for};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// An upstream that hands over the header of each request, and then does `serve`.
fn upstream(
    serve: impl Fn(TcpStream) + Send + Clone + 'static,
) -> (RawServer, mpsc::Receiver<String>) {
    let (tell, told) = mpsc::channel();
    let server = RawServer::start(move |_, mut stream| {
        let (tell, serve) = (tell.clone(), serve.clone());
        std::thread::spawn(move || {
            if let Some(head) = read_head(&mut stream) {
                let _ = tell.send(head);
                serve(stream);
            }
        });
    });
    (server, told)
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        (stream.read(&mut byte).ok()? == 1).then(|| head.push(byte[0]))?;
    }
    Some(String::from_utf8_lossy(&head).to_ascii_lowercase())
}

/// Says 101 and then everything that it hears.
fn web_socket(mut stream: TcpStream) {
    let _ = stream.write_all(SWITCHING);
    let mut bytes = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        let _ = stream.write_all(&bytes[..count]);
    }
}

/// One event, and then silence until the other side goes.
fn events(mut stream: TcpStream) {
    let _ = stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
          9\r\ndata: 1\n\n\r\n",
    );
    let _ = stream.read(&mut [0; 1]);
}

fn route(server: &RawServer, keys: &str) -> String {
    format!(
        "[[route]]\npath = \"/*\"\nupstream = \"http://{}\"\n{keys}\n",
        server.address
    )
}

fn open_socket(harness: &Harness) -> Connection {
    let mut connection = harness.connect();
    let request = format!("{HANDSHAKE}Authorization: Bearer good\r\n\r\n");
    let answer = connection.send(request.as_bytes());
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert!(answer.header("sec-websocket-accept").is_some());
    connection
}

fn exchange(connection: &mut Connection, frame: &[u8]) -> Option<Vec<u8>> {
    connection.write(frame);
    connection.bytes(frame.len())
}

/// A masked text frame as clients send it.
const FRAME: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs()
}

fn until(exp: u64) -> Reply {
    Reply::Json(format!(r#"{{"active":true,"exp":{exp}}}"#))
}

/// The reason in the line of the one request that lasted.
fn reason(harness: &Harness) -> String {
    let line = &harness.log(1)[0];
    line["portcullis.reason"].as_str().unwrap().to_owned()
}

#[test]
fn a_web_socket_is_opened_by_a_token_and_carries_bytes_both_ways() {
    let (server, heads) = upstream(web_socket);
    let harness = Harness::with(&route(&server, ""));
    harness.key_manager.set("good", Reply::active("shop", ""));
    let refused = harness.send(&format!("{HANDSHAKE}\r\n"));
    assert_eq!(refused.refusal(), (401, "no_token".to_owned()));
    assert!(heads.try_recv().is_err());

    let mut connection = open_socket(&harness);
    let head = heads.recv_timeout(PATIENCE).unwrap();
    assert!(head.contains("upgrade: websocket"), "{head}");
    assert!(head.contains("connection: upgrade"), "{head}");
    assert!(head.contains("sec-websocket-key: dgh"), "{head}");
    assert!(!head.contains("authorization"), "{head}");
    for _ in 0..3 {
        assert_eq!(exchange(&mut connection, FRAME).as_deref(), Some(FRAME));
    }
    drop(connection);
    let line = &harness.log(2)[1];
    assert_eq!(line["http.response.status_code"], 101, "{line}");
    assert_eq!(line["portcullis.reason"], "active");
}

#[test]
fn nothing_goes_through_before_the_upstream_has_switched() {
    let (tell, told) = mpsc::channel();
    let (server, _heads) = upstream(move |mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        let _ = tell.send(rest);
    });
    let harness = Harness::with(&route(&server, "public = true"));
    let mut connection = harness.connect();
    let request = [HANDSHAKE.as_bytes(), b"\r\n", FRAME].concat();
    let answer = connection.send(&request);
    assert_eq!((answer.status, answer.body.as_str()), (200, "no"));
    drop(connection);
    // When the gateway closes its idle connection, all that it ever sent is there.
    let rest = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(rest, b"", "after the header");
}

#[test]
fn an_upstream_that_does_not_switch_keeps_the_connection_in_step() {
    let server = RawServer::answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", false);
    let harness = Harness::with(&route(&server, "public = true"));
    let mut connection = harness.connect();
    for _ in 0..3 {
        let answer = connection.send(format!("{HANDSHAKE}\r\n").as_bytes());
        assert_eq!((answer.status, answer.body.as_str()), (200, "no"));
    }
}

#[test]
fn other_upgrades_stay_here() {
    let (server, heads) = upstream(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let harness = Harness::with(&route(&server, "public = true"));
    for (version, upgrade) in [
        ("1.1", "h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"),
        ("1.1", "TLS/1.0"),
        ("1.1", "websocket, h2c"),
        ("1.0", "websocket"),
    ] {
        let answer = harness.send(&format!(
            "GET / HTTP/{version}\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: {upgrade}\r\n\r\n"
        ));
        assert_eq!(answer.status, 200, "{upgrade}");
        let head = heads.recv_timeout(PATIENCE).unwrap();
        for name in ["upgrade:", "http2-settings:"] {
            assert!(!head.contains(name), "{head}");
        }
    }
}

#[test]
fn an_upgrade_is_asked_for_by_connection_and_without_a_body() {
    let (server, heads) = upstream(web_socket);
    let harness = Harness::with(&route(&server, "public = true"));
    let inner = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    let length = inner.len();
    for request in [
        // RFC 9110 §7.8: without `Connection` it is about no connection.
        format!("GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n{inner}"),
        format!(
            "POST /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Content-Length: {length}\r\n\r\n{inner}"
        ),
    ] {
        let mut connection = harness.connect();
        connection.write(request.as_bytes());
        let answer = connection.read(false);
        let head = heads.recv_timeout(PATIENCE).ok();
        // A server that says 101 to what was no question is not believed.
        let status = answer.as_ref().map(|answer| answer.status);
        assert_ne!(status, Some(101), "{request}");
        assert!(
            !head.is_some_and(|head| head.contains("upgrade:")),
            "{request}"
        );
        drop(connection);
        assert!(heads.try_recv().is_err(), "a second request");
    }
}

const NO_LEEWAY: &str = "end_with_token = true\n[token]\nclock_skew = \"0s\"";
const ONE_SECOND: &str = "end_with_token = true\n[token_cache]\nmax_ttl = \"1s\"";

#[test]
fn a_web_socket_ends_when_its_token_expires() {
    let (server, _heads) = upstream(web_socket);
    let harness = Harness::with(&route(&server, NO_LEEWAY));
    let exp = now() + 4;
    harness.key_manager.set("good", until(exp));
    let mut connection = open_socket(&harness);
    // Neither side says anything: the end comes by itself.
    assert_eq!(connection.bytes(1), None);
    assert!(now() >= exp);
    assert_eq!(reason(&harness), "expired");
}

#[test]
fn a_stream_ends_when_its_token_expires() {
    let (server, _heads) = upstream(events);
    let harness = Harness::with(&route(&server, NO_LEEWAY));
    let exp = now() + 4;
    harness.key_manager.set("good", until(exp));
    let mut connection = harness.connect();
    let request = "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good\r\n\r\n";
    assert_eq!(connection.send(request.as_bytes()).status, 200);
    assert_eq!(connection.chunk().as_deref(), Some(&b"data: 1\n\n"[..]));
    assert_eq!(connection.chunk(), None);
    assert!(now() >= exp);
    assert_eq!(reason(&harness), "expired");
}

#[test]
fn a_web_socket_ends_when_its_token_is_revoked() {
    let (server, _heads) = upstream(web_socket);
    let harness = Harness::with(&route(&server, ONE_SECOND));
    harness.key_manager.set("good", Reply::active("shop", ""));
    let mut connection = open_socket(&harness);
    let asked = harness.key_manager.introspections();
    // It is asked about again, and lives on while the answer is good.
    wait_for("another question", || {
        harness.key_manager.introspections() > asked
    });
    assert_eq!(exchange(&mut connection, FRAME).as_deref(), Some(FRAME));
    let revoked = Reply::Json(r#"{"active":false}"#.to_owned());
    harness.key_manager.set("good", revoked);
    assert_eq!(connection.bytes(1), None);
    assert_eq!(reason(&harness), "inactive");
}

#[test]
fn a_web_socket_does_not_outlive_what_cannot_be_asked_about() {
    let (server, _heads) = upstream(web_socket);
    let harness = Harness::with(&route(&server, ONE_SECOND));
    harness.key_manager.set("good", Reply::active("shop", ""));
    let mut connection = open_socket(&harness);
    let trouble = Reply::Raw {
        status: 500,
        content_type: "text/plain",
        body: Vec::new(),
    };
    harness.key_manager.set("good", trouble);
    assert_eq!(connection.bytes(1), None);
    assert_eq!(reason(&harness), "introspection_unreachable");
}

#[test]
fn without_the_key_a_web_socket_outlives_its_token() {
    let (server, _heads) = upstream(web_socket);
    let harness = Harness::with(&route(&server, "[token]\nclock_skew = \"0s\""));
    let exp = now() + 4;
    harness.key_manager.set("good", until(exp));
    let mut connection = open_socket(&harness);
    wait_for("the end of the token", || now() > exp);
    assert_eq!(exchange(&mut connection, FRAME).as_deref(), Some(FRAME));
    let refused = harness.get("/", "good");
    assert_eq!(refused.refusal().0, 401);
}

#[test]
fn requests_with_an_end_leave_nothing_behind() {
    let (server, _heads) = upstream(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        // Whether the gateway keeps the connection.
        let _ = stream.read(&mut [0; 1]);
    });
    let harness = Harness::with(&route(&server, ONE_SECOND));
    harness.key_manager.set("good", Reply::active("shop", ""));
    let mut connection = harness.connect();
    for _ in 0..5 {
        let request = "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good\r\n\r\n";
        assert_eq!(connection.send(request.as_bytes()).body, "ok");
    }
    for line in harness.log(5) {
        assert_eq!(line["portcullis.reason"], "active");
    }
}

#[test]
fn events_are_passed_on_when_they_come() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Arc::new(Mutex::new(wait));
    let (server, _heads) = upstream(move |mut stream| {
        let _ = stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
              Transfer-Encoding: chunked\r\n\r\n",
        );
        for number in 1..=3 {
            if wait.lock().unwrap().recv_timeout(PATIENCE).is_err() {
                return;
            }
            let _ = stream.write_all(format!("9\r\ndata: {number}\n\n\r\n").as_bytes());
        }
        let _ = stream.write_all(b"0\r\n\r\n");
    });
    let keys = "public = true\ncompression = [\"gzip\"]";
    let harness = Harness::with(&route(&server, keys));
    let mut connection = harness.connect();
    let request = b"GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n";
    // The header comes before any event, and each event before the next one is made.
    assert_eq!(connection.send(request).status, 200);
    for number in 1..=3 {
        go.send(()).unwrap();
        let event = connection.chunk().unwrap();
        assert_eq!(event, format!("data: {number}\n\n").as_bytes());
    }
    assert_eq!(connection.chunk().as_deref(), Some(&b""[..]));
}

#[test]
fn grpc_callers_get_a_grpc_status() {
    let harness = Harness::start();
    harness
        .key_manager
        .set("poor", Reply::active("shop", "nothing"));
    let call = |path: &str, token: &str| {
        harness.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc\r\n{token}\
             Content-Length: 0\r\n\r\n"
        ))
    };
    let poor = "Authorization: Bearer poor\r\n";
    for (path, token, status, reason, challenge) in [
        ("/orders/1", "", "16", "no_token", Some("Bearer")),
        ("/orders/1", poor, "7", "insufficient_scope", None),
        ("/nowhere", "", "12", "route_not_found", None),
        ("/public//x", "", "13", "malformed_request", None),
    ] {
        let answer = call(path, token);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("grpc-status"), Some(status), "{path}");
        let message = answer.header("grpc-message").unwrap();
        assert!(message.contains(reason), "{message}");
        assert_eq!(answer.header("content-type"), Some("application/grpc"));
        assert_eq!(answer.body, "");
        if challenge.is_some() {
            assert_eq!(answer.header("www-authenticate"), challenge);
        }
    }
    // The log and the metrics know what it would have been.
    let line = &harness.log(4)[0];
    assert_eq!(line["portcullis.reason"], "no_token");
}

#[test]
fn an_expectation_is_passed_on_once_or_refused() {
    let (server, heads) = upstream(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        let mut body = [0; 5];
        if stream.read_exact(&mut body).is_ok() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
            let _ = stream.write_all(&body);
        }
    });
    let harness = Harness::with(&route(&server, "public = true"));
    let mut connection = harness.connect();
    let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(connection.send(head.as_bytes()).status, 100);
    let answer = connection.send(b"hello");
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    let head = heads.recv_timeout(PATIENCE).unwrap();
    assert_eq!(head.matches("expect: 100-continue").count(), 1, "{head}");

    for expect in [
        "y 100-continue",
        "100-continue\r\nExpect: 100-continue",
        "x",
    ] {
        let answer = harness.send(&format!(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: {expect}\r\n\r\n"
        ));
        assert_eq!(answer.refusal(), (417, "unknown_expectation".to_owned()));
    }
    assert!(heads.try_recv().is_err());
}

#[test]
fn an_upstream_may_answer_instead_of_letting_the_body_come() {
    let (server, _heads) = upstream(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        let _ = stream.read(&mut [0; 1]);
    });
    let harness = Harness::with(&route(&server, "public = true"));
    let mut connection = harness.connect();
    let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let answer = connection.send(head.as_bytes());
    assert_eq!((answer.status, answer.body.as_str()), (403, "no"));
    // The body may come or not: only a closed connection has no doubt.
    assert!(connection.is_closed());
}

#[test]
fn trailers_never_become_headers() {
    let (server, heads) = upstream(|mut stream| {
        let mut body = Vec::new();
        let mut byte = [0];
        while !body.ends_with(b"0\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
            body.push(byte[0]);
        }
        let _ = stream.write_all(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
              2\r\nok\r\n0\r\nX-Sum: 7\r\nSet-Cookie: a=b\r\n\r\n",
        );
    });
    let harness = Harness::with(&route(&server, "public = true"));
    let mut connection = harness.connect();
    let request = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Auth\r\n\r\n\
                   5\r\nhello\r\n0\r\nX-Auth: admin\r\nAuthorization: Bearer x\r\n\r\n";
    let answer = connection.send(request.as_bytes());
    assert_eq!(answer.status, 200);
    assert_eq!(connection.chunk().as_deref(), Some(&b"ok"[..]));
    for name in ["x-sum", "set-cookie"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    let head = heads.recv_timeout(PATIENCE).unwrap();
    assert!(!head.contains("x-auth:"), "{head}");
    assert!(!head.contains("authorization"), "{head}");
}

#[test]
fn http_1_0_gets_no_chunks() {
    let (server, heads) = upstream(|mut stream| {
        let _ = stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n\
              5\r\nhello\r\n0\r\n\r\n",
        );
    });
    let keys = "public = true\ncompression = [\"gzip\"]";
    let harness = Harness::with(&route(&server, keys));
    let mut connection = harness.connect();
    let request = b"GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\nExpect: 100-continue\r\n\r\n";
    let answer = connection.send(request);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(connection.bytes(5).as_deref(), Some(&b"hello"[..]));
    assert!(connection.is_closed());
    let head = heads.recv_timeout(PATIENCE).unwrap();
    assert!(head.starts_with("get / http/1.1"), "{head}");
    assert!(!head.contains("expect"), "{head}");
}

#[test]
fn connect_and_trace_are_refused() {
    let harness = Harness::start();
    for request in [
        "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n",
        "CONNECT /public/x HTTP/1.1\r\nHost: h\r\n\r\n",
        "TRACE /public/x HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        let mut connection = harness.connect();
        let answer = connection.send(request.as_bytes());
        assert_eq!(answer.refusal(), (405, "method_not_allowed".to_owned()));
        assert_eq!(answer.header("server"), None, "{request}");
    }
    assert_eq!(harness.echo.requests(), 0);
}
