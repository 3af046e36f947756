//! The yardstick: a Pingora proxy without a gateway in it.
//!
//! Same crates, profile, allocator, time limits and connection pool as the gateway, so that what is
//! left between the two is the gateway's own work. With `forward` it also does what any gateway does
//! to a request on its way (host, `X-Forwarded-*`, no credentials); with `plain` it touches nothing.
//! With `features` it does what a gateway does on a plain route: forwards, takes turns among upstreams,
//! begins a trace, and counts and times each request; given a certificate, it also serves TLS.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use http::{HeaderName, HeaderValue, header};
use pingora::{
    Error,
    apps::HttpServerOptions,
    http::RequestHeader,
    listeners::tls::TlsSettings,
    proxy::{ProxyHttp, Session, http_proxy_service_with_name},
    server::{RunArgs, Server, configuration::ServerConf},
    upstreams::peer::HttpPeer,
};
use prometheus::{HistogramVec, IntCounterVec, histogram_opts, opts};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [mode, listen, upstream] => serve(BareProxy::new(mode, &[upstream])?, listen, None),
        [mode, listen, one, other, tls @ ..] => {
            let tls = match tls {
                [] => None,
                [listen, certificate, key] => {
                    Some((listen, TlsSettings::intermediate(certificate, key)?))
                }
                _ => anyhow::bail!(USAGE),
            };
            serve(BareProxy::new(mode, &[one, other])?, listen, tls);
        }
        _ => anyhow::bail!(USAGE),
    }
    Ok(())
}

const USAGE: &str = "usage: bare_proxy plain|forward LISTEN UPSTREAM
       bare_proxy features LISTEN UPSTREAM UPSTREAM [LISTEN_TLS CERTIFICATE KEY]";

fn serve(proxy: BareProxy, listen: &str, tls: Option<(&String, TlsSettings)>) {
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
    if let Some((address, mut settings)) = tls {
        settings.enable_h2();
        service.add_tls_with_settings(address, None, settings);
    }
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
    peers: Vec<Peer>,
    turn: AtomicUsize,
    features: Option<Counts>,
}

struct Peer {
    peer: HttpPeer,
    host: HeaderValue,
}

/// What a plain program counts: requests by method and status, and their time.
struct Counts {
    requests: IntCounterVec,
    seconds: HistogramVec,
}

struct Exchange {
    begun: Instant,
    peer: usize,
}

impl BareProxy {
    fn new(mode: &str, upstreams: &[&String]) -> anyhow::Result<Self> {
        let peers = upstreams
            .iter()
            .map(|upstream| Peer::new(upstream.parse()?));
        Ok(Self {
            forward: mode != "plain",
            peers: peers.collect::<anyhow::Result<_>>()?,
            turn: AtomicUsize::new(0),
            features: (mode == "features").then(Counts::new).transpose()?,
        })
    }
}

impl Peer {
    /// Time limits as in `src/upstream/mod.rs`.
    fn new(upstream: SocketAddr) -> anyhow::Result<Self> {
        let mut peer = HttpPeer::new(upstream, false, upstream.ip().to_string());
        peer.options.connection_timeout = Some(Duration::from_secs(5));
        peer.options.total_connection_timeout = Some(Duration::from_secs(10));
        peer.options.read_timeout = Some(Duration::from_secs(60));
        peer.options.write_timeout = Some(Duration::from_secs(60));
        peer.options.idle_timeout = Some(Duration::from_secs(4));
        let host = HeaderValue::from_str(&upstream.to_string())?;
        Ok(Self { peer, host })
    }
}

impl Counts {
    fn new() -> anyhow::Result<Self> {
        let requests = opts!("requests_total", "Requests");
        let seconds = histogram_opts!("request_seconds", "Time of requests");
        Ok(Self {
            requests: IntCounterVec::new(requests, &["method", "status"])?,
            seconds: HistogramVec::new(seconds, &["method"])?,
        })
    }

    fn count(&self, session: &Session, begun: Instant) {
        let method = session.req_header().method.as_str();
        let status = session
            .response_written()
            .map_or("000", |answer| answer.status.as_str());
        self.requests.with_label_values(&[method, status]).inc();
        self.seconds
            .with_label_values(&[method])
            .observe(begun.elapsed().as_secs_f64());
    }
}

#[async_trait]
impl ProxyHttp for BareProxy {
    type CTX = Exchange;

    fn new_ctx(&self) -> Exchange {
        Exchange {
            begun: Instant::now(),
            peer: 0,
        }
    }

    async fn early_request_filter(
        &self,
        session: &mut Session,
        _: &mut Exchange,
    ) -> pingora::Result<()> {
        session.set_read_timeout(Some(CLIENT_TIMEOUT));
        session.set_write_timeout(Some(CLIENT_TIMEOUT));
        session.set_total_drain_timeout(Some(CLIENT_TIMEOUT));
        Ok(())
    }

    async fn upstream_peer(
        &self,
        _: &mut Session,
        exchange: &mut Exchange,
    ) -> pingora::Result<Box<HttpPeer>> {
        exchange.peer = self.turn.fetch_add(1, Relaxed) % self.peers.len();
        Ok(Box::new(self.peers[exchange.peer].peer.clone()))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        exchange: &mut Exchange,
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
        if self.features.is_some() {
            request.insert_header(TRACEPARENT, new_trace()?)?;
        }
        request.insert_header(header::HOST, self.peers[exchange.peer].host.clone())
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, exchange: &mut Exchange) {
        if let Some(counts) = &self.features {
            counts.count(session, exchange.begun);
        }
    }

    fn suppress_error_log(&self, _: &Session, _: &Exchange, _: &Error) -> bool {
        true
    }
}

/// As `src/telemetry/trace_context.rs` makes them.
fn new_trace() -> pingora::Result<HeaderValue> {
    let (trace, span) = (fastrand::u128(1..), fastrand::u64(1..));
    HeaderValue::from_str(&format!("00-{trace:032x}-{span:016x}-00"))
        .map_err(|_| Error::new_str("a trace that is no header"))
}

fn client_address(session: &Session) -> Option<HeaderValue> {
    let address = session.client_addr()?.as_inet()?.ip();
    HeaderValue::from_str(&address.to_string()).ok()
}
