//! The first minute: gateway, fake key manager and echo upstream in one process on loopback.
//!
//! The fakes are those of the tests, so that the first run and the test bed cannot rot apart. Each
//! line of the banner is tried by `tests/demo.rs`.

mod echo;
mod key_manager;

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;

pub use echo::Echo;
pub use key_manager::{CLIENT_ID, CLIENT_SECRET, FakeKeyManager, Reply, Seen};

use crate::{
    config::{Environment, Problems, Settings, Source, load_source},
    domain::Reason,
    listener::Inherited,
    server::{Server, StartFailure, Until},
};

const TEMPLATE: &str = include_str!("demo.toml");
/// How long the fake key manager takes over an answer, so that the cache can be seen.
const LATENCY: Duration = Duration::from_millis(120);

/// The ports of the four listeners: the base, and the three after it.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub gateway: u16,
    pub key_manager: u16,
    pub upstream: u16,
    pub admin: u16,
}

impl Ports {
    /// # Errors
    /// There are no three ports after `base`.
    pub fn from_base(base: u16) -> anyhow::Result<Self> {
        let port = |offset: u16| {
            base.checked_add(offset)
                .filter(|_| base > 0)
                .with_context(|| format!("{base} leaves no room for four ports: choose another"))
        };
        Ok(Self {
            gateway: port(0)?,
            key_manager: port(1)?,
            upstream: port(2)?,
            admin: port(3)?,
        })
    }
}

/// Runs the demo until Ctrl-C.
///
/// # Errors
/// A port is taken.
pub fn run(ports: Ports) -> Result<(), StartFailure> {
    let mut server = Server::build(
        settings(ports)?,
        None,
        Inherited::default(),
        Box::new(std::io::stdout()),
    )?;
    let key_manager = FakeKeyManager::new(LATENCY);
    teach(&key_manager);
    let metrics = server.metrics();
    server.add_http(
        "fake key manager",
        key_manager.clone(),
        local(ports.key_manager),
    )?;
    server.add_http("echo", Echo::default(), local(ports.upstream))?;
    server.run(Until::SignalsAtOnce, move || print(&banner(ports)));
    let passed = metrics.decided(Reason::Active);
    let calls = key_manager.introspections();
    print(&format!(
        "\nRequests passed with a token: {passed}. Questions to the key manager: {calls}.\n"
    ));
    Ok(())
}

/// Writes the configuration that [`run`] uses, and a scrape configuration for Prometheus.
///
/// # Errors
/// The folder cannot be written to, or has such files already.
pub fn write(folder: &Path, ports: Ports) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let scrape = format!(
        "scrape_configs:\n  - job_name: portcullis\n    static_configs:\n      \
         - targets: [\"127.0.0.1:{}\"]\n",
        ports.admin
    );
    for (name, text) in [
        ("portcullis.toml", config_text(ports)),
        ("prometheus.yml", scrape),
    ] {
        let path = folder.join(name);
        write_new(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
        print(&format!("wrote {}\n", path.display()));
    }
    Ok(())
}

/// What is there already is the user's; the password in it is nobody else's business.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

/// The demo's configuration file.
pub fn config_text(ports: Ports) -> String {
    let mut text = TEMPLATE.to_owned();
    for (name, port) in [
        ("{gateway}", ports.gateway),
        ("{key_manager}", ports.key_manager),
        ("{upstream}", ports.upstream),
        ("{admin}", ports.admin),
    ] {
        text = text.replace(name, &port.to_string());
    }
    text
}

fn settings(ports: Ports) -> Result<Settings, Problems> {
    // Variables of the shell are meant for real gateways.
    let source = Source::memory(config_text(ports));
    load_source(source, &Environment::default()).map(|loaded| loaded.settings)
}

impl From<Problems> for StartFailure {
    fn from(problems: Problems) -> Self {
        Self::Other(problems.into())
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// One token for each branch.
fn teach(key_manager: &FakeKeyManager) {
    let html = "<html><body>Please sign in</body></html>";
    let slow = Reply::active("web-shop", "orders.read");
    for (token, reply) in [
        ("demo-read", Reply::active("web-shop", "orders.read")),
        (
            "demo-write",
            Reply::active("back-office", "orders.read orders.write"),
        ),
        ("demo-revoked", Reply::inactive()),
        (
            "demo-expired",
            Reply::Json(r#"{"active":true,"scope":"orders.read","exp":1600000000}"#.to_owned()),
        ),
        (
            "demo-down",
            Reply::status(503, "text/plain", "out of order"),
        ),
        (
            "demo-slow",
            Reply::Slow(Duration::from_secs(4), Box::new(slow)),
        ),
        ("demo-html", Reply::status(200, "text/html", html)),
    ] {
        key_manager.set(token, reply);
    }
}

fn banner(ports: Ports) -> String {
    let Ports {
        gateway,
        key_manager,
        upstream,
        admin,
    } = ports;
    let mut text = format!(
        "\nportcullis {} demo: everything below is fake, in this process, on loopback. Ctrl-C ends it.\n\n  \
         gateway      http://127.0.0.1:{gateway}   GET /public, GET /orders (scope orders.read), POST /orders (orders.write)\n  \
         key manager  http://127.0.0.1:{key_manager}   /oauth2/introspect, /oauth2/token, /oauth2/revoke; takes 120 ms over an answer\n  \
         upstream     http://127.0.0.1:{upstream}   answers with what it got\n  \
         admin        http://127.0.0.1:{admin}   /metrics, /healthz, /readyz\n\n\
         Try, in another terminal:\n\n",
        env!("CARGO_PKG_VERSION")
    );
    let orders = format!("curl -i http://127.0.0.1:{gateway}/orders/1");
    let with = |token: &str| format!("{orders} -H 'Authorization: Bearer {token}'");
    let lines = [
        (orders.clone(), "401: no token"),
        (
            format!("curl -i http://127.0.0.1:{gateway}/public/hello"),
            "200: this route needs none",
        ),
        (
            with("demo-read"),
            "200: after 120 ms; again: at once, from the cache",
        ),
        (
            format!("{} -X POST", with("demo-read")),
            "403: insufficient_scope",
        ),
        (with("demo-revoked"), "401: revoked at the key manager"),
        (
            with("demo-expired"),
            "401: said to be active, but its time is over",
        ),
        (
            with("demo-down"),
            "503: the key manager is down; never a 401",
        ),
        (with("demo-slow"), "503: it is too slow (2 s)"),
        (with("demo-html"), "502: it answers nonsense"),
        (
            format!("curl -i http://127.0.0.1:{key_manager}/oauth2/revoke -d token=demo-read"),
            "200: now demo-read passes for at most 10 s more, then 401",
        ),
    ];
    for (command, promise) in lines {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {command}\n      → {promise}");
    }
    text.push('\n');
    text
}

/// Where nobody reads any more, nothing is said.
fn print(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
