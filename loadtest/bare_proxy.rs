//! The yardstick: a Pingora proxy without a gateway in it.
//!
//! Same crates, profile, allocator, time limits and connection pool as the gateway, so that what is
//! left between the two is the gateway's own work. With `forward` it also does what any gateway does
//! to a request on its way (host, `X-Forwarded-*`, no credentials); with `plain` it touches nothing.

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use http::{HeaderName, HeaderValue, header};
use pingora::{
    Error,
    apps::HttpServerOptions,
    http::RequestHeader,
    proxy::{ProxyHttp, Session, http_proxy_service_with_name},
    server::{RunArgs, Server, configuration::ServerConf},
    upstreams::peer::HttpPeer,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, listen, upstream] = &arguments[..] else {
        anyhow::bail!("usage: bare_proxy forward|plain LISTEN UPSTREAM");
    };
    let proxy = BareProxy::new(mode == "forward", upstream.parse()?)?;
    serve(proxy, listen);
    Ok(())
}

fn serve(proxy: BareProxy, listen: &str) {
    let mut server = Server::new_with_opt_and_conf(None, conf());
    let conf = std::sync::Arc::clone(&server.configuration);
    server.bootstrap();
    let mut service = http_proxy_service_with_name(&conf, proxy, "bare");
    if let Some(logic) = service.app_logic_mut() {
        let mut options = HttpServerOptions::default();
        options.keepalive_request_limit = Some(10_000);
        logic.server_options = Some(options);
    }
    service.add_tcp(listen);
    server.add_service(service);
    server.run(RunArgs::default());
}

/// As `src/server.rs` has it.
fn conf() -> ServerConf {
    ServerConf {
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        upgrade_sock: "/run/portcullis/bare.sock".to_owned(),
        pid_file: "/run/portcullis/bare.pid".to_owned(),
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        upstream_keepalive_pool_size: 512,
        ..ServerConf::default()
    }
}

struct BareProxy {
    forward: bool,
    peer: HttpPeer,
    host: HeaderValue,
}

impl BareProxy {
    /// Time limits as in `src/upstream/mod.rs`.
    fn new(forward: bool, upstream: SocketAddr) -> anyhow::Result<Self> {
        let mut peer = HttpPeer::new(upstream, false, upstream.ip().to_string());
        peer.options.connection_timeout = Some(Duration::from_secs(5));
        peer.options.total_connection_timeout = Some(Duration::from_secs(10));
        peer.options.read_timeout = Some(Duration::from_secs(60));
        peer.options.write_timeout = Some(Duration::from_secs(60));
        peer.options.idle_timeout = Some(Duration::from_secs(4));
        let host = HeaderValue::from_str(&upstream.to_string())?;
        Ok(Self {
            forward,
            peer,
            host,
        })
    }
}

#[async_trait]
impl ProxyHttp for BareProxy {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn early_request_filter(
        &self,
        session: &mut Session,
        (): &mut (),
    ) -> pingora::Result<()> {
        session.set_read_timeout(Some(CLIENT_TIMEOUT));
        session.set_write_timeout(Some(CLIENT_TIMEOUT));
        session.set_total_drain_timeout(Some(CLIENT_TIMEOUT));
        Ok(())
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(self.peer.clone()))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        (): &mut (),
    ) -> pingora::Result<()> {
        if !self.forward {
            return Ok(());
        }
        request.remove_header(&header::AUTHORIZATION);
        if let Some(address) = client_address(session) {
            request.insert_header(X_FORWARDED_FOR, address)?;
        }
        if let Some(host) = session.req_header().headers.get(header::HOST) {
            request.insert_header(X_FORWARDED_HOST, host.clone())?;
        }
        request.insert_header(X_FORWARDED_PROTO, HeaderValue::from_static("http"))?;
        request.insert_header(header::HOST, self.host.clone())
    }

    fn suppress_error_log(&self, _: &Session, (): &(), _: &Error) -> bool {
        true
    }
}

fn client_address(session: &Session) -> Option<HeaderValue> {
    let address = session.client_addr()?.as_inet()?.ip();
    HeaderValue::from_str(&address.to_string()).ok()
}
