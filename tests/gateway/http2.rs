//! HTTP/2, frame by frame: what may not become HTTP/1.1, and floods.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use crate::support::{Harness, PATIENCE, ROUTES, wait_for};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

struct Client(TcpStream);

#[derive(Debug)]
struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Client {
    fn open(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        let mut client = Self(stream);
        assert!(client.send(SETTINGS, 0, 0, &[]));
        client
    }

    /// False: the connection is gone.
    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.0
            .write_all(&frame(kind, flags, stream, payload))
            .is_ok()
    }

    fn request(&mut self, stream: u32, fields: &[(&str, &str)], flags: u8) -> bool {
        self.send(HEADERS, END_HEADERS | flags, stream, &block(fields))
    }

    /// `None`: the connection has ended.
    fn read(&mut self) -> Option<Frame> {
        let mut header = [0; 9];
        self.0.read_exact(&mut header).ok()?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some(Frame {
            kind: header[3],
            stream: u32::from_be_bytes([header[5], header[6], header[7], header[8]]),
            payload,
        })
    }

    /// What became of a stream.
    fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            match self.read() {
                None => return Outcome::Ended,
                Some(frame) if frame.kind == GOAWAY => return Outcome::Ended,
                Some(frame) if frame.kind == RST_STREAM && frame.stream == stream => {
                    return Outcome::Reset;
                }
                // The statuses of RFC 7541, appendix A, are one byte.
                Some(frame) if frame.kind == HEADERS && frame.stream == stream => {
                    return Outcome::Answered(frame.payload[0]);
                }
                Some(_) => {}
            }
        }
    }

    /// Sends these again and again, until the connection is gone; false: it never was.
    fn flood(mut self, frames: impl Fn(u32) -> Vec<u8>) -> bool {
        // The other side must be able to answer.
        let mut reader = self.0.try_clone().unwrap();
        let drained = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        let ended = (0..100_000).any(|round| self.0.write_all(&frames(round * 2 + 1)).is_err());
        let _ = self.0.shutdown(std::net::Shutdown::Both);
        let _ = drained.join();
        ended
    }
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Ended,
    Reset,
    /// First byte of the header block.
    Answered(u8),
}

const OK: Outcome = Outcome::Answered(0x88);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Literal fields without indexing, without Huffman (RFC 7541 §6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

fn get<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let request = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", "/public/x"),
    ];
    [&request, more].concat()
}

fn start() -> Harness {
    Harness::with_listen("h2c = true", ROUTES)
}

#[test]
fn both_versions_are_spoken_without_tls() {
    let harness = start();
    let mut client = Client::open(harness.gateway);
    for stream in [1, 3] {
        client.request(stream, &get(&[]), END_STREAM);
        assert_eq!(client.outcome(stream), OK);
    }
    assert_eq!(harness.get_with("/public/x", "").status, 200);
    let short = harness.connect().send(b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(short.status, 404, "shorter than the beginning of HTTP/2");
    let log = harness.log(4);
    let is_second = |line: &&serde_json::Value| line["network.protocol.version"] == "2";
    assert_eq!(log.iter().filter(is_second).count(), 2);

    let without = Harness::start();
    let mut client = Client::open(without.gateway);
    assert!(
        matches!(client.outcome(1), Outcome::Ended),
        "it was not asked for"
    );
}

#[test]
fn what_may_not_become_http_1_does_not() {
    let harness = start();
    let long = "a".repeat(120);
    let oversized = get(&vec![("x-long", long.as_str()); 600]);
    let mut cases = vec![
        get(&[("x", "a\r\nhost: b")]),
        get(&[("x", "a\nb")]),
        get(&[("x", "a\0b")]),
        get(&[("x\r\ny", "a")]),
        get(&[("x y", "a")]),
        get(&[("x:", "a")]),
        get(&[("X-Upper", "a")]),
        get(&[("connection", "close")]),
        get(&[("transfer-encoding", "chunked")]),
        get(&[("keep-alive", "1")]),
        get(&[("proxy-connection", "close")]),
        get(&[("upgrade", "websocket")]),
        get(&[("te", "gzip")]),
        get(&[("content-length", "5")]),
        get(&[("content-length", "0, 0")]),
        get(&[("host", "b")]),
        get(&[(":path", "/again")]),
        get(&[("x", "a"), (":late", "b")]),
        get(&[])[1..].to_vec(),
        get(&[])[..3].to_vec(),
    ];
    for (position, value) in [
        (0, "G T"),
        (2, "a@b"),
        (3, "public/x"),
        (3, "/public/x HTTP/1.1\r\nX: y"),
        (3, "/public/x y"),
        (3, ""),
    ] {
        let mut fields = get(&[]);
        fields[position].1 = value;
        cases.push(fields);
    }
    for fields in cases.iter().chain([&oversized]) {
        let mut client = Client::open(harness.gateway);
        client.request(1, fields, END_STREAM);
        let outcome = client.outcome(1);
        assert_ne!(outcome, OK, "{:?}", &fields[..fields.len().min(6)]);
    }
    for (announced, sent) in [("5", "abc"), ("2", "abc")] {
        let mut client = Client::open(harness.gateway);
        let fields = get(&[("content-length", announced)]);
        client.request(1, &fields, 0);
        client.send(DATA, END_STREAM, 1, sent.as_bytes());
        assert_ne!(client.outcome(1), OK, "{announced} {sent}");
    }
    assert_eq!(
        harness.get_with("/public/x", "").status,
        200,
        "others are served"
    );
}

#[test]
fn crumbs_of_a_cookie_become_one() {
    // RFC 9113 §8.2.3.
    let harness = start();
    let mut client = Client::open(harness.gateway);
    let fields = get(&[("cookie", "a=b"), ("x", "y"), ("cookie", "c=d")]);
    client.request(1, &fields, END_STREAM);
    let mut body = Vec::new();
    while !body.ends_with(b"}\n") && !body.ends_with(b"}") {
        let frame = client.read().unwrap();
        if frame.kind == DATA {
            body.extend_from_slice(&frame.payload);
        }
    }
    let echoed = String::from_utf8(body).unwrap();
    assert!(echoed.contains("a=b; c=d"), "{echoed}");
}

/// Frames that are sent over and over. The connection is ended, and others are served.
fn assert_ended(what: &str, frames: impl Fn(u32) -> Vec<u8>) {
    let harness = start();
    assert!(Client::open(harness.gateway).flood(frames), "{what}");
    assert_eq!(harness.get_with("/public/x", "").status, 200, "{what}");
    wait_for("the end of the connection", || {
        let name = format!(
            "portcullis_downstream_connections{{listener=\"{}\"}} 0",
            harness.gateway
        );
        harness.admin("/metrics").body.contains(&name)
    });
}

#[test]
fn cve_2019_9512_pings() {
    assert_ended("pings", |_| frame(PING, 0, 0, &[0; 8]).repeat(100));
}

#[test]
fn cve_2019_9515_settings() {
    assert_ended("settings", |_| {
        frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]).repeat(100)
    });
}

#[test]
fn cve_2019_9513_priorities() {
    assert_ended("priorities", |_| {
        frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]).repeat(100)
    });
}

#[test]
fn cve_2019_9518_empty_data() {
    assert_ended("empty data", |round| {
        let open = match round {
            1 => frame(HEADERS, END_HEADERS, 1, &block(&get(&[("te", "trailers")]))),
            _ => Vec::new(),
        };
        [open, frame(DATA, 0, 1, &[]).repeat(100)].concat()
    });
}

#[test]
fn cve_2023_44487_rapid_reset() {
    assert_ended("rapid reset", |stream| {
        let open = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&get(&[])));
        [open, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    });
}

#[test]
fn cve_2025_8671_resets_that_we_are_made_to_send() {
    assert_ended("windows of nought", |stream| {
        let open = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&get(&[])));
        [open, frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
    });
    assert_ended("windows that overflow", |stream| {
        let open = frame(HEADERS, END_HEADERS, stream, &block(&get(&[])));
        let window = 0x7fff_ffff_u32.to_be_bytes();
        [open, frame(WINDOW_UPDATE, 0, stream, &window)].concat()
    });
    assert_ended("data after the end", |stream| {
        let open = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&get(&[])));
        [open, frame(DATA, 0, stream, b"more")].concat()
    });
}

#[test]
fn cve_2025_8671_more_of_them() {
    assert_ended("headers after the end", |stream| {
        let open = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&get(&[])));
        [open.clone(), open].concat()
    });
    assert_ended("a stream that depends on itself", |stream| {
        let open = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&get(&[])));
        let itself = [&stream.to_be_bytes()[..], &[1]].concat();
        [open, frame(PRIORITY, 0, stream, &itself)].concat()
    });
    assert_ended("a priority that is too short", |stream| {
        let open = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&get(&[])));
        [open, frame(PRIORITY, 0, stream, &[0; 4])].concat()
    });
}

#[test]
fn cve_2019_9511_windows_of_one_byte() {
    assert_ended("windows of one byte", |_| {
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(100)
    });
}

#[test]
fn cve_2019_9514_requests_that_have_to_be_reset() {
    assert_ended("malformed requests", |stream| {
        let fields = get(&[("connection", "close")]);
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&fields))
    });
}

#[test]
fn cve_2019_9516_fields_without_a_name() {
    assert_ended("fields without a name", |stream| {
        let fields = get(&vec![("", ""); 50]);
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&fields))
    });
}

#[test]
fn frames_that_nobody_knows() {
    assert_ended("unknown frames", |_| {
        frame(0xbb, 0, 0, &[0; 100]).repeat(100)
    });
}

#[test]
fn a_small_block_that_becomes_a_large_header_is_not_read() {
    // HPACK: a field that is remembered, and then named again and again, by one byte each time.
    let harness = start();
    for (length, times) in [(100, 3_000), (3_000, 16_000), (0, 16_000)] {
        let mut client = Client::open(harness.gateway);
        let mut bomb = vec![0x40, 1, b'x', 0x7f];
        // The length of the value, as an integer with a prefix of seven bits.
        let mut rest: usize = length.max(127) - 127;
        while rest >= 128 {
            bomb.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        bomb.push(u8::try_from(rest).unwrap());
        bomb.resize(bomb.len() + length.max(127), b'y');
        bomb.resize(bomb.len() + times, 0xbe);
        bomb.splice(0..0, block(&get(&[])));
        client.send(
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            &bomb[..bomb.len().min(16_384)],
        );
        assert_ne!(client.outcome(1), OK, "{length} {times}");
    }
    assert_eq!(harness.get_with("/public/x", "").status, 200);
}

#[test]
fn a_connection_has_a_hundred_streams() {
    let harness = start();
    let mut client = Client::open(harness.gateway);
    let fields = [&[(":method", "POST")], &get(&[])[1..]].concat();
    for stream in 0..130 {
        // None of them ends.
        client.request(stream * 2 + 1, &fields, 0);
    }
    assert_eq!(client.outcome(2 * 129 + 1), Outcome::Reset);
    assert_eq!(harness.get_with("/public/x", "").status, 200);
}

#[test]
fn rustsec_2024_0332_continuations() {
    assert_ended("continuations", |round| {
        let open = match round {
            1 => frame(HEADERS, 0, 1, &block(&get(&[]))),
            _ => Vec::new(),
        };
        let more = frame(CONTINUATION, 0, 1, &block(&[("x", "y"); 100]));
        [open, more].concat()
    });
}
