//! What the load test puts around a gateway: a fake key manager, and an upstream that costs next to
//! nothing. One process for both, so that their CPU time is not the gateway's.
//!
//! Besides the two there is a control port: `GET /calls` tells how often the key manager was asked,
//! `POST /latency/MILLISECONDS` sets how long it takes over an answer, `POST /unknown/active` and
//! `POST /unknown/inactive` set what it says of all tokens.

use std::{io, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use async_trait::async_trait;
use http::{Response, StatusCode};
use pingora::{
    apps::http_app::ServeHttp,
    protocols::http::ServerSession,
    server::{RunArgs, Server, configuration::ServerConf},
    services::listening::Service,
};
use portcullis::demo::{FakeKeyManager, Reply};
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BODY: [u8; 1024] = [b'x'; 1024];
/// Scopes of every active token.
const SCOPES: &str = "orders.read orders.write";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [key_manager, upstream, control] = &arguments[..] else {
        anyhow::bail!("usage: peers KEY_MANAGER UPSTREAM CONTROL (addresses to listen on)");
    };
    start_upstream(upstream.parse()?)?;
    serve(key_manager, control);
    Ok(())
}

fn serve(key_manager: &str, control: &str) {
    let fake = FakeKeyManager::new(Duration::ZERO);
    fake.set_unknown(Reply::active("load-test", SCOPES));
    let conf = ServerConf {
        upgrade_sock: "/run/portcullis/peers.sock".to_owned(),
        pid_file: "/run/portcullis/peers.pid".to_owned(),
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = Service::new("key manager".to_owned(), fake.clone());
    service.add_tcp(key_manager);
    server.add_service(service);
    let mut service = Service::new("control".to_owned(), Control(fake));
    service.add_tcp(control);
    server.add_service(service);
    server.run(RunArgs::default());
}

struct Control(FakeKeyManager);

impl Control {
    fn answer(&self, method: &str, path: &str) -> Option<String> {
        match (method, path.split('/').collect::<Vec<_>>().as_slice()) {
            ("GET", ["", "calls"]) => return Some(self.0.introspections().to_string()),
            ("POST", ["", "latency", millis]) => self
                .0
                .set_latency(Duration::from_millis(millis.parse().ok()?)),
            ("POST", ["", "unknown", "active"]) => {
                self.0.set_unknown(Reply::active("load-test", SCOPES));
            }
            ("POST", ["", "unknown", "inactive"]) => self.0.set_unknown(Reply::inactive()),
            _ => return None,
        }
        Some("done".to_owned())
    }
}

#[async_trait]
impl ServeHttp for Control {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        let answer = self.answer(request.method.as_str(), request.uri.path());
        let mut response = Response::new(answer.clone().unwrap_or_default().into_bytes());
        if answer.is_none() {
            *response.status_mut() = StatusCode::NOT_FOUND;
        }
        let length = response.body().len().into();
        let headers = response.headers_mut();
        headers.insert(http::header::CONTENT_LENGTH, length);
        response
    }
}

/// Runs the upstream in a thread of its own, once its port is open.
fn start_upstream(address: SocketAddr) -> anyhow::Result<()> {
    let listener = std::net::TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {address}"))?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).expect("a listener of this process");
            let answer = answer();
            while let Ok((connection, _)) = listener.accept().await {
                let answer = answer.clone();
                tokio::spawn(async move {
                    // A caller who goes away is the normal end.
                    let _ = answer_all(&connection, &answer).await;
                });
            }
        });
    });
    Ok(())
}

fn answer() -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n",
        BODY.len()
    );
    [head.as_bytes(), &BODY].concat()
}

/// Answers each request without reading it, which is enough for requests without a body that come
/// one after the other, as a proxy sends them.
async fn answer_all(connection: &TcpStream, answer: &[u8]) -> io::Result<()> {
    const END: &[u8] = b"\r\n\r\n";
    let mut buffer = [0; 16 * 1024];
    let mut length = 0;
    connection.set_nodelay(true)?;
    loop {
        connection.readable().await?;
        match connection.try_read(&mut buffer[length..]) {
            Ok(0) => return Ok(()),
            Ok(received) => length += received,
            Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => continue,
            Err(fault) => return Err(fault),
        }
        if buffer[..length].ends_with(END) {
            length = 0;
            write_all(connection, answer).await?;
        }
    }
}

async fn write_all(connection: &TcpStream, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match connection.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {
                connection.writable().await?;
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}
