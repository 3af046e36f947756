//! Upstreams of several servers: the choice, what happens when one fails, protocols and TLS.

use std::{
    fs,
    io::Write,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::JoinHandle,
};

use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::support::{Harness, PATIENCE, RawServer, free_port, local, read_head, wait_for};

/// A server that can be switched off and on, with its name as its answer.
struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    name: String,
    requests: AtomicUsize,
    /// Requests for `/…/hold` that are waiting.
    held: AtomicUsize,
    released: AtomicBool,
    /// Closes connections instead of answering.
    breaks: AtomicBool,
    stopped: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Server {
    fn start(name: &str) -> Self {
        let shared = Shared {
            name: name.to_owned(),
            ..Shared::default()
        };
        let mut server = Self {
            address: local(free_port()),
            shared: Arc::new(shared),
            thread: None,
        };
        server.listen();
        server
    }

    fn listen(&mut self) {
        self.shared.stopped.store(false, SeqCst);
        let listener = TcpListener::bind(self.address).unwrap();
        let shared = Arc::clone(&self.shared);
        self.thread = Some(std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.stopped.load(SeqCst) {
                    return;
                }
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                shared.streams.lock().push(stream.try_clone().unwrap());
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.serve(stream));
            }
        }));
    }

    /// Closes everything: nobody listens any more.
    fn kill(&mut self) {
        self.shared.stopped.store(true, SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        for stream in self.shared.streams.lock().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn requests(&self) -> usize {
        self.shared.requests.load(SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.released.store(true, SeqCst);
        self.kill();
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        while let Some(head) = read_head(&mut stream) {
            let check = head.starts_with("GET /healthz");
            if !check {
                self.requests.fetch_add(1, SeqCst);
            }
            if self.breaks.load(SeqCst) && !check {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            if head.contains("/hold ") {
                self.held.fetch_add(1, SeqCst);
                wait_for("a release", || self.released.load(SeqCst));
                self.held.fetch_sub(1, SeqCst);
            }
            let length = self.name.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}",
                self.name
            );
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// A public route to these servers, with these lines for the upstream.
fn pool(servers: &[&Server], lines: &str) -> String {
    let urls: Vec<String> = servers
        .iter()
        .map(|server| format!("\"http://{}\"", server.address))
        .collect();
    let urls = urls.join(", ");
    format!(
        "[[route]]\npath = \"/*\"\npublic = true\nupstream = \"pool\"\n\
         [upstreams.pool]\nservers = [{urls}]\n{lines}\n"
    )
}

fn get(harness: &Harness) -> String {
    let answer = harness.get_with("/x", "");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

fn healthy(harness: &Harness, server: &Server) -> bool {
    let address = server.address;
    let series = format!("portcullis_upstream_healthy{{address=\"{address}\",upstream=\"pool\"}}");
    harness.metric(&series) > 0.0
}

#[test]
fn requests_follow_the_weights() {
    let (one, two) = (Server::start("one"), Server::start("two"));
    let sections = format!(
        "[[route]]\npath = \"/*\"\npublic = true\nupstream = \"pool\"\n[upstreams.pool]\n\
         servers = [\"http://{}\", {{ url = \"http://{}\", weight = 3 }}]\n",
        one.address, two.address
    );
    let harness = Harness::with(&sections);
    for _ in 0..40 {
        get(&harness);
    }
    assert_eq!((one.requests(), two.requests()), (10, 30));
}

#[test]
fn the_least_busy_server_is_next() {
    let (one, two) = (Server::start("one"), Server::start("two"));
    let harness = Harness::with(&pool(&[&one, &two], "balance = \"least_connections\""));
    let mut waiting = harness.connect();
    waiting.write(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    let held = |server: &Server| server.shared.held.load(SeqCst);
    wait_for("the request", || held(&one) + held(&two) == 1);
    let idle = if held(&one) == 1 { "two" } else { "one" };
    for _ in 0..6 {
        // A request counts for its server until its last line is written.
        wait_for("one in flight", || harness.metrics.all_in_flight() == 1);
        assert_eq!(get(&harness), idle);
    }
    for server in [&one, &two] {
        server.shared.released.store(true, SeqCst);
    }
    assert_eq!(waiting.read(false).unwrap().status, 200);
}

#[test]
fn the_same_key_goes_to_the_same_server() {
    let servers = [
        Server::start("one"),
        Server::start("two"),
        Server::start("three"),
    ];
    let all: Vec<&Server> = servers.iter().collect();
    let lines = "balance = \"consistent_hash\"\nhash_key = \"header:X-Tenant\"";
    let harness = Harness::with(&pool(&all, lines));
    let ask = |tenant: usize| {
        harness
            .get_with("/x", &format!("X-Tenant: {tenant}\r\n"))
            .body
    };
    let chosen: Vec<String> = (0..30).map(ask).collect();
    assert_eq!(chosen, (0..30).map(ask).collect::<Vec<_>>());
    for name in ["one", "two", "three"] {
        assert!(chosen.iter().any(|other| other == name), "{chosen:?}");
    }
    // Without the header it is the client's address, which is the same here.
    let first = get(&harness);
    assert!((0..10).all(|_| get(&harness) == first));
}

#[test]
fn a_server_that_dies_fails_no_request_that_can_be_tried_again() {
    let mut servers = [
        Server::start("one"),
        Server::start("two"),
        Server::start("three"),
    ];
    let all: Vec<&Server> = servers.iter().collect();
    let lines = "[upstreams.pool.health_check]\npath = \"/healthz\"\ninterval = \"50ms\"\n";
    let harness = Harness::with(&pool(&all, lines));
    let (stop, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(scope.spawn(|| {
                let mut connection = harness.connect();
                while !stop.load(SeqCst) {
                    let answer = connection.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
                    assert_eq!(answer.status, 200, "{answer:?}");
                    answers.fetch_add(1, SeqCst);
                }
            }));
        }
        let more = |count: usize| {
            let enough = answers.load(SeqCst) + count;
            wait_for("answers", || answers.load(SeqCst) >= enough);
        };
        more(100);
        servers[1].kill();
        wait_for("the checks to fail", || !healthy(&harness, &servers[1]));
        more(100);
        let before = servers[1].requests();
        more(100);
        assert_eq!(servers[1].requests(), before);
        servers[1].listen();
        wait_for("the checks to pass", || healthy(&harness, &servers[1]));
        wait_for("requests", || servers[1].requests() > before);
        stop.store(true, SeqCst);
        for client in clients {
            client.join().unwrap();
        }
    });
}

#[test]
fn failures_keep_a_server_out_and_a_reload_does_not_bring_it_back() {
    let (good, bad) = (Server::start("good"), Server::start("bad"));
    bad.shared.breaks.store(true, SeqCst);
    let lines = "[upstreams.pool.ejection]\nconsecutive_failures = 3\nbase_time = \"1h\"\nmax_time = \"2h\"\n";
    let harness = Harness::with(&pool(&[&good, &bad], lines));
    for _ in 0..10 {
        assert_eq!(get(&harness), "good");
    }
    assert_eq!(bad.requests(), 3);
    assert!(!healthy(&harness, &bad) && healthy(&harness, &good));
    assert_eq!(
        harness.metric("portcullis_upstream_ejections_total{upstream=\"pool\"}"),
        1.0
    );
    assert_eq!(
        harness.metric("portcullis_upstream_retries_total{upstream=\"pool\"}"),
        3.0
    );
    let answer = harness.reload(|text| *text = text.replace("\"2h\"", "\"3h\""));
    assert_eq!(answer.status, 200, "{answer:?}");
    for _ in 0..10 {
        assert_eq!(get(&harness), "good");
    }
    assert_eq!(bad.requests(), 3);
    let answer = harness.reload(|text| {
        *text = text
            .replace("[upstreams.pool", "[upstreams.other")
            .replace("\"pool\"", "\"other\"");
    });
    assert_eq!(answer.status, 200, "{answer:?}");
    for _ in 0..10 {
        get(&harness);
    }
    assert!(bad.requests() > 3, "another upstream knows nothing of it");
}

#[test]
fn when_all_are_out_the_answer_is_503() {
    let mut server = Server::start("one");
    let lines = "[upstreams.pool.health_check]\ninterval = \"50ms\"\n";
    let harness = Harness::with(&pool(&[&server], lines));
    assert_eq!(get(&harness), "one");
    server.kill();
    wait_for("the checks to fail", || !healthy(&harness, &server));
    let answer = harness.get_with("/x", "");
    assert_eq!(answer.refusal(), (503, "no_upstream".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("5"));
    server.listen();
    wait_for("the checks to pass", || healthy(&harness, &server));
    assert_eq!(get(&harness), "one");
}

#[test]
fn a_request_that_was_sent_is_sent_again_only_if_it_is_idempotent() {
    let (good, bad) = (Server::start("good"), Server::start("bad"));
    bad.shared.breaks.store(true, SeqCst);
    let lines = "[upstreams.pool.ejection]\nconsecutive_failures = 1000000\n";
    let harness = Harness::with(&pool(&[&good, &bad], lines));
    for method in ["GET", "PUT", "DELETE"] {
        for _ in 0..4 {
            let request =
                format!("{method} /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
            assert_eq!(harness.send(&request).status, 200, "{method}");
        }
    }
    let before = good.requests() + bad.requests();
    let mut refused = 0;
    for _ in 0..10 {
        let answer = harness.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
        if answer.status != 200 {
            assert_eq!(answer.refusal(), (502, "upstream_reset".to_owned()));
            refused += 1;
        }
    }
    assert_eq!(refused, 5);
    assert_eq!(good.requests() + bad.requests(), before + 10);
}

#[test]
fn what_found_no_connection_goes_elsewhere_whatever_it_is() {
    let (good, mut gone) = (Server::start("good"), Server::start("gone"));
    gone.kill();
    let lines = "[upstreams.pool.ejection]\nconsecutive_failures = 1000000\n";
    let harness = Harness::with(&pool(&[&good, &gone], lines));
    for _ in 0..6 {
        let answer = harness.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!((answer.status, answer.body.as_str()), (200, "good"));
    }
    assert_eq!(good.requests(), 6);
}

#[test]
fn a_server_gets_no_more_than_it_may_have() {
    let server = Server::start("one");
    let harness = Harness::with(&pool(&[&server], "max_requests = 1"));
    let mut waiting = harness.connect();
    waiting.write(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for("the request", || server.shared.held.load(SeqCst) == 1);
    let answer = harness.get_with("/x", "");
    assert_eq!(answer.refusal(), (503, "upstream_overloaded".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(
        harness.metric("portcullis_upstream_overloaded_total{upstream=\"pool\"}"),
        1.0
    );
    server.shared.released.store(true, SeqCst);
    assert_eq!(waiting.read(false).unwrap().status, 200);
    wait_for("room", || harness.get_with("/x", "").status == 200);
}

#[test]
fn an_answer_has_to_come_in_the_time_of_the_route() {
    let server = Server::start("one");
    let sections = pool(&[&server], "[upstreams.pool.timeouts]\ntotal = \"1h\"\n")
        .replace("public = true", "public = true\ntimeout = \"2s\"");
    let harness = Harness::with(&sections);
    let answer = harness.get_with("/hold", "");
    assert_eq!(answer.refusal(), (504, "upstream_timeout".to_owned()));
    wait_for("the request", || server.requests() > 0);
    assert_eq!(server.requests(), 1, "a slow answer is not asked for again");
    assert_eq!(get(&harness), "one");
}

#[test]
fn an_answer_that_goes_on_too_long_is_broken_off() {
    let drip = RawServer::start(|_, mut stream| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        if read_head(&mut stream).is_some() && stream.write_all(head.as_bytes()).is_ok() {
            while stream.write_all(b"1\r\nx\r\n").is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    });
    let sections = format!(
        "[[route]]\npath = \"/*\"\npublic = true\ntimeout = \"2s\"\nupstream = \"http://{}\"\n",
        drip.address
    );
    let harness = Harness::with(&sections);
    let mut connection = harness.connect();
    connection.write(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(connection.read(true).unwrap().status, 200);
    assert_eq!(connection.chunks(), None, "the end is never said");
    assert_eq!(harness.log(1)[0]["portcullis.reason"], "upstream_timeout");
}

#[test]
fn answers_without_one_meaning_are_not_passed_on() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        "HTTP/1.1 999999 OK\r\n\r\n",
        "hello\r\n\r\n",
    ] {
        let server = RawServer::answering(answer.as_bytes(), false);
        let sections = format!(
            "[[route]]\npath = \"/*\"\npublic = true\nupstream = \"http://{}\"\n",
            server.address
        );
        let harness = Harness::with(&sections);
        let refusal = harness.get_with("/x", "").refusal();
        assert_eq!(refusal, (502, "upstream_reset".to_owned()), "{answer}");
    }
}

#[test]
fn of_two_framings_the_chunks_count_and_only_they_go_on() {
    // RFC 9112 §6.3: the length is removed.
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
                  5\r\nhello\r\n0\r\n\r\n";
    let server = RawServer::answering(answer.as_bytes(), false);
    let harness = to(&format!("http://{}", server.address), "");
    for _ in 0..2 {
        let mut connection = harness.connect();
        connection.write(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = connection.read(true).unwrap();
        assert_eq!((head.status, head.header("content-length")), (200, None));
        assert_eq!(connection.chunks().unwrap(), b"hello");
    }
}

/// Another gateway as the server: one that speaks HTTP/2 and TLS.
fn behind(listen: &str) -> Harness {
    let route = "[[route]]\npath = \"/*\"\npublic = true\nupstream = \"http://{upstream}\"\n";
    Harness::with_listen(listen, route)
}

fn to(url: &str, lines: &str) -> Harness {
    Harness::with(&format!(
        "[[route]]\npath = \"/*\"\npublic = true\nupstream = \"pool\"\n\
         [upstreams.pool]\nservers = [\"{url}\"]\n{lines}\n"
    ))
}

#[test]
fn http2_without_tls() {
    let server = behind("h2c = true");
    let lines =
        "protocol = \"h2\"\n[upstreams.pool.health_check]\npath = \"/well\"\ninterval = \"50ms\"\n";
    let harness = to(&format!("http://{}", server.gateway), lines);
    let body = "x".repeat(200_000);
    for _ in 0..5 {
        let echoed = harness.get_with("/x?y", "X-Kept: 1\r\n").echoed();
        assert_eq!(echoed.target, "/x?y");
        assert_eq!(echoed.header("x-kept"), ["1"]);
        let length = body.len();
        let request =
            format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}");
        assert_eq!(harness.send(&request).echoed().body_bytes, 200_000);
    }
    // Nor does what a client's connection is about (CVE-2026-105299).
    let headers = "Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
                   Proxy-Connection: keep-alive\r\nTE: trailers, gzip\r\n";
    let echoed = harness.get_with("/x", headers).echoed();
    for name in ["connection", "x-hop", "keep-alive", "proxy-connection"] {
        assert!(echoed.header(name).is_empty(), "{name}");
    }
    assert_eq!(echoed.header("x-forwarded-for").len(), 1);
    wait_for("a check", || server.raw_log().contains("/well"));
    for line in server.log(12) {
        assert_eq!(
            (
                line["network.protocol.version"].as_str(),
                line["http.response.status_code"].as_u64()
            ),
            (Some("2"), Some(200)),
            "{line}"
        );
    }
    assert_eq!(
        harness.metric("portcullis_upstream_connections_total{reuse=\"new\",upstream=\"pool\"}"),
        1.0
    );
}

/// A folder of certificates. Goes when dropped.
struct Certificates(PathBuf);

impl Certificates {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("portcullis-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let files = Self(folder);
        for ca in ["ca", "other-ca"] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec![]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            files.write(
                &format!("{ca}.pem"),
                &params.self_signed(&key).unwrap().pem(),
            );
            if ca == "ca" {
                let issuer = Issuer::new(params, key);
                files.issue(&issuer, "server", "orders.internal");
                files.issue(&issuer, "client", "gateway.internal");
            }
        }
        files
    }

    fn issue(&self, issuer: &Issuer<'_, KeyPair>, file: &str, name: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap();
        self.write(&format!("{file}.pem"), &certificate.pem());
        self.write(&format!("{file}.key"), &key.serialize_pem());
    }

    fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn tls_with_certificates_of_both_sides() {
    let files = Certificates::new("upstream-tls");
    let https = local(free_port());
    let server = behind(&format!(
        "https = \"{https}\"\n[[listen.tls]]\ncert_file = {:?}\nkey_file = {:?}\n\
         [listen.client_certificates]\nmode = \"required\"\nca_file = {:?}\n",
        files.path("server.pem"),
        files.path("server.key"),
        files.path("ca.pem"),
    ));
    let url = format!("https://{https}");
    let ask = |protocol: &str, ca: &str, name: &str, shown: bool| {
        let client = match shown {
            true => format!(
                "cert_file = {:?}\nkey_file = {:?}\n",
                files.path("client.pem"),
                files.path("client.key")
            ),
            false => String::new(),
        };
        let lines = format!(
            "protocol = \"{protocol}\"\n[upstreams.pool.tls]\nca_file = {:?}\n{client}{name}",
            files.path(ca)
        );
        to(&url, &lines).get_with("/x", "")
    };
    let name = "server_name = \"orders.internal\"\n";
    for (lines, protocol) in (1..).zip(["http1", "auto", "h2"]) {
        ask(protocol, "ca.pem", name, true).echoed();
        server.log(lines);
    }
    let versions: Vec<_> = server
        .log(3)
        .iter()
        .map(|line| line["network.protocol.version"].to_string())
        .collect();
    assert_eq!(versions, ["\"1.1\"", "\"2\"", "\"2\""]);
    for (ca, name, shown) in [
        ("other-ca.pem", name, true),
        ("ca.pem", "server_name = \"stock.internal\"\n", true),
        ("ca.pem", "", true),
        ("ca.pem", name, false),
    ] {
        let (status, reason) = ask("http1", ca, name, shown).refusal();
        assert_eq!(status, 502, "{ca} {name} {shown}");
        assert!(
            ["upstream_connect", "upstream_reset"].contains(&reason.as_str()),
            "{reason}"
        );
    }
    assert_eq!(server.echo.requests(), 3);
}
