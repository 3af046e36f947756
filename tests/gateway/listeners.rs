//! Ways in: TLS, certificates of both sides, the PROXY protocol, trusted proxies, redirects.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    client::Resumption,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};

use crate::support::{Connection, Harness, PATIENCE, ROUTES, free_port, local, wait_for};

/// An authority, and a folder for what it makes. Goes when dropped.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    folder: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("portcullis-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.join("ca.pem"), certificate.pem()).unwrap();
        Self {
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
            folder,
        }
    }

    /// Writes `name.pem` and `name.key` for a server of these names.
    fn server(&self, name: &str, hosts: &[&str]) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(hosts).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        write(&self.file(name, "key"), &key.serialize_pem());
        write(&self.file(name, "pem"), &certificate.pem());
    }

    fn client(
        &self,
        purpose: ExtendedKeyUsagePurpose,
        last_year: i32,
    ) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        params.not_after = date_time_ymd(last_year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let der = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        (certificate.der().clone(), der)
    }

    fn file(&self, name: &str, kind: &str) -> PathBuf {
        self.folder.join(format!("{name}.{kind}"))
    }

    /// `[[listen.tls]]` for each of these servers.
    fn tables(&self, names: &[&str]) -> String {
        let table = |name: &&str| {
            let (cert, key) = (self.file(name, "pem"), self.file(name, "key"));
            format!("[[listen.tls]]\ncert_file = {cert:?}\nkey_file = {key:?}\n")
        };
        names.iter().map(table).collect()
    }

    fn config(&self) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        // A session that goes on is shown no certificate.
        config.resumption = Resumption::disabled();
        Client(config)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn write(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    // At once, so that nobody reads half of it.
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(beside, path).unwrap();
}

/// How a client does its handshakes.
#[derive(Clone)]
struct Client(ClientConfig);

type Stream = StreamOwned<ClientConnection, TcpStream>;

impl Client {
    fn showing(mut self, shown: (CertificateDer<'static>, PrivateKeyDer<'static>)) -> Self {
        let provider = rustls::crypto::ring::default_provider();
        let key = provider.key_provider.load_private_key(shown.1).unwrap();
        let certified = rustls::sign::CertifiedKey::new(vec![shown.0], key);
        self.0.client_auth_cert_resolver =
            Arc::new(rustls::sign::SingleCertAndKey::from(certified));
        self
    }

    fn offering(mut self, protocols: &[&str]) -> Self {
        self.0.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        self
    }

    fn connect(&self, address: SocketAddr, host: &str) -> std::io::Result<Stream> {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let session = ClientConnection::new(Arc::new(self.0.clone()), name).unwrap();
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    /// Status and answer to one request, or what went wrong.
    fn get(&self, address: SocketAddr, host: &str, path: &str) -> std::io::Result<String> {
        self.connect(address, host)
            .and_then(|mut stream| ask(&mut stream, host, path))
    }
}

/// One request on a connection that may go on.
fn ask(stream: &mut Stream, host: &str, path: &str) -> std::io::Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer)?;
        answer.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(read > 0, "ended in the middle: {text}");
            continue;
        };
        let length = head.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        });
        if body.len() >= length.unwrap_or(0) {
            return Ok(text.into_owned());
        }
    }
}

/// A gateway with TLS, and the address of that.
fn start(listen: &str, sections: &str) -> (Harness, SocketAddr) {
    let https = local(free_port());
    let listen = format!("https = \"{https}\"\n{listen}");
    (
        Harness::with_listen(&listen, &format!("{sections}\n{ROUTES}")),
        https,
    )
}

fn shown(stream: &Stream) -> CertificateDer<'static> {
    stream.conn.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

#[test]
fn certificates_go_by_name_and_are_read_again() {
    let authority = Authority::new("names");
    authority.server("one", &["one.example"]);
    authority.server("more", &["more.example", "*.more.example"]);
    let (harness, https) = start("", &authority.tables(&["one", "more"]));
    let client = authority.config();
    for host in ["one.example", "more.example", "a.more.example"] {
        let answer = client.get(https, host, "/public/x").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("x-forwarded-proto: https"), "{answer}");
    }
    let unknown = client.get(https, "other.example", "/").unwrap_err();
    assert!(
        unknown
            .to_string()
            .contains("only valid for DnsName(\"one.example\")"),
        "the first one is shown: {unknown}"
    );

    let mut old = client.connect(https, "one.example").unwrap();
    let before = shown(&old);
    authority.server("one", &["one.example"]);
    wait_for("the new certificate", || {
        shown(&client.connect(https, "one.example").unwrap()) != before
    });
    let answer = ask(&mut old, "one.example", "/public/x").unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200"),
        "the old connection lives: {answer}"
    );
    let metrics = harness.admin("/metrics").body;
    assert!(metrics.contains("portcullis_tls_certificate_expiry_timestamp_seconds{certificate="));

    let kept = shown(&client.connect(https, "one.example").unwrap());
    write(&authority.file("one", "pem"), "nonsense");
    write(&authority.file("more", "pem"), "");
    authority.server("more", &["more.example"]);
    wait_for("the other certificate", || {
        client.get(https, "a.more.example", "/").is_err()
    });
    assert_eq!(shown(&client.connect(https, "one.example").unwrap()), kept);
}

#[test]
fn upstreams_that_do_not_say_whom_to_trust_have_the_usual_authorities() {
    let authority = Authority::new("upstream-tls");
    authority.server("one", &["one.example"]);
    let stranger = Authority::new("upstream-tls-stranger");
    let (_server, https) = start("", &authority.tables(&["one"]));
    let upstream = |name: &str, more: &str| {
        format!(
            "[upstreams.{name}]\nservers = [\"https://{https}\"]\n\
             [upstreams.{name}.tls]\nserver_name = \"one.example\"\n{more}\n\
             [[route]]\npath = \"/{name}/*\"\nupstream = \"{name}\"\npublic = true\n\
             rewrite = \"/public/*\"\n"
        )
    };
    let (usual, other) = (authority.file("ca", "pem"), stranger.file("ca", "pem"));
    let gateway = Harness::with(&format!(
        "[upstream_tls]\nca_file = {usual:?}\n{}{}",
        upstream("usual", ""),
        upstream("own", &format!("ca_file = {other:?}")),
    ));
    assert_eq!(gateway.get_with("/usual/x", "").status, 200);
    let refused = gateway.get_with("/own/x", "");
    assert_eq!(refused.refusal(), (502, "upstream_connect".to_owned()));
}

#[test]
fn only_protocols_that_are_spoken_here() {
    let authority = Authority::new("alpn");
    authority.server("one", &["one.example"]);
    let (harness, https) = start("", &authority.tables(&["one"]));
    let client = authority.config();
    for (offered, agreed) in [
        (&[][..], None),
        (&["http/1.1"], Some("http/1.1")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["acme-tls/1", "http/1.1"], Some("http/1.1")),
    ] {
        let stream = client
            .clone()
            .offering(offered)
            .connect(https, "one.example")
            .unwrap();
        let got = stream
            .conn
            .alpn_protocol()
            .map(|name| String::from_utf8_lossy(name).into_owned());
        assert_eq!(got.as_deref(), agreed, "{offered:?}");
    }
    let wrong = client
        .offering(&["acme-tls/1"])
        .connect(https, "one.example")
        .unwrap_err();
    assert!(
        wrong.to_string().contains("NoApplicationProtocol"),
        "{wrong}"
    );
    let mut plain = Connection::open(https);
    plain.write(b"GET / HTTP/1.1\r\nHost: one.example\r\n\r\n");
    // An alert may come first.
    assert!(plain.is_closed() || plain.is_closed());
    for reason in ["no_common_protocol", "not_tls"] {
        let series = format!(
            "portcullis_downstream_tls_handshake_errors_total{{listener=\"{https}\",reason=\"{reason}\"}} 1"
        );
        wait_for(reason, || harness.admin("/metrics").body.contains(&series));
    }
}

#[test]
fn a_session_that_goes_on_takes_no_early_data() {
    // RFC 8470: what comes before the handshake is done can be sent again by anybody.
    let authority = Authority::new("early");
    authority.server("one", &["one.example"]);
    let (_harness, https) = start("", &authority.tables(&["one"]));
    let mut client = authority.config();
    client.0.resumption = Resumption::default();
    client.0.enable_early_data = true;
    client.get(https, "one.example", "/public/x").unwrap();
    let name = ServerName::try_from("one.example").unwrap();
    let mut session = ClientConnection::new(Arc::new(client.0.clone()), name).unwrap();
    assert!(session.early_data().is_none(), "it was offered");
    let stream = client.connect(https, "one.example").unwrap();
    assert_eq!(
        stream.conn.handshake_kind(),
        Some(rustls::HandshakeKind::Resumed)
    );
    assert!(!stream.conn.is_early_data_accepted());
}

#[test]
fn certificates_of_clients_are_verified() {
    let authority = Authority::new("clients");
    let stranger = Authority::new("stranger");
    authority.server("one", &["one.example"]);
    let tables = |mode: &str| {
        format!(
            "{}[listen.client_certificates]\nmode = {mode:?}\nca_file = {:?}\n",
            authority.tables(&["one"]),
            authority.folder.join("ca.pem")
        )
    };
    let good = || authority.client(ExtendedKeyUsagePurpose::ClientAuth, 2099);
    let bad = [
        (
            "of an authority that is not ours",
            stranger.client(ExtendedKeyUsagePurpose::ClientAuth, 2099),
        ),
        (
            "for servers",
            authority.client(ExtendedKeyUsagePurpose::ServerAuth, 2099),
        ),
        (
            "that has ended",
            authority.client(ExtendedKeyUsagePurpose::ClientAuth, 2000),
        ),
    ];
    let client = authority.config();
    let (_required, https) = start("", &tables("required"));
    assert!(client.get(https, "one.example", "/public/x").is_err());
    let answer = client
        .clone()
        .showing(good())
        .get(https, "one.example", "/public/x")
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for (what, shown) in bad {
        assert!(
            client
                .clone()
                .showing(shown)
                .get(https, "one.example", "/")
                .is_err(),
            "{what}"
        );
    }
    let (_optional, https) = start("", &tables("optional"));
    for client in [client.clone(), client.clone().showing(good())] {
        let answer = client.get(https, "one.example", "/public/x").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let wrong = stranger.client(ExtendedKeyUsagePurpose::ClientAuth, 2099);
    assert!(
        client
            .showing(wrong)
            .get(https, "one.example", "/")
            .is_err()
    );
}

#[test]
fn a_host_with_another_certificate_needs_another_connection() {
    let authority = Authority::new("misdirected");
    authority.server("one", &["one.example", "also.example"]);
    authority.server("two", &["two.example"]);
    let (_harness, https) = start("", &authority.tables(&["one", "two"]));
    let client = authority.config();
    let mut stream = client.connect(https, "one.example").unwrap();
    for (host, status) in [
        ("also.example", "200"),
        ("two.example", "421"),
        ("one.example", "200"),
        ("unknown.example", "200"),
        ("TWO.example.:443", "421"),
    ] {
        let answer = ask(&mut stream, host, "/public/x").unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{host}: {answer}"
        );
    }
}

#[test]
fn requests_without_tls_are_sent_on() {
    let authority = Authority::new("redirect");
    authority.server("one", &["one.example"]);
    let listen = "redirect_to_https = true\ntrusted_proxies = \"127.0.0.1\"";
    let (harness, https) = start(listen, &authority.tables(&["one"]));
    let port = https.port();
    let answer = harness.send(
        "POST /public/a%20b?c=d HTTP/1.1\r\nHost: one.example:80\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(answer.refusal(), (308, "tls_needed".to_owned()));
    let location = format!("https://one.example:{port}/public/a%20b?c=d");
    assert_eq!(answer.header("location"), Some(&*location));
    let answer = harness.send("GET / HTTP/1.1\r\nHost: one.example/@evil.example\r\n\r\n");
    assert_eq!((answer.status, answer.header("location")), (400, None));
    let answer = harness.get_with("/public/x", "X-Forwarded-Proto: https\r\n");
    assert_eq!(answer.status, 200, "a proxy in front has done it already");
}

#[test]
fn trusted_proxies_say_who_calls() {
    let headers = "X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\
                   X-Forwarded-Host: shop.example\r\nForwarded: for=6.6.6.6\r\n";
    let harness = Harness::with_listen("trusted_proxies = [\"127.0.0.0/8\"]", ROUTES);
    let echoed = harness.get_with("/public/x", headers).echoed();
    assert_eq!(
        echoed.header("x-forwarded-for"),
        ["6.6.6.6, 192.0.2.7, 127.0.0.1"]
    );
    assert_eq!(echoed.header("x-forwarded-proto"), ["https"]);
    assert_eq!(echoed.header("x-forwarded-host"), ["shop.example"]);
    assert!(echoed.header("forwarded").is_empty());
    assert_eq!(harness.log(1)[0]["client.address"], "192.0.2.7");

    let harness = Harness::with_listen("trusted_proxies = [\"10.0.0.0/8\"]", ROUTES);
    let echoed = harness.get_with("/public/x", headers).echoed();
    assert_eq!(echoed.header("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(echoed.header("x-forwarded-proto"), ["http"]);
    assert_eq!(echoed.header("x-forwarded-host"), ["api.example"]);
    assert_eq!(harness.log(1)[0]["client.address"], "127.0.0.1");
}

#[test]
fn the_proxy_protocol_is_taken_from_those_who_may_speak_it() {
    let request = b"GET /public/x HTTP/1.1\r\nHost: api.example\r\n\r\n";
    let text = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
    let binary =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x08\xc6\x33\x64\x01\xdc\x04\x01\xbb";
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let harness = Harness::with_listen("proxy_protocol_from = \"127.0.0.1\"", ROUTES);
    for (header, client) in [
        (&text[..], "192.0.2.7"),
        (binary, "192.0.2.8"),
        (local, "127.0.0.1"),
    ] {
        let echoed = harness.connect().send(&[header, request].concat()).echoed();
        assert_eq!(echoed.header("x-forwarded-for"), [client]);
    }
    // Byte by byte, and a second request without another header.
    let mut slow = harness.connect();
    for byte in text {
        slow.write(&[*byte]);
    }
    assert_eq!(slow.send(request).status, 200);
    assert_eq!(
        slow.send(request).echoed().header("x-forwarded-for"),
        ["192.0.2.7"]
    );
    let mut without = harness.connect();
    without.write(request);
    assert!(without.is_closed());
    let refused = format!(
        "portcullis_downstream_connections_refused_total{{listener=\"{}\",reason=\"bad_proxy_header\"}} 1",
        harness.gateway
    );
    wait_for("the count", || {
        harness.admin("/metrics").body.contains(&refused)
    });

    let harness = Harness::with_listen("proxy_protocol_from = \"10.0.0.0/8\"", ROUTES);
    let mut other = harness.connect();
    assert_eq!(other.send(&[&text[..], request].concat()).status, 400);
    assert_eq!(
        harness
            .connect()
            .send(request)
            .echoed()
            .header("x-forwarded-for"),
        ["127.0.0.1"]
    );
}

#[test]
fn slow_headers_and_silence_end() {
    let limits = "[listen.limits]\nheader_timeout = \"2s\"\nidle_timeout = \"3s\"\n";
    let harness = Harness::with(&format!("{limits}{ROUTES}"));
    let mut silent = harness.connect();
    assert!(silent.is_closed(), "nothing was said");
    let mut half = harness.connect();
    half.write(b"GET / HTTP/1.1\r\nHost:");
    assert!(half.is_closed(), "half a header");
    let mut idle = harness.connect();
    let request = b"GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(idle.send(request).status, 200);
    assert!(idle.is_closed(), "nothing more was said");
    let mut second = harness.connect();
    assert_eq!(second.send(request).status, 200);
    second.write(b"GET / HTTP/1.1\r\n");
    assert!(second.is_closed(), "half a second header");
    let closed = |reason, count| {
        let gateway = harness.gateway;
        format!(
            "portcullis_downstream_connections_closed_total{{listener=\"{gateway}\",reason=\"{reason}\"}} {count}\n"
        )
    };
    wait_for("the counts", || {
        let metrics = harness.admin("/metrics").body;
        metrics.contains(&closed("header_timeout", 3)) && metrics.contains(&closed("idle", 1))
    });
}

#[test]
fn a_handshake_has_its_time() {
    let authority = Authority::new("handshake");
    authority.server("one", &["one.example"]);
    let tables = authority.tables(&["one"]);
    let limits = "[listen.limits]\nhandshake_timeout = \"300ms\"\n";
    let (harness, https) = start("", &format!("{tables}{limits}"));
    // A record that announces 512 bytes, of which one comes.
    for beginning in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut slow = Connection::open(https);
        slow.write(beginning);
        assert!(slow.is_closed(), "{beginning:?}");
    }
    let series = format!(
        "portcullis_downstream_tls_handshake_errors_total{{listener=\"{https}\",reason=\"timeout\"}} 2\n"
    );
    wait_for("the count", || {
        harness.admin("/metrics").body.contains(&series)
    });
    let client = authority.config();
    wait_for("a handshake in time", || {
        let answer = client.get(https, "one.example", "/public/x");
        answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    });
}

#[test]
fn connections_have_an_age() {
    let harness = Harness::with(&format!("[listen.limits]\nmax_age = \"100ms\"\n{ROUTES}"));
    let mut connection = harness.connect();
    let request = b"GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n";
    wait_for("the last answer", || {
        connection.send(request).header("connection") == Some("close")
    });
    assert!(connection.is_closed());
}

#[test]
fn too_many_connections_are_turned_away() {
    for (limit, reason) in [
        ("max_connections", "max_connections"),
        ("max_connections_per_address", "max_connections_per_address"),
    ] {
        let harness = Harness::with(&format!("[listen.limits]\n{limit} = 2\n{ROUTES}"));
        let request = b"GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut held = [harness.connect(), harness.connect()];
        for connection in &mut held {
            assert_eq!(connection.send(request).status, 200);
        }
        let mut third = harness.connect();
        let answer = third.read(false).unwrap();
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("1"))
        );
        assert!(third.is_closed());
        let refused = format!(
            "refused_total{{listener=\"{}\",reason=\"{reason}\"}} 1\n",
            harness.gateway
        );
        // It is counted after its answer.
        wait_for("the count", || {
            harness.admin("/metrics").body.contains(&refused)
        });
        drop(held);
        wait_for("a free place", || {
            let mut connection = harness.connect();
            connection.write(request);
            connection
                .read(false)
                .is_some_and(|answer| answer.status == 200)
        });
    }
}

#[test]
fn too_many_requests_are_shed_while_the_admin_listener_answers() {
    let upstream = crate::support::RawServer::start(|_, mut stream| {
        // Answers never.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let harness = Harness::with(&format!(
        "[listen.limits]\nmax_requests = 1\n\
         [[route]]\npath = \"/slow\"\npublic = true\nupstream = \"http://{}\"\n",
        upstream.address
    ));
    let mut slow = harness.connect();
    slow.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for("the first request", || {
        harness
            .admin("/metrics")
            .body
            .contains("in_flight{route=\"/slow\"} 1")
    });
    let answer = harness.get_with("/slow", "");
    assert_eq!(answer.refusal(), (503, "overloaded".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(harness.admin("/readyz").status, 200);
}
