//! Answers that are compressed on their way to the caller, and those that are not.

use std::io::Read;

use crate::support::{Answer, Connection, Harness, RawServer};

const ROUTE: &str = "compression = [\"zstd\", \"br\", \"gzip\"]";

/// A body of JSON that is worth the work.
fn text() -> String {
    "{\"some\": \"text that comes again and again\"}\n".repeat(200)
}

/// A gateway before a server that answers each request with these header lines and [`text`].
fn gateway(headers: &str, route: &str) -> Harness {
    let body = text();
    let answer = format!(
        "HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let server = RawServer::answering(answer.leak().as_bytes(), false);
    Harness::with(&format!(
        "[[route]]\npath = \"/*\"\npublic = true\nupstream = \"http://{}\"\n{route}\n",
        server.address
    ))
}

fn get(connection: &mut Connection, accept: &str) -> (Answer, Vec<u8>) {
    let request = format!("GET /x HTTP/1.1\r\nHost: h\r\nAccept-Encoding: {accept}\r\n\r\n");
    let answer = connection.send(request.as_bytes());
    let body = match answer.header("content-length") {
        Some(_) => answer.body.clone().into_bytes(),
        None => connection.chunks().expect("a whole body"),
    };
    (answer, body)
}

fn decoded(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(body).read_to_end(&mut plain),
        "br" => brotli::Decompressor::new(body, 4096).read_to_end(&mut plain),
        "zstd" => zstd::Decoder::new(body).unwrap().read_to_end(&mut plain),
        other => panic!("{other}"),
    }
    .unwrap();
    plain
}

#[test]
fn each_coding_can_be_undone() {
    let headers = "Content-Type: application/json\r\nETag: \"abc\"\r\nAccept-Ranges: bytes\r\n";
    let harness = gateway(headers, ROUTE);
    // On one connection, so that a wrong end of a body would show.
    let mut connection = harness.connect();
    for (accept, coding) in [
        ("gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1, br;q=0.5", "gzip"),
        ("*;q=0.1, zstd;q=0", "br"),
    ] {
        let (answer, body) = get(&mut connection, accept);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.all("content-encoding"), [coding], "{accept}");
        assert_eq!(answer.header("etag"), Some("W/\"abc\""));
        assert_eq!(answer.header("accept-ranges"), None);
        assert_eq!(answer.all("vary"), ["accept-encoding"]);
        assert!(body.len() < text().len() / 5, "{} bytes", body.len());
        assert_eq!(decoded(coding, &body), text().as_bytes(), "{accept}");
    }
}

#[test]
fn who_does_not_take_it_gets_the_answer_as_it_is() {
    let harness = gateway("Content-Type: text/html\r\nETag: \"abc\"\r\n", ROUTE);
    let mut connection = harness.connect();
    for accept in [
        "",
        "identity",
        "deflate",
        "gzip;q=0",
        "identity, gzip;q=0.5",
    ] {
        let (answer, body) = get(&mut connection, accept);
        assert_eq!(answer.header("content-encoding"), None, "{accept}");
        assert_eq!(answer.header("etag"), Some("\"abc\""));
        // A cache on the way must know that others get something else.
        assert_eq!(answer.all("vary"), ["accept-encoding"]);
        assert_eq!(body, text().as_bytes());
    }
}

#[test]
fn some_answers_are_never_compressed() {
    for headers in [
        "Content-Type: image/png\r\n",
        "Content-Type: text/event-stream\r\n",
        "Content-Type: application/grpc\r\n",
        "Content-Type: text/html\r\nContent-Encoding: gzip\r\n",
        "Content-Type: text/html\r\nCache-Control: no-transform\r\n",
    ] {
        let harness = gateway(headers, ROUTE);
        let (answer, body) = get(&mut harness.connect(), "gzip, br, zstd");
        let coded = headers.contains("Content-Encoding");
        assert_eq!(
            answer.all("content-encoding").len(),
            usize::from(coded),
            "{headers}"
        );
        assert_eq!(body, text().as_bytes(), "{headers}");
    }
}

#[test]
fn it_is_off_unless_the_route_says_so() {
    let harness = gateway("Content-Type: text/html\r\n", "");
    let (answer, body) = get(&mut harness.connect(), "gzip, br, zstd");
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.header("vary"), None);
    assert_eq!(body, text().as_bytes());
}

#[test]
fn only_the_codings_of_the_route() {
    let harness = gateway("Content-Type: text/html\r\n", "compression = [\"gzip\"]");
    let (answer, _) = get(&mut harness.connect(), "br, zstd, gzip;q=0.1");
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let (answer, _) = get(&mut harness.connect(), "br, zstd");
    assert_eq!(answer.header("content-encoding"), None);
}

#[test]
fn a_head_and_a_refusal_keep_the_connection_in_step() {
    let harness = gateway("Content-Type: text/html\r\n", ROUTE);
    let mut connection = harness.connect();
    let head = b"HEAD /x HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n";
    assert_eq!(connection.send(head).status, 200);
    let bad = b"GET /x//y HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n";
    let refused = connection.send(bad);
    assert_eq!(
        (refused.status, refused.header("content-encoding")),
        (400, None)
    );
    let (answer, body) = get(&mut connection, "gzip");
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(decoded("gzip", &body), text().as_bytes());
}
