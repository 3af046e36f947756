//! What is kept of upstreams' answers, for whom, and for how long.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::Arc,
};

use parking_lot::{Condvar, Mutex};
use portcullis::demo::Reply;

use crate::support::{Answer, Connection, Harness, PATIENCE, RawServer, wait_for};

/// An upstream that says what it is told to, and remembers what it was asked.
struct Origin {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    /// `answer` gets the head of each request and its number from 1 on; it gives the fields of the
    /// answer, each with its line end, and the body. Fields that begin with `HTTP/` are the whole
    /// head; an empty body then is no body at all.
    fn start(answer: impl Fn(&str, usize) -> (String, String) + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (list, answer) = (Arc::clone(&seen), Arc::new(answer));
        let server = RawServer::start(move |_, mut stream| {
            let (seen, answer) = (Arc::clone(&list), Arc::clone(&answer));
            std::thread::spawn(move || {
                while let Some(head) = read_head(&mut stream) {
                    let number = {
                        let mut seen = seen.lock();
                        seen.push(head.clone());
                        seen.len()
                    };
                    let (fields, body) = answer(&head, number);
                    let head = match fields.starts_with("HTTP/") {
                        true => fields,
                        false => {
                            let length = body.len();
                            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{fields}\r\n")
                        }
                    };
                    if stream
                        .write_all(format!("{head}{body}").as_bytes())
                        .is_err()
                    {
                        return;
                    }
                }
            });
        });
        Self {
            address: server.address,
            seen,
        }
    }

    /// Always these fields; the body is the number of the request.
    fn counting(fields: &'static str) -> Self {
        Self::start(move |_, number| (fields.to_owned(), number.to_string()))
    }

    fn asked(&self) -> usize {
        self.seen.lock().len()
    }

    fn last(&self) -> String {
        self.seen.lock().last().unwrap().to_ascii_lowercase()
    }

    /// A gateway with one route to here, with these lines.
    fn gateway(&self, lines: &str) -> Harness {
        self.gateway_listening("", lines)
    }

    /// The same, with these lines for `[listen]`.
    fn gateway_listening(&self, listen: &str, lines: &str) -> Harness {
        let address = self.address;
        let route = format!(
            "[[route]]\nname = \"kept\"\npath = \"/*\"\nupstream = \"http://{address}\"\n{lines}\n"
        );
        let harness = Harness::with_listen(listen, &route);
        for (token, client) in [("ann", "ann"), ("bob", "bob"), ("ann2", "ann")] {
            let reply = Reply::active(client, "read");
            harness.key_manager.set(token, reply);
        }
        let reply = Reply::active("eve", "nothing");
        harness.key_manager.set("eve", reply);
        harness
    }
}

/// One request, of which the body is read and left out; `None` when there is none.
fn read_head(stream: &mut std::net::TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let lower = head.to_ascii_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some(head)
}

const PUBLIC: &str = "public = true\nresponse_cache = {}";
const SHARED: &str = "scopes = [\"read\"]\nresponse_cache = {}";
const PER_CLIENT: &str = "scopes = [\"read\"]\nresponse_cache = { scope = \"per_client\" }";
const FRESH: &str = "Cache-Control: max-age=600\r\n";

/// How the cache served an answer.
fn status(answer: &Answer) -> &str {
    answer.header("cache-status").unwrap_or("none")
}

fn is_hit(answer: &Answer) -> bool {
    status(answer) == "portcullis; hit"
}

#[test]
fn a_hit_asks_no_upstream_and_says_what_it_is() {
    let origin = Origin::counting("Cache-Control: max-age=600\r\nAge: 7\r\nETag: \"e\"\r\n");
    let harness = origin.gateway(PUBLIC);
    let first = harness.get_with("/x?q=1", "");
    assert_eq!(status(&first), "portcullis; fwd=miss; stored");
    for path in ["/x?q=1", "/%78?q=1"] {
        let hit = harness.get_with(path, "");
        assert!(is_hit(&hit), "{hit:?}");
        assert_eq!((hit.status, &*hit.body), (200, "1"));
        let age: u64 = hit.header("age").unwrap().parse().unwrap();
        assert!((7..60).contains(&age), "{age}");
    }
    let head = harness.send("HEAD /x?q=1 HTTP/1.1\r\nHost: api.example\r\n\r\n");
    assert!(is_hit(&head) && head.header("content-length") == Some("1"));
    let same = harness.get_with("/x?q=1", "If-None-Match: \"e\"\r\n");
    assert_eq!((same.status, &*same.body), (304, ""));
    assert_eq!(origin.asked(), 1);
    // Another query, host or port is another resource.
    harness.get_with("/x?q=2", "");
    harness.send("GET /x?q=1 HTTP/1.1\r\nHost: other.example\r\n\r\n");
    harness.send("GET /x?q=1 HTTP/1.1\r\nHost: api.example:8080\r\n\r\n");
    assert_eq!(origin.asked(), 4);
    // Lines are written after their answers, so those of two connections may change places.
    let lines = harness.log(8);
    let is = |line: &&serde_json::Value, result| line["portcullis.response_cache"] == result;
    let hits: Vec<_> = lines.iter().filter(|line| is(line, "hit")).collect();
    let misses = lines.iter().filter(|line| is(line, "miss")).count();
    assert_eq!((hits.len(), misses), (4, 4));
    assert!(hits.iter().all(|hit| hit.get("upstream.address").is_none()));
    for (series, expected) in [
        ("lookups_total{result=\"hit\"}", 4.0),
        ("lookups_total{result=\"miss\"}", 4.0),
        ("entries", 4.0),
    ] {
        let value = harness.metric(&format!("portcullis_response_cache_{series}"));
        assert_eq!(value, expected, "{series}");
    }
}

#[test]
fn the_permit_comes_before_every_look() {
    let origin = Origin::counting("Cache-Control: public, max-age=600\r\n");
    let harness = origin.gateway(SHARED);
    assert_eq!(harness.get("/x", "ann").body, "1");
    assert!(is_hit(&harness.get("/x", "bob")));
    assert_eq!(harness.get("/x", "eve").refusal().0, 403);
    assert_eq!(harness.get("/x", "unknown").refusal().0, 401);
    assert_eq!(harness.get_with("/x", "").refusal().0, 401);
    for token in ["eve", "unknown"] {
        assert_eq!(harness.get("/new", token).header("cache-status"), None);
    }
    // What was refused has filled nothing.
    assert_eq!(harness.get("/new", "ann").body, "2");
    assert_eq!(origin.asked(), 2);
}

#[test]
fn answers_to_tokens_are_shared_only_if_they_say_so() {
    // RFC 9111 §3.5.
    for (fields, expected) in [
        (FRESH, 2),
        ("Expires: Sun, 21 Nov 2286 04:46:39 GMT\r\n", 2),
        ("Cache-Control: private, max-age=600\r\n", 2),
        ("Cache-Control: public, max-age=600\r\n", 1),
        ("Cache-Control: s-maxage=600\r\n", 1),
        ("Cache-Control: must-revalidate, max-age=600\r\n", 1),
    ] {
        let origin = Origin::counting(fields);
        let harness = origin.gateway(SHARED);
        harness.get("/x", "ann");
        harness.get("/x", "bob");
        assert_eq!(origin.asked(), expected, "{fields}");
        drop(harness);
        // On a public route the same holds of requests that bring a token all the same.
        let origin = Origin::counting(fields);
        let harness = origin.gateway(&format!("{PUBLIC}\nforward_token = true"));
        harness.get("/x", "ann");
        harness.get_with("/x", "");
        assert_eq!(origin.asked(), expected, "public: {fields}");
    }
}

#[test]
fn clients_never_see_each_others_answers() {
    for fields in [FRESH, "Cache-Control: private, max-age=600\r\n"] {
        let origin = Origin::counting(fields);
        let harness = origin.gateway(PER_CLIENT);
        assert_eq!(harness.get("/x", "ann").body, "1");
        assert_eq!(harness.get("/x", "bob").body, "2");
        // Another token of the same client and subject.
        for (token, body) in [("ann", "1"), ("ann2", "1"), ("bob", "2")] {
            let answer = harness.get("/x", token);
            assert!(is_hit(&answer), "{answer:?}");
            assert_eq!(answer.body, body);
        }
        assert_eq!(harness.get("/x", "eve").refusal().0, 403);
    }
}

#[test]
fn tokens_without_a_subject_share_nothing() {
    let origin = Origin::counting(FRESH);
    let harness = origin.gateway(PER_CLIENT);
    let reply = r#"{"active":true,"scope":"read","client_id":"shop"}"#;
    for token in ["one", "two"] {
        harness
            .key_manager
            .set(token, Reply::Json(reply.to_owned()));
    }
    for (token, body) in [("one", "1"), ("two", "2"), ("one", "1"), ("two", "2")] {
        assert_eq!(harness.get("/x", token).body, body);
    }
}

#[test]
fn what_the_upstream_is_told_of_a_caller_is_in_the_key() {
    let origin = Origin::counting("Cache-Control: public, max-age=600\r\n");
    let lines = format!("identity_headers = {{ \"X-Sub\" = \"sub\" }}\n{SHARED}");
    let harness = origin.gateway(&lines);
    for (token, body) in [("ann", "1"), ("bob", "2"), ("ann2", "1"), ("bob", "2")] {
        assert_eq!(harness.get("/x", token).body, body);
    }
}

#[test]
fn inputs_outside_of_the_key_shape_no_answer_that_is_kept() {
    let reflect = |head: &str, _| (FRESH.to_owned(), head.to_owned());
    for nasty in [
        "X-Forwarded-Host: evil.example\r\n",
        "X-Forwarded-Scheme: evil\r\nX-Forwarded-Proto: evil\r\nX-Forwarded-Port: evil\r\n",
        "X-Original-URL: /evil\r\nX-Rewrite-URL: /evil\r\n",
        "X-HTTP-Method-Override: EVIL\r\nX-HTTP-Method: EVIL\r\nX-Method-Override: EVIL\r\n",
        "X_Forwarded_Host: evil.example\r\nForwarded: host=evil\r\n",
        // The body of a GET is in no key.
        "Content-Length: 4\r\n\r\nevil",
        // What `Connection` takes away on the way is there to whoever computes `Vary`.
        "Connection: Accept\r\nAccept: evil\r\n",
        "If-Match: \"evil\"\r\n",
        "Cache-Control: no-store\r\n",
    ] {
        let origin = Origin::start(reflect);
        let harness = origin.gateway(PUBLIC);
        harness.get_with("/x", nasty);
        let answer = harness.get_with("/x", "");
        assert!(!answer.body.to_lowercase().contains("evil"), "{answer:?}");
        assert!(is_hit(&harness.get_with("/x", "")), "{nasty}");
    }
}

#[test]
fn what_a_trusted_proxy_says_of_a_caller_is_not_given_to_another() {
    let reflect = |head: &str, _| (FRESH.to_owned(), head.to_owned());
    let origin = Origin::start(reflect);
    let harness = origin.gateway_listening("trusted_proxies = [\"127.0.0.1\"]", PUBLIC);
    for name in ["X-Forwarded-User", "X_Forwarded_Client_Cert"] {
        for who in ["ann", "bob"] {
            let answer = harness.get_with("/x", &format!("{name}: {who}\r\n"));
            assert_eq!(status(&answer), "portcullis; fwd=bypass", "{name}");
            assert!(answer.body.contains(who), "{}", answer.body);
        }
    }
    harness.get_with("/x", "X-Forwarded-Port: evil\r\n");
    let answer = harness.get_with("/x", "");
    assert!(is_hit(&answer) && !answer.body.contains("evil"));
}

#[test]
fn a_path_that_looks_static_is_like_any_other() {
    for (fields, asked) in [("", 2), ("Cache-Control: private\r\n", 2)] {
        let origin = Origin::counting(fields);
        let harness = origin.gateway(PER_CLIENT);
        harness.get("/api/me/x.css", "ann");
        harness.get("/api/me/x.css", "ann");
        assert_eq!(origin.asked(), asked, "{fields}");
    }
}

#[test]
fn some_answers_are_never_kept() {
    for fields in [
        "Cache-Control: no-store, max-age=600\r\n",
        "Cache-Control: max-age=600\r\nSet-Cookie: a=b\r\n",
        "Cache-Control: max-age=600\r\nVary: *\r\n",
        "Cache-Control: max-age=600\r\nVary: X-Forwarded-For\r\n",
        "Cache-Control: max-age=600\r\nCDN-Cache-Control: no-store\r\n",
        "HTTP/1.1 401 Unauthorized\r\nCache-Control: public, max-age=600\r\nContent-Length: 1\r\n\r\n",
    ] {
        let origin = Origin::counting(fields);
        let harness = origin.gateway(PUBLIC);
        harness.get_with("/x", "");
        harness.get_with("/x", "");
        assert_eq!(origin.asked(), 2, "{fields}");
        assert_eq!(harness.metric("portcullis_response_cache_entries"), 0.0);
    }
}

#[test]
fn answers_without_an_end_or_with_two_are_never_kept() {
    for broken in [
        "Content-Length: 9\r\n\r\npart",
        "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
        "Transfer-Encoding: chunked\r\n\r\n9\r\npart",
        "Content-Length: 4\r\nContent-Length: 5\r\n\r\npart",
        "Content-Length: 4\r\nTransfer-Encoding: gzip\r\n\r\npart",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\npart\r\n0\r\n\r\n",
    ] {
        let asked = Arc::new(Mutex::new(0));
        let count = Arc::clone(&asked);
        let server = RawServer::start(move |_, mut stream| {
            if read_head(&mut stream).is_some() {
                *count.lock() += 1;
                let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n";
                let _ = stream.write_all(format!("{head}{broken}").as_bytes());
            }
        });
        let harness = Harness::with(&format!(
            "[[route]]\npath = \"/*\"\nupstream = \"http://{}\"\n{PUBLIC}\n",
            server.address
        ));
        for number in 1..=2 {
            let before = *asked.lock();
            let mut connection = harness.connect();
            connection.write(b"GET /x HTTP/1.1\r\nHost: api.example\r\n\r\n");
            let _ = connection.bytes(1 << 16);
            assert!(*asked.lock() > before, "{broken:?} {number}");
        }
        assert_eq!(harness.metric("portcullis_response_cache_entries"), 0.0);
    }
}

#[test]
fn a_hundred_who_ask_at_once_are_one_to_the_upstream() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let opened = Arc::clone(&gate);
    let origin = Origin::start(move |_, number| {
        let mut open = opened.0.lock();
        while !*open {
            opened.1.wait(&mut open);
        }
        (FRESH.to_owned(), number.to_string())
    });
    let harness = origin.gateway(PUBLIC);
    let request = b"GET /x HTTP/1.1\r\nHost: api.example\r\n\r\n";
    let mut waiting: Vec<Connection> = (0..100).map(|_| harness.connect()).collect();
    for connection in &mut waiting {
        connection.write(request);
    }
    wait_for("a hundred requests", || {
        harness.metrics.all_in_flight() == 100
    });
    *gate.0.lock() = true;
    gate.1.notify_all();
    for connection in &mut waiting {
        assert_eq!(connection.read(false).unwrap().body, "1");
    }
    assert_eq!(origin.asked(), 1);
}

#[test]
fn waiters_outlive_one_who_fails() {
    // The first is cut off in the middle; the next one asks for itself, and for the others.
    let origin = Origin::start(|_, number| match number {
        1 => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n{FRESH}\r\n");
            (head, "part".to_owned())
        }
        _ => (FRESH.to_owned(), number.to_string()),
    });
    let harness = origin.gateway(PUBLIC);
    let mut first = harness.connect();
    first.write(b"GET /x HTTP/1.1\r\nHost: api.example\r\n\r\n");
    wait_for("the first", || origin.asked() == 1);
    drop(first);
    assert_eq!(harness.get_with("/x", "").body, "2");
    assert!(is_hit(&harness.get_with("/x", "")));
}

#[test]
fn a_change_makes_what_is_kept_invalid() {
    let origin = Origin::start(|head, number| match head.starts_with("GET") {
        true => (FRESH.to_owned(), number.to_string()),
        false if head.contains("/fails") => {
            let head = "HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n";
            (head.to_owned(), String::new())
        }
        false => ("Location: /list\r\n".to_owned(), String::new()),
    });
    let harness = origin.gateway(PUBLIC);
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        for path in ["/x", "/list", "/fails"] {
            harness.get_with(path, "");
            assert!(is_hit(&harness.get_with(path, "")));
        }
        for path in ["/x", "/fails"] {
            harness.send(&format!(
                "{method} {path} HTTP/1.1\r\nHost: api.example\r\nContent-Length: 0\r\n\r\n"
            ));
        }
        assert!(!is_hit(&harness.get_with("/x", "")), "{method}");
        assert!(!is_hit(&harness.get_with("/list", "")), "{method}");
        assert!(is_hit(&harness.get_with("/fails", "")), "{method}");
    }
}

#[test]
fn what_is_past_its_end_is_validated() {
    let origin = Origin::start(|head, number| {
        if head.to_lowercase().contains("if-none-match: \"e\"") {
            let head =
                format!("HTTP/1.1 304 Not Modified\r\nX-Number: {number}\r\nETag: \"e\"\r\n\r\n");
            return (head, String::new());
        }
        let fields = "Cache-Control: max-age=0\r\nETag: \"e\"\r\nX-Number: 1\r\n";
        (fields.to_owned(), "body".to_owned())
    });
    let harness = origin.gateway(PUBLIC);
    harness.get_with("/x", "");
    let answer = harness.get_with("/x", "");
    assert_eq!(status(&answer), "portcullis; fwd=stale; fwd-status=304");
    assert_eq!((answer.status, &*answer.body), (200, "body"));
    assert_eq!(answer.header("x-number"), Some("2"));
    assert_eq!(origin.asked(), 2);
    let lines = harness.log(2);
    assert_eq!(lines[1]["portcullis.response_cache"], "revalidated");
}

#[test]
fn stale_answers_are_given_while_a_fresh_one_is_fetched() {
    let fields = "Cache-Control: max-age=0, stale-while-revalidate=600\r\n";
    let origin = Origin::counting(fields);
    let harness = origin.gateway(PUBLIC);
    harness.get_with("/x", "");
    let stale = harness.get_with("/x", "");
    assert_eq!(status(&stale), "portcullis; hit; detail=stale");
    assert_eq!(stale.body, "1");
    let mut requests = 2;
    wait_for("the fresh one", || {
        requests += 1;
        harness.get_with("/x", "").body != "1"
    });
    // Each request has its line, and what went on behind them has none.
    let lines = harness.log(requests);
    assert_eq!(lines.len(), requests);
    assert!(lines.iter().any(is_stale));
    let counted = harness
        .metric("portcullis_http_requests_total{code=\"200\",method=\"GET\",route=\"kept\"}");
    assert_eq!(counted, requests as f64);
}

/// Lines of different connections may change places.
fn is_stale(line: &serde_json::Value) -> bool {
    line["portcullis.response_cache"] == "stale"
}

/// The body of `GET /` by HTTP/2 without TLS, written by hand.
fn get_by_http2(harness: &Harness) -> String {
    let mut stream = std::net::TcpStream::connect(harness.gateway).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // Settings; then a header of four fields that ends headers and stream.
    request.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let authority = b"api.example";
    let length = u8::try_from(authority.len()).unwrap();
    request.extend_from_slice(&[
        0,
        0,
        5 + length,
        1,
        5,
        0,
        0,
        0,
        1,
        0x82,
        0x86,
        0x84,
        0x41,
        length,
    ]);
    request.extend_from_slice(authority);
    stream.write_all(&request).unwrap();
    let mut body = Vec::new();
    loop {
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).unwrap();
        let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).unwrap();
        let (kind, flags) = (frame[3], frame[4]);
        if kind == 0 {
            body.extend_from_slice(&payload);
        }
        if kind <= 1 && flags & 1 == 1 {
            return String::from_utf8(body).unwrap();
        }
    }
}

#[test]
fn a_fresh_answer_is_fetched_behind_http2_too() {
    let fields = "Cache-Control: max-age=0, stale-while-revalidate=600\r\n";
    let origin = Origin::counting(fields);
    let harness = origin.gateway_listening("h2c = true", PUBLIC);
    assert_eq!(get_by_http2(&harness), "1");
    assert_eq!(get_by_http2(&harness), "1");
    wait_for("the fresh one", || get_by_http2(&harness) != "1");
    let lines = harness.log(3);
    assert!(lines.iter().any(is_stale));
    for line in &lines {
        assert_eq!(line["network.protocol.version"], "2", "{line}");
    }
    assert_eq!(harness.metric("portcullis_panics_total"), 0.0);
}

#[test]
fn what_is_fetched_in_the_background_counts_for_nobody() {
    let fields = "Cache-Control: max-age=0, stale-while-revalidate=600\r\n";
    for limit in ["route", "address"] {
        let origin = Origin::counting(fields);
        let harness = origin.gateway(&format!(
            "{PUBLIC}\nrate_limits = [\"three\"]\n\
             [rate_limits.three]\nrequests = 3\nper = \"1h\"\nby = \"{limit}\"\n"
        ));
        for asked in 1..=3 {
            assert_eq!(harness.get_with("/x", "").status, 200, "{limit} {asked}");
            // The last one's too, of whom nothing more is left. Until one is kept, nobody else
            // has one fetched.
            let done = || harness.metric("portcullis_upstream_requests_total");
            wait_for("the fresh one", || done() == asked as f64);
            assert_eq!(origin.asked(), asked);
        }
        assert_eq!(harness.get_with("/x", "").status, 429, "{limit}");
    }
}

#[test]
fn stale_answers_stand_in_for_a_failing_upstream() {
    let broken = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    for (lines, fields, failure, expected) in [
        (
            PUBLIC,
            "Cache-Control: max-age=0, stale-if-error=600\r\n",
            broken,
            200,
        ),
        (
            PUBLIC,
            "Cache-Control: max-age=0, stale-if-error=600\r\n",
            "HTTP/1.1 nonsense\r\n\r\n",
            200,
        ),
        (
            "public = true\nresponse_cache = { stale_if_error = \"10m\" }",
            "Cache-Control: max-age=0\r\n",
            broken,
            200,
        ),
        (
            "public = true\nresponse_cache = { stale_if_error = \"10m\" }",
            "Cache-Control: max-age=0, must-revalidate\r\nETag: \"e\"\r\n",
            broken,
            503,
        ),
        (
            PUBLIC,
            "Cache-Control: max-age=0\r\nETag: \"e\"\r\n",
            broken,
            503,
        ),
    ] {
        let origin = Origin::start(move |_, number| match number {
            1 => (fields.to_owned(), "good".to_owned()),
            _ => (failure.to_owned(), String::new()),
        });
        let harness = origin.gateway(lines);
        harness.get_with("/x", "");
        let answer = harness.get_with("/x", "");
        assert_eq!(answer.status, expected, "{fields} {failure}");
        if expected == 200 {
            assert_eq!(answer.body, "good");
            assert_eq!(status(&answer), "portcullis; hit; detail=stale");
        }
    }
}

#[test]
fn variants_are_told_apart() {
    let origin = Origin::counting("Cache-Control: max-age=600\r\nVary: Accept-Language\r\n");
    let harness = origin.gateway(PUBLIC);
    let mut bodies = Vec::new();
    for _ in 0..2 {
        for language in ["de", "en", "fr"] {
            let headers = format!("Accept-Language: {language}\r\n");
            bodies.push(harness.get_with("/x", &headers).body);
        }
        bodies.push(harness.get_with("/x", "").body);
    }
    assert_eq!(bodies, ["1", "2", "3", "4", "1", "2", "3", "4"]);
}

#[test]
fn parts_come_from_what_is_kept() {
    let origin = Origin::start(|_, _| (FRESH.to_owned(), "0123456789".to_owned()));
    let harness = origin.gateway(PUBLIC);
    // The first asks for a part, and the upstream is asked for all.
    for (range, status, body) in [
        ("bytes=2-4", 206, "234"),
        ("bytes=-3", 206, "789"),
        ("bytes=7-", 206, "789"),
        ("bytes=20-", 416, ""),
        ("bytes=0-", 206, "0123456789"),
    ] {
        let answer = harness.get_with("/x", &format!("Range: {range}\r\n"));
        assert_eq!((answer.status, &*answer.body), (status, body), "{range}");
    }
    assert_eq!(origin.asked(), 1);
    assert!(!origin.last().contains("range"));
}

#[test]
fn memory_is_bounded() {
    let body = "x".repeat(100_000);
    let large = "x".repeat(300_000);
    let origin = Origin::start(move |head, _| match head.contains("/large") {
        true => (FRESH.to_owned(), large.clone()),
        false => (FRESH.to_owned(), body.clone()),
    });
    let lines = "public = true\nresponse_cache = { max_object_bytes = \"200KiB\" }\n\
                 [response_cache]\nmax_bytes = \"1MiB\"";
    let harness = origin.gateway(lines);
    for number in 0..50 {
        assert_eq!(harness.get_with(&format!("/{number}"), "").status, 200);
        let bytes = harness.metric("portcullis_response_cache_bytes");
        assert!(bytes <= 1_048_576.0, "{bytes}");
    }
    let entries = harness.metric("portcullis_response_cache_entries");
    assert!((5.0..=10.0).contains(&entries), "{entries}");
    let evicted = harness.metric("portcullis_response_cache_evictions_total{reason=\"capacity\"}");
    assert_eq!(evicted + entries, 50.0);
    for _ in 0..2 {
        assert_eq!(harness.get_with("/large", "").body.len(), 300_000);
    }
    assert_eq!(origin.asked(), 52);
}

#[test]
fn head_has_no_body_whatever_the_upstream_is_asked() {
    let large = "x".repeat(2_000_000);
    let origin = Origin::start(move |head, _| match head.contains("/large") {
        true => (FRESH.to_owned(), large.clone()),
        false => ("Cache-Control: no-store\r\n".to_owned(), "body".to_owned()),
    });
    let harness = origin.gateway(PUBLIC);
    for (path, length) in [("/large", "2000000"), ("/x", "4")] {
        let mut connection = harness.connect();
        for _ in 0..3 {
            let request = format!("HEAD {path} HTTP/1.1\r\nHost: api.example\r\n\r\n");
            let answer = connection.send(request.as_bytes());
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-length"), Some(length));
        }
    }
}

#[test]
fn chunks_are_kept_in_one_piece() {
    let origin = Origin::start(|_, _| {
        let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{FRESH}\r\n");
        (head, "4\r\nabcd\r\n3\r\nefg\r\n0\r\n\r\n".to_owned())
    });
    let harness = origin.gateway(PUBLIC);
    let chunked = harness.get_with("/x", "");
    assert_eq!(chunked.header("transfer-encoding"), Some("chunked"));
    let hit = harness.get_with("/x", "");
    assert_eq!(
        (hit.header("transfer-encoding"), &*hit.body),
        (None, "abcdefg")
    );
}

#[test]
fn purged_by_whoever_runs_the_gateway() {
    let origin = Origin::counting(FRESH);
    let harness = origin.gateway(PER_CLIENT);
    let purge = |headers: &str, body: &str| {
        let length = body.len();
        Connection::open(harness.admin).send(
            format!(
                "POST /admin/response_cache/purge HTTP/1.1\r\nHost: admin\r\n\
                 Content-Length: {length}\r\n{headers}\r\n{body}"
            )
            .as_bytes(),
        )
    };
    let guard = "X-Portcullis-Admin: 1\r\n";
    for (body, paths) in [
        (r#"{"url":"http://API.example/a/%31"}"#, &["/a/1"][..]),
        (r#"{"prefix":"http://api.example/a/"}"#, &["/a/1", "/a/2?q"]),
        (r#"{"all":true}"#, &["/a/1", "/a/2?q", "/b"]),
    ] {
        for token in ["ann", "bob"] {
            for path in ["/a/1", "/a/2?q", "/b"] {
                harness.get(path, token);
            }
        }
        assert_eq!(purge("", body).status, 403);
        let answer = purge(guard, body);
        let removed = format!("{{\"removed\":{}}}\n", 2 * paths.len());
        assert_eq!((answer.status, answer.body), (200, removed), "{body}");
        for path in ["/a/1", "/a/2?q", "/b"] {
            let answer = harness.get(path, "ann");
            assert_eq!(is_hit(&answer), !paths.contains(&path), "{body} {path}");
        }
    }
    for body in [
        "",
        "{}",
        "{\"all\":false}",
        "{\"url\":\"/a\"}",
        "[]",
        "{\"all\":true}x",
    ] {
        assert_eq!(purge(guard, body).status, 400, "{body}");
    }
    assert_eq!(purge(guard, &"x".repeat(20_000)).status, 413);
}

#[test]
fn a_reload_keeps_what_is_kept_but_not_for_others() {
    let origin = Origin::counting("Cache-Control: public, max-age=600\r\n");
    let harness = origin.gateway(SHARED);
    assert_eq!(harness.get("/x", "ann").body, "1");
    let reload = |from: &'static str, to: &'static str| {
        let answer = harness.reload(|text| *text = text.replace(from, to));
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    reload("name = \"kept\"", "name = \"kept\"\nforward_token = false");
    assert_eq!(harness.get("/x", "bob").body, "1");
    reload(
        "response_cache = {}",
        "response_cache = { scope = \"per_client\" }",
    );
    assert_eq!(harness.get("/x", "bob").body, "2");
    reload("scopes = [\"read\"]", "scopes = [\"read\", \"more\"]");
    assert_eq!(harness.get("/x", "bob").refusal().0, 403);
}

/// A folder for the disk behind the memory, which goes with the test.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("portcullis-disk-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    /// `[response_cache]` with 1 MiB of memory and this much disk.
    fn section(&self, disk: &str) -> String {
        let path = self.0.display();
        format!(
            "[response_cache]\nmax_bytes = \"1MiB\"\nmax_object_bytes = \"1MiB\"\ndisk_path = \"{path}\"\n\
             disk_max_bytes = \"{disk}\"\n"
        )
    }

    /// The files of answers.
    fn files(&self) -> Vec<std::path::PathBuf> {
        let inside = |path: &std::path::Path| -> Vec<std::path::PathBuf> {
            let entries = std::fs::read_dir(path).unwrap();
            entries.map(|entry| entry.unwrap().path()).collect()
        };
        let own = inside(&self.0).into_iter().filter(|path| path.is_dir());
        own.flat_map(|path| inside(&path))
            .filter(|path| !path.ends_with("new"))
            .collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Ends in the number, and is this long.
fn numbered(number: usize, length: usize) -> String {
    let number = number.to_string();
    "0".repeat(length - number.len()) + &number
}

/// Nearly all of the memory, in bytes.
const HUGE: usize = 1_000_000;

/// Bodies that tell their number and are 100,000 bytes long, but for `/huge`.
fn large(fields: &'static str) -> Origin {
    Origin::start(move |head, number| {
        let length = if head.contains("/huge") {
            HUGE
        } else {
            100_000
        };
        (fields.to_owned(), numbered(number, length))
    })
}

const DISK: &str = "portcullis_response_cache_disk";

fn faults(harness: &Harness, operation: &str) -> f64 {
    harness.metric(&format!("{DISK}_faults_total{{operation=\"{operation}\"}}"))
}

/// Asks for something that leaves no room in memory for anything else, and waits until it is on the
/// disk too: what was to be written before it has been.
fn flood(harness: &Harness, folder: &Folder, token: &str) {
    push_out(harness, token);
    let is_huge = |path: &std::path::PathBuf| {
        std::fs::metadata(path).is_ok_and(|file| file.len() > HUGE as u64)
    };
    wait_for("the large file", || folder.files().iter().any(is_huge));
}

fn push_out(harness: &Harness, token: &str) {
    let answer = match token {
        "" => harness.get_with("/huge", ""),
        token => harness.get("/huge", token),
    };
    assert_eq!((answer.status, answer.body.len()), (200, HUGE));
}

#[test]
fn what_the_memory_lets_go_of_comes_from_the_disk() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("tier");
    let origin = large("Cache-Control: max-age=600\r\nETag: \"e\"\r\n");
    let harness = origin.gateway(&format!("{PUBLIC}\n{}", folder.section("64MiB")));
    let first = harness.get_with("/x", "");
    wait_for("the file", || folder.files().len() == 1);
    for path in folder.files() {
        let mode =
            |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let bytes = std::fs::read(&path).unwrap();
        let shown = bytes.windows(16).any(|part| part == b"0000000000000000");
        assert!(!shown, "the body can be read on the disk");
    }
    flood(&harness, &folder, "");
    let hit = harness.get_with("/x", "");
    assert!(is_hit(&hit), "{}", status(&hit));
    assert_eq!(
        (&hit.body, hit.header("etag")),
        (&first.body, Some("\"e\""))
    );
    assert_eq!(harness.metric(&format!("{DISK}_hits_total")), 1.0);
    // It is in memory again.
    assert!(is_hit(&harness.get_with("/x", "")));
    assert_eq!(harness.metric(&format!("{DISK}_hits_total")), 1.0);
    flood(&harness, &folder, "");
    let asked = origin.asked();
    let part = harness.get_with("/x", "Range: bytes=99999-\r\n");
    assert_eq!((part.status, &*part.body), (206, "1"));
    assert_eq!(origin.asked(), asked);
    assert!(harness.metric("portcullis_response_cache_bytes") <= 1_048_576.0);
    for operation in ["read", "write", "remove"] {
        assert_eq!(faults(&harness, operation), 0.0, "{operation}");
    }
}

#[test]
fn the_disk_keeps_clients_apart_and_asks_for_their_permit() {
    let folder = Folder::new("clients");
    let origin = large(FRESH);
    let harness = origin.gateway(&format!("{PER_CLIENT}\n{}", folder.section("64MiB")));
    let [ann, bob] = ["ann", "bob"].map(|token| harness.get("/x", token).body);
    assert_ne!(ann, bob);
    wait_for("the files", || folder.files().len() == 2);
    flood(&harness, &folder, "ann");
    for (token, body) in [("ann", &ann), ("ann2", &ann), ("bob", &bob)] {
        let answer = harness.get("/x", token);
        assert!(is_hit(&answer) && answer.body == *body, "{token}");
    }
    flood(&harness, &folder, "ann");
    assert_eq!(harness.get("/x", "eve").refusal().0, 403);
    assert_eq!(harness.get("/x", "unknown").refusal().0, 401);
}

#[test]
fn a_damaged_file_is_as_if_it_were_not_there() {
    type Damage = fn(&std::path::Path);
    let damages: [(&str, Damage); 5] = [
        ("a bit", |path| {
            let mut bytes = std::fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }),
        ("cut off", |path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("empty", |path| std::fs::write(path, "").unwrap()),
        ("a folder", |path| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
        }),
        ("gone", |path| std::fs::remove_file(path).unwrap()),
    ];
    for (number, (what, damage)) in damages.into_iter().enumerate() {
        let folder = Folder::new(&format!("damage-{number}"));
        let origin = large(FRESH);
        let harness = origin.gateway(&format!("{PUBLIC}\n{}", folder.section("64MiB")));
        harness.get_with("/x", "");
        wait_for("the file", || folder.files().len() == 1);
        damage(&folder.files()[0]);
        flood(&harness, &folder, "");
        let answer = harness.get_with("/x", "");
        assert_eq!(status(&answer), "portcullis; fwd=miss; stored", "{what}");
        assert!(answer.body.ends_with("03"), "{what}");
        assert_eq!(faults(&harness, "read"), 1.0, "{what}");
        // And it is kept anew.
        assert!(is_hit(&harness.get_with("/x", "")), "{what}");
    }
}

#[test]
fn files_of_others_are_not_taken_for_ones_own() {
    let folder = Folder::new("swapped");
    let origin = large(FRESH);
    let harness = origin.gateway(&format!("{PUBLIC}\n{}", folder.section("64MiB")));
    harness.get_with("/x", "");
    wait_for("the first file", || folder.files().len() == 1);
    let first = folder.files().remove(0);
    harness.get_with("/y", "");
    wait_for("the second file", || folder.files().len() == 2);
    let second = folder.files().into_iter().find(|path| *path != first);
    std::fs::copy(second.unwrap(), &first).unwrap();
    flood(&harness, &folder, "");
    assert!(harness.get_with("/x", "").body.ends_with("04"));
    let hit = harness.get_with("/y", "");
    assert!(is_hit(&hit) && hit.body.ends_with("02"));
}

#[test]
fn the_disk_is_bounded() {
    let folder = Folder::new("bound");
    let origin = large(FRESH);
    let harness = origin.gateway(&format!("{PUBLIC}\n{}", folder.section("1MiB")));
    let size = |path: &std::path::PathBuf| std::fs::metadata(path).map_or(0, |file| file.len());
    let mut most = 0;
    for number in 0..40 {
        harness.get_with(&format!("/{number}"), "");
        let held: u64 = folder.files().iter().map(size).sum();
        assert!(held <= 1 << 20, "{held}");
        assert!(harness.metric(&format!("{DISK}_bytes")) <= 1_048_576.0);
        most = most.max(held);
    }
    assert!(most > 0);
    // Less than one answer after a reload, which then is dropped.
    let answer = harness.reload(|text| *text = text.replace("disk_max_bytes = \"1MiB\"", ""));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = harness.reload(|text| *text = text.replace("disk_path", "#"));
    assert_eq!(answer.status, 409, "{}", answer.body);
}

#[test]
fn a_disk_that_cannot_be_written_to_makes_nothing_wrong() {
    let folder = Folder::new("unwritable");
    let origin = large(FRESH);
    let harness = origin.gateway(&format!("{PUBLIC}\n{}", folder.section("64MiB")));
    let own = std::fs::read_dir(&folder.0)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_dir())
        .unwrap();
    std::fs::remove_dir(&own).unwrap();
    harness.get_with("/x", "");
    wait_for("a fault", || faults(&harness, "write") == 1.0);
    assert!(is_hit(&harness.get_with("/x", "")));
    push_out(&harness, "");
    assert!(harness.get_with("/x", "").body.ends_with("03"));
    // Room is given back when a write has failed.
    wait_for("nothing there", || {
        harness.metric(&format!("{DISK}_bytes")) == 0.0
    });
    // Somebody mended it.
    std::fs::create_dir(&own).unwrap();
    harness.get_with("/y", "");
    wait_for("a file", || !folder.files().is_empty());
}

#[test]
fn purges_and_changes_reach_the_disk() {
    let folder = Folder::new("purge");
    let origin = large(FRESH);
    let harness = origin.gateway(&format!("{PUBLIC}\n{}", folder.section("64MiB")));
    // On the disk alone.
    let put_away = || {
        let body = harness.get_with("/x", "").body;
        let read = || harness.metric(&format!("{DISK}_bytes"));
        // 25 blocks for this one; the other may be there already.
        wait_for("the file", || {
            read() >= 102_400.0 && folder.files().iter().any(is_small)
        });
        flood(&harness, &folder, "");
        body
    };
    let purge = |body: &str| {
        let length = body.len();
        let request = format!(
            "POST /admin/response_cache/purge HTTP/1.1\r\nHost: admin\r\n\
             X-Portcullis-Admin: 1\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        Connection::open(harness.admin)
            .send(request.as_bytes())
            .body
    };
    let delete = || {
        harness
            .send("DELETE /x HTTP/1.1\r\nHost: api.example\r\n\r\n")
            .body
    };
    let host = "http://api.example";
    let url = format!("{{\"url\":\"{host}/x\"}}");
    let prefix = format!("{{\"prefix\":\"{host}/x\"}}");
    for (remove, expected) in [
        (
            &(|| purge(&url)) as &dyn Fn() -> String,
            "{\"removed\":1}\n",
        ),
        (&|| purge(&prefix), "{\"removed\":1}\n"),
        (&|| purge("{\"all\":true}"), "{\"removed\":2}\n"),
        (&delete, ""),
    ] {
        let first = put_away();
        let said = remove();
        if !expected.is_empty() {
            assert_eq!(said, expected);
        }
        wait_for("the end of the file", || {
            !folder.files().iter().any(is_small)
        });
        let second = harness.get_with("/x", "");
        assert!(!is_hit(&second) && second.body != first, "{expected}");
        purge(&url);
        wait_for("the end of the file", || {
            !folder.files().iter().any(is_small)
        });
    }
}

fn is_small(path: &std::path::PathBuf) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.len() < 200_000)
}

#[test]
fn a_folder_is_never_shared_and_the_dead_leave_nothing() {
    let folder = Folder::new("shared");
    let dead = folder.0.join("00000000000000aa");
    std::fs::create_dir_all(&dead).unwrap();
    std::fs::write(dead.join("0000000000000001"), "what a dead process knew").unwrap();
    std::fs::write(dead.with_extension("lock"), "").unwrap();
    let origin = large(FRESH);
    let section = format!("{PUBLIC}\n{}", folder.section("64MiB"));
    let [old, new] = [(); 2].map(|()| origin.gateway(&section));
    assert!(!dead.exists() && !dead.with_extension("lock").exists());
    for (number, harness) in [(1, &old), (2, &new)] {
        assert!(
            harness
                .get_with("/x", "")
                .body
                .ends_with(&number.to_string())
        );
        wait_for("the file", || folder.files().len() == number);
    }
    for harness in [&old, &new] {
        flood(harness, &folder, "");
    }
    for (body, harness) in [("1", &old), ("2", &new)] {
        let hit = harness.get_with("/x", "");
        assert!(is_hit(&hit) && hit.body.ends_with(body));
    }
}

#[test]
fn what_a_304_brings_up_to_date_is_so_on_the_disk() {
    let folder = Folder::new("update");
    let origin = Origin::start(|head, number| {
        if head.to_lowercase().contains("if-none-match: \"e\"") {
            let head = format!(
                "HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=600\r\nX-Number: {number}\r\n\r\n"
            );
            return (head, String::new());
        }
        let age = if head.contains("/x ") { 0 } else { 600 };
        let fields =
            format!("Cache-Control: max-age={age}\r\nETag: \"e\"\r\nX-Number: {number}\r\n");
        (
            fields,
            numbered(
                number,
                if head.contains("/huge") {
                    HUGE
                } else {
                    100_000
                },
            ),
        )
    });
    let harness = origin.gateway(&format!("{PUBLIC}\n{}", folder.section("64MiB")));
    harness.get_with("/x", "");
    wait_for("the file", || folder.files().len() == 1);
    let old = folder.files();
    harness.get_with("/x", "");
    wait_for("the new file", || {
        folder.files().len() == 1 && folder.files() != old
    });
    flood(&harness, &folder, "");
    let hit = harness.get_with("/x", "");
    assert!(is_hit(&hit), "{}", status(&hit));
    assert_eq!(hit.header("x-number"), Some("2"));
    assert!(hit.body.ends_with("001"));
}
