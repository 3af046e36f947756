//! Harness: a gateway with fakes in this process, and a plain HTTP client that sends what it is told.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use portcullis::{
    config::{Environment, Source, load_source},
    demo::{Echo, FakeKeyManager},
    listener::Inherited,
    metrics::Metrics,
    server::{Loader, Server, Until},
};
use tokio::sync::Notify;

/// Longest time that anything in a test may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Routes and sections that most tests need: `{upstream}` is filled in.
pub const ROUTES: &str = r#"
[[route]]
path = "/public/*"
public = true
upstream = "http://{upstream}"

[[route]]
name = "orders"
path = "/orders/*"
methods = ["GET"]
scopes = ["orders.read"]
identity_headers = { "X-Auth-Subject" = "sub", "X-Auth-Client" = "client_id" }
upstream = "http://{upstream}"

[[route]]
name = "orders-write"
path = "/orders/*"
methods = ["POST", "PUT"]
scopes = ["orders.write"]
upstream = "http://{upstream}"
"#;

/// A running gateway. Ends when dropped.
pub struct Harness {
    pub gateway: SocketAddr,
    pub admin: SocketAddr,
    pub key_manager: FakeKeyManager,
    /// `None`: nobody listens there.
    pub key_manager_address: Option<SocketAddr>,
    pub echo: Echo,
    pub metrics: Arc<Metrics>,
    /// What a reload reads.
    pub text: Arc<Mutex<String>>,
    log: Sink,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Harness {
    /// With [`ROUTES`].
    pub fn start() -> Self {
        Self::with(ROUTES)
    }

    /// With these sections beside `[listen]`, `[admin]` and `[keyManager]`.
    pub fn with(sections: &str) -> Self {
        let key_manager = local(free_port());
        let address = format!("serverUrl = \"http://{key_manager}\"");
        Self::build(sections, &address, Some(key_manager))
    }

    /// With a key manager at this address instead of the fake one.
    pub fn with_key_manager(sections: &str, key_manager: SocketAddr) -> Self {
        let address = format!("serverUrl = \"http://{key_manager}\"");
        Self::build(sections, &address, None)
    }

    /// `keys`: lines for `[keyManager]`.
    pub fn with_keys(sections: &str, keys: &str) -> Self {
        let key_manager = local(free_port());
        let keys = format!("serverUrl = \"http://{key_manager}\"\n{keys}");
        Self::build(sections, &keys, Some(key_manager))
    }

    /// With these lines for `[listen]` beside `http`.
    pub fn with_listen(listen: &str, sections: &str) -> Self {
        let key_manager = local(free_port());
        let text = key_manager_text(&format!("serverUrl = \"http://{key_manager}\""));
        Self::assemble(listen, &text, sections, Some(key_manager))
    }

    /// With this text for `[keyManager]` and everything below it.
    pub fn with_key_manager_text(key_manager: &str, sections: &str) -> Self {
        Self::assemble("", key_manager, sections, None)
    }

    fn build(sections: &str, key_manager_keys: &str, fake: Option<SocketAddr>) -> Self {
        Self::assemble("", &key_manager_text(key_manager_keys), sections, fake)
    }

    fn assemble(
        listen: &str,
        key_manager_text: &str,
        sections: &str,
        fake: Option<SocketAddr>,
    ) -> Self {
        let [gateway, admin, upstream] = [(); 3].map(|()| local(free_port()));
        let text = format!(
            "[listen]\nhttp = \"{gateway}\"\n{listen}\n[admin]\nlisten = \"{admin}\"\n[log]\naccess = \"json\"\n\
             {key_manager_text}\n{sections}"
        )
        .replace("{upstream}", &upstream.to_string());
        Self::launch(Source::memory(text), [gateway, admin, upstream], fake)
    }

    /// With a file of WSO2 API Microgateway, which may have tables of ours too, and other files below `folder`. In
    /// all of them `{gateway}`, `{key_manager}` and `{upstream}` are ports.
    pub fn of_original(folder: &Path, files: &[(&str, &str)]) -> Self {
        let ports = [(); 4].map(|()| local(free_port()));
        let [gateway, admin, upstream, key_manager] = ports;
        let filled = |text: &str| {
            text.replace("{gateway}", &gateway.port().to_string())
                .replace("{key_manager}", &key_manager.port().to_string())
                .replace("{upstream}", &upstream.port().to_string())
        };
        for (name, text) in files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, filled(text)).unwrap();
        }
        let name = folder.join("conf/micro-gw.conf").display().to_string();
        let text = std::fs::read_to_string(&name).unwrap();
        let ours = format!("[admin]\nlisten = \"{admin}\"\n[log]\naccess = \"json\"\n");
        let source = Source {
            name,
            text: format!("{text}\n{ours}"),
            ..Source::default()
        };
        Self::launch(source, [gateway, admin, upstream], Some(key_manager))
    }

    fn launch(
        source: Source,
        [gateway, admin, upstream]: [SocketAddr; 3],
        fake: Option<SocketAddr>,
    ) -> Self {
        let Source { name, text, .. } = source;
        let (key_manager, echo, log) =
            (FakeKeyManager::default(), Echo::default(), Sink::default());
        let text = Arc::new(Mutex::new(text));
        let stop = Arc::new(Notify::new());
        let (tell, told) = mpsc::channel();
        let thread = {
            let (key_manager, echo, log) = (key_manager.clone(), echo.clone(), log.clone());
            let (stop, text) = (Arc::clone(&stop), Arc::clone(&text));
            std::thread::spawn(move || {
                let load: Loader = Box::new(move || {
                    let source = Source {
                        name: name.clone(),
                        text: text.lock().clone(),
                        ..Source::default()
                    };
                    load_source(source, &Environment::default())
                });
                let settings = load()
                    .unwrap_or_else(|problems| panic!("{problems}"))
                    .settings;
                let mut server =
                    Server::build(settings, Some(load), Inherited::default(), Box::new(log))
                        .unwrap();
                if let Some(address) = fake {
                    server
                        .add_http("key manager", key_manager, address)
                        .unwrap();
                }
                server.add_http("echo", echo, upstream).unwrap();
                let metrics = server.metrics();
                server.run(Until::Notified(stop), move || tell.send(metrics).unwrap());
            })
        };
        let metrics = told.recv_timeout(PATIENCE).expect("the gateway starts");
        Self {
            gateway,
            admin,
            key_manager,
            key_manager_address: fake,
            echo,
            metrics,
            text,
            log,
            stop,
            thread: Some(thread),
        }
    }

    /// `GET path` with a bearer token.
    pub fn get(&self, path: &str, token: &str) -> Answer {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer {token}\r\n\r\n"
        ))
    }

    /// `GET path` with these header lines.
    pub fn get_with(&self, path: &str, headers: &str) -> Answer {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: api.example\r\n{headers}\r\n"
        ))
    }

    /// Bytes as they are, on a connection of their own. Returns when the request has its line in the log, so
    /// that lines stand in the order of requests.
    pub fn send(&self, request: &str) -> Answer {
        let before = self.log.lines();
        let answer = Connection::open(self.gateway).send(request.as_bytes());
        wait_for("its line in the log", || self.log.lines() > before);
        answer
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.gateway)
    }

    /// The admin listener's answer.
    pub fn admin(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n");
        Connection::open(self.admin).send(request.as_bytes())
    }

    /// The sum of all series of a metric whose line begins with `start`: a name, or a name with its
    /// labels.
    pub fn metric(&self, start: &str) -> f64 {
        let text = String::from_utf8(self.metrics.encode().unwrap()).unwrap();
        let ends = |rest: &str| rest.starts_with(['{', ' ']) || start.ends_with('}');
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(start)?;
            ends(rest).then(|| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        });
        values.sum()
    }

    /// Changes the configuration's text and has it taken up; the admin listener's answer.
    pub fn reload(&self, change: impl FnOnce(&mut String)) -> Answer {
        change(&mut self.text.lock());
        let request = "POST /admin/reload HTTP/1.1\r\nHost: admin\r\n\
                       X-Portcullis-Admin: reload\r\nContent-Length: 0\r\n\r\n";
        Connection::open(self.admin).send(request.as_bytes())
    }

    /// The access log so far, at least `lines` long, and what the gateway wrote to it.
    pub fn log(&self, lines: usize) -> Vec<serde_json::Value> {
        wait_for("access-log lines", || self.log.lines() >= lines);
        self.log
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub fn raw_log(&self) -> String {
        self.log.text()
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the gateway ends well");
            }
        }
    }
}

/// One connection to a server.
pub struct Connection(TcpStream);

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub fn write(&mut self, bytes: &[u8]) {
        // The other side may have answered and closed already.
        let _ = self.0.write_all(bytes);
    }

    pub fn send(&mut self, request: &[u8]) -> Answer {
        self.write(request);
        let head_only = request.starts_with(b"HEAD ");
        self.read(head_only).expect("an answer")
    }

    /// The next answer; `None` when the connection ends instead.
    pub fn read(&mut self, head_only: bool) -> Option<Answer> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match self.0.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return None,
            }
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut lines = text.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer {
            status,
            headers,
            body: String::new(),
        };
        let length = match answer.header("content-length") {
            Some(length) if !head_only => length.parse().unwrap(),
            _ => 0,
        };
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).ok()?;
        answer.body = String::from_utf8_lossy(&body).into_owned();
        Some(answer)
    }

    /// Exactly so many bytes; `None` when the connection ends before.
    pub fn bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    /// A body in chunks, put together; `None` when it ends before its last chunk.
    pub fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                return Some(body);
            }
            body.extend(chunk);
        }
    }

    /// One chunk; the last one is empty.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut size = String::new();
        while !size.ends_with("\r\n") {
            size.push(char::from(self.bytes(1)?[0]));
        }
        let size = usize::from_str_radix(size.trim_end(), 16).ok()?;
        let chunk = self.bytes(size)?;
        self.bytes(2)?;
        Some(chunk)
    }

    /// Whether the other side has closed, or closes soon.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = [0; 1024];
        matches!(self.0.read(&mut rest), Ok(0) | Err(_))
    }
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let found = self.headers.iter().filter(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str()).collect()
    }

    /// A member of a problem body.
    pub fn problem(&self, member: &str) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        body[member].as_str().unwrap_or_default().to_owned()
    }

    /// Status and reason of a refusal.
    pub fn refusal(&self) -> (u16, String) {
        (self.status, self.problem("reason"))
    }

    /// What the echo upstream got.
    pub fn echoed(&self) -> Echoed {
        assert_eq!(self.status, 200, "{self:?}");
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        let headers = body["headers"].as_array().unwrap();
        Echoed {
            target: body["target"].as_str().unwrap().to_owned(),
            body_bytes: body["body_bytes"].as_u64().unwrap(),
            headers: headers
                .iter()
                .filter_map(|line| line.as_str()?.split_once(": "))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }
}

/// A request as the upstream saw it.
#[derive(Debug)]
pub struct Echoed {
    pub target: String,
    pub body_bytes: u64,
    headers: Vec<(String, String)>,
}

impl Echoed {
    /// All values of a header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

/// A server that speaks whatever a test makes it speak, for one connection after the other.
pub struct RawServer {
    pub address: SocketAddr,
}

impl RawServer {
    /// `serve` gets each connection, with its number from 0 on.
    pub fn start(serve: impl Fn(usize, TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                serve(number, stream);
            }
        });
        Self { address }
    }

    /// Answers each request on each connection with these bytes, and closes if asked to.
    pub fn answering(answer: &'static [u8], close: bool) -> Self {
        Self::start(move |_, mut stream| {
            std::thread::spawn(move || {
                while read_request(&mut stream) {
                    if stream.write_all(answer).is_err() || close {
                        return;
                    }
                }
            });
        })
    }
}

/// Reads one request with a `Content-Length` body; false when there is none.
pub fn read_request(stream: &mut TcpStream) -> bool {
    read_head(stream).is_some()
}

/// The same, for its head.
pub fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(head)
}

/// Tries until it is true.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A machine that is busy elsewhere makes no failure: the key manager has time, unless `keys` say otherwise.
fn key_manager_text(keys: &str) -> String {
    let patience = match keys.contains("timeout") {
        true => "",
        false => "timeout = \"20s\"",
    };
    format!(
        "[keyManager]\n{keys}\n{patience}\n[keymanager.security.basic]\n\
         username = \"gateway\"\npassword = \"demo-secret\"\n"
    )
}

pub fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A port that nobody listens on, given out once. It is below those that the system gives out by
/// itself, so that no other test's server or connection can take it before it is used.
pub fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() * 100;
        let port = u16::try_from(FIRST + number % COUNT).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    /// Whole ones.
    fn lines(&self) -> usize {
        self.0.lock().iter().filter(|byte| **byte == b'\n').count()
    }

    fn text(&self) -> String {
        let bytes = self.0.lock();
        // Only whole lines.
        let end = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        String::from_utf8(bytes[..end].to_vec()).unwrap()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
