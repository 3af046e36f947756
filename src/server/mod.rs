//! The only place where things are put together: settings → parts → Pingora's server, and its end.

mod entrances;
mod events;
mod judges;
mod reload;
mod shutdown;
mod site;
mod supply;
mod upgrade;

use std::{
    io::{IsTerminal, Write},
    net::SocketAddr,
    sync::Arc,
};

use anyhow::Context as _;
use async_trait::async_trait;
use entrances::Entrances;
use parking_lot::Mutex;
use pingora::{
    apps::{HttpServerOptions, ServerApp},
    protocols::http::v2::server::H2Options,
    proxy::{HttpProxy, http_proxy},
    server::{RunArgs, Server as PingoraServer, ShutdownWatch, configuration::ServerConf},
    services::background::{BackgroundService, GenBackgroundService, background_service},
};
pub use reload::Loader;
use reload::Reloads;
pub use shutdown::Until;
use shutdown::{Doors, Watch};
use site::Site;
pub use upgrade::Legacy;

use crate::{
    admin::{Admin, INTERVAL, Status},
    config::{LogFormat, ProcessSettings, Settings},
    gateway::{AccessLog, Format, Gateway, Recorder, Unparsed},
    lifecycle::{self, Lifecycle, Reloader},
    listener::{FrontDoor, Inherited},
    metrics::Metrics,
    telemetry::Tracer,
};

/// Connections to upstreams that may wait for the next request, for each worker thread.
const IDLE_UPSTREAM_CONNECTIONS: usize = 512;
/// Requests for one connection of a client, after which it is closed: memory that it gathered goes.
const REQUESTS_PER_CONNECTION: u32 = 10_000;

/// Why the gateway did not start.
#[derive(Debug)]
pub enum StartFailure {
    /// The key manager's name has no address.
    KeyManagerUnknown(String),
    /// Anything else: a port that is taken, an upstream without address, no certificates.
    Other(anyhow::Error),
}

impl From<anyhow::Error> for StartFailure {
    fn from(fault: anyhow::Error) -> Self {
        Self::Other(fault)
    }
}

/// A server that is put together and has not started.
pub struct Server {
    pingora: PingoraServer,
    threads: usize,
    lifecycle: Arc<Lifecycle>,
    metrics: Arc<Metrics>,
    recorder: Arc<Recorder>,
    /// For the log.
    listen: String,
    /// Of the gateway, and of the admin listener.
    doors: Doors,
    process: ProcessSettings,
    reloader: Reloader,
}

impl Server {
    /// Builds everything that `settings` ask for. Its sockets are bound, so that whoever connects
    /// waits for [`Server::run`]; `loader` reads the configuration again for a reload,
    /// `inherited` are sockets of the process before, access-log lines go to `log_sink`.
    ///
    /// # Errors
    /// [`StartFailure`]: a name without address, a port that is taken.
    pub fn build(
        settings: Settings,
        loader: Option<Loader>,
        mut inherited: Inherited,
        log_sink: Box<dyn Write + Send>,
    ) -> Result<Self, StartFailure> {
        let metrics = Arc::new(Metrics::new().context("metrics")?);
        let entrances = Entrances::open(&settings, &mut inherited, &metrics)?;
        let lifecycle = Arc::new(Lifecycle::new(Arc::clone(&metrics)));
        let recorder = Arc::new(build_recorder(&settings, log_sink, &metrics)?);
        let process = settings.process.clone();
        let (listen, admin_token) = (settings.listen.places(), settings.admin.token.clone());
        let (reloader, requests) = lifecycle::channel();
        let reloads = Reloads::new(loader, &settings, entrances.manners(), requests, &metrics);
        let site = Site::new(settings, Arc::clone(&metrics))?;
        let gateway = Gateway::new(
            Arc::clone(&site.current.snapshot),
            Arc::clone(&recorder),
            Arc::clone(&lifecycle),
            site.response_cache(),
        );
        let status = build_status(&site, &metrics, &lifecycle, &recorder);
        let admin_app = Admin::new(
            Arc::clone(&metrics),
            Arc::clone(&lifecycle),
            Arc::clone(&status),
            Arc::clone(&site.current.readiness),
            reloader.clone(),
            site.response_cache(),
            admin_token.as_ref(),
        );
        let mut pingora = PingoraServer::new_with_opt_and_conf(None, server_conf());
        let conf = Arc::clone(&pingora.configuration);
        pingora.bootstrap();
        let unparsed = Some(Arc::new(Unparsed::new(&metrics, &recorder)));
        let proxy = build_proxy(gateway, &conf);
        let door = FrontDoor::new("gateway", proxy, entrances.clients, unparsed)?;
        let gateway_door = door.control();
        pingora.add_service(door);
        let door = FrontDoor::new("admin", admin_app, vec![entrances.admin], None)?;
        let admin_door = door.control();
        pingora.add_service(door.with_threads(1));
        let upkeep = SiteService(Mutex::new(Some((site, reloads))));
        pingora.add_service(with_one_thread("site", upkeep));
        pingora.add_service(with_one_thread("status", Sampling(status)));
        if let Some(files) = entrances.files {
            pingora.add_service(with_one_thread("certificates", files));
        }
        Ok(Self {
            pingora,
            threads: conf.threads,
            lifecycle,
            metrics,
            recorder,
            listen,
            doors: Doors {
                gateway: gateway_door,
                admin: admin_door,
            },
            process,
            reloader,
        })
    }

    /// Adds a small HTTP service with a thread of its own.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn add_http<A>(&mut self, name: &str, app: A, address: SocketAddr) -> anyhow::Result<()>
    where
        A: ServerApp + Send + Sync + 'static,
    {
        let listener = entrances::internal(address, &mut Inherited::default(), &self.metrics)?;
        let door = FrontDoor::new(name, app, vec![listener], None)?;
        self.pingora.add_service(door.with_threads(1));
        Ok(())
    }

    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Runs until the end; `ready` is called once the gateway answers.
    pub fn run(self, until: Until, ready: impl FnOnce() + Send + Sync + 'static) {
        let watch = Watch::new(
            until,
            self.lifecycle,
            self.metrics,
            self.doors,
            self.process,
            self.reloader,
            ready,
        );
        tracing::info!(listen = %self.listen, threads = self.threads, "starting");
        self.pingora.run(RunArgs {
            shutdown_signal: Box::new(watch),
        });
        // Tasks that were cut off may hold the gateway for ever, so its log is not left to them.
        self.recorder.close();
        tracing::info!("stopped");
    }
}

/// Pingora's own loader is not used: it ignores unknown keys. Neither is its way of upgrading, which
/// knows only sockets of its own.
fn server_conf() -> ServerConf {
    ServerConf {
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        upstream_keepalive_pool_size: IDLE_UPSTREAM_CONNECTIONS,
        ..ServerConf::default()
    }
}

/// What an HTTP/2 client may take (RFC 9113 §6.5.2). The library ends floods of CONTINUATION by the
/// bound on header lists (RUSTSEC-2024-0332), and made-up mistakes by that on resets (CVE-2025-8671);
/// other floods are ended by the listener.
fn http2_options() -> H2Options {
    const STREAMS: u32 = 100;
    const HEADER_LIST: u32 = 64 * 1024;
    const STREAM_WINDOW: u32 = 256 * 1024;
    const CONNECTION_WINDOW: u32 = 1024 * 1024;
    const RESETS_BY_US: usize = 100;
    let mut options = H2Options::new();
    options
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_LIST)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_local_error_reset_streams(Some(RESETS_BY_US));
    options
}

fn build_proxy(gateway: Gateway, conf: &Arc<ServerConf>) -> HttpProxy<Gateway> {
    let mut proxy = http_proxy(conf, gateway);
    let mut options = HttpServerOptions::default();
    // So that the gateway itself refuses it, with its own words and a line in the log.
    options.allow_connect_method_proxying = true;
    options.keepalive_request_limit = Some(REQUESTS_PER_CONNECTION);
    proxy.server_options = Some(options);
    proxy.h2_options = Some(http2_options());
    proxy
}

fn with_one_thread<B>(name: &str, work: B) -> GenBackgroundService<B>
where
    B: BackgroundService + Send + Sync + 'static,
{
    let mut service = background_service(name, work);
    service.threads = Some(1);
    service
}

/// Takes the samples of the status page.
struct Sampling(Arc<Status>);

#[async_trait]
impl BackgroundService for Sampling {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut ticks = tokio::time::interval(INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.0.sample(),
                // A sender that is gone means the end as well.
                _ = shutdown.wait_for(|over| *over) => return,
            }
        }
    }
}

/// Runs what a configuration needs in the background, as a service of Pingora's.
struct SiteService(Mutex<Option<(Site, Reloads)>>);

#[async_trait]
impl BackgroundService for SiteService {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let Some((mut site, mut reloads)) = self.0.lock().take() else {
            return;
        };
        site.start();
        tokio::select! {
            // A sender that is gone means the end as well.
            _ = shutdown.wait_for(|over| *over) => {}
            () = reloads.serve(&mut site) => {}
        }
        site.stop().await;
    }
}

fn build_status(
    site: &Site,
    metrics: &Arc<Metrics>,
    lifecycle: &Arc<Lifecycle>,
    recorder: &Recorder,
) -> Arc<Status> {
    Arc::new(Status::new(
        Arc::clone(metrics),
        Arc::clone(lifecycle),
        Arc::clone(&site.current.snapshot),
        Arc::clone(&recorder.last_refused),
    ))
}

fn build_recorder(
    settings: &Settings,
    log_sink: Box<dyn Write + Send>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Recorder> {
    let tracer =
        Tracer::start(&settings.tracing, metrics).context("the export of traces needs a thread")?;
    Ok(Recorder {
        access_log: build_access_log(settings.log.access, log_sink, metrics)?.map(Arc::new),
        tracer: tracer.map(Arc::new),
        last_refused: Arc::default(),
        server_timing: settings.tracing.server_timing,
    })
}

fn build_access_log(
    format: LogFormat,
    sink: Box<dyn Write + Send>,
    metrics: &Metrics,
) -> anyhow::Result<Option<AccessLog>> {
    let format = match format {
        LogFormat::Off => return Ok(None),
        LogFormat::Json => Format::Json,
        LogFormat::Text => Format::Text,
        LogFormat::Combined => Format::Combined,
        LogFormat::Auto if std::io::stdout().is_terminal() => Format::Text,
        LogFormat::Auto => Format::Json,
    };
    let log = AccessLog::new(format, sink, metrics.access_log_dropped.clone())
        .context("the access log needs a thread")?;
    Ok(Some(log))
}
