//! Takes the messages of one topic from a broker, for as long as the gateway runs: connect, make a queue
//! of our own, bind it, then listen; and again from the beginning when the broker goes away.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::{FutureExt, StreamExt};
use lapin::{
    AsyncTcpStream, Channel, Connection, ConnectionProperties,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::FieldTable,
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo},
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{sync::watch, time::timeout};

use super::{
    EventKind, Malformed, Notifications, Revoked,
    transport::{Transport, Transported},
};
use crate::{
    auth::client_config,
    config::BrokerSettings,
    domain::BrokerServer,
    feed::Revoker,
    metrics::{BrokerMetrics, Metrics},
};

/// Where API Manager publishes.
const EXCHANGE: &str = "amq.topic";
/// For everything until the queue is bound.
const PATIENCE: Duration = Duration::from_secs(10);
/// Both sides say so often that they are there.
const HEARTBEAT: u16 = 10;
/// Largest frame, in bytes; longer messages come in several.
const FRAME: u32 = 32 * 1024;
/// Messages that the broker may send ahead of our word that they were taken.
const PREFETCH: u16 = 1_000;
/// So many messages are answered with one word.
const BATCH: u32 = 100;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Where messages are counted that are for others; before it there are the mistakes.
const OTHER_TENANT: usize = Malformed::ALL.len();

/// Who takes the messages.
pub enum Listener {
    Notifications(Notifications),
    Revocations(Revoker),
}

/// See the module.
pub struct Consumer {
    settings: BrokerSettings,
    /// Made when a server with TLS is connected to for the first time.
    tls: OnceLock<Arc<ClientConfig>>,
    listener: Listener,
    metrics: Arc<BrokerMetrics>,
    /// A mistake of each kind is told once.
    told: [AtomicBool; Malformed::ALL.len()],
}

impl Consumer {
    pub fn new(settings: BrokerSettings, listener: Listener, metrics: &Metrics) -> Self {
        let mut skipped = Malformed::ALL.map(Malformed::word).to_vec();
        skipped.push("other_tenant");
        let metrics = metrics.broker(listener.word(), &listener.types(), &skipped);
        Self {
            settings,
            tls: OnceLock::new(),
            listener,
            metrics,
            told: Default::default(),
        }
    }

    /// Listens until `stop` says true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            // A sender that is gone means the end as well.
            _ = stop.wait_for(|over| *over) => {}
            () = self.listen() => {}
        }
        self.metrics.connected.set(0);
    }

    /// Goes through the servers, again and again. The first failure of a row is told, and its end.
    async fn listen(&self) {
        let topic = self.listener.word();
        let mut is_told = false;
        let mut pause = FIRST_PAUSE;
        loop {
            for server in &self.settings.broker.servers {
                let (host, port) = (server.host.as_str(), server.port);
                let fault = match timeout(PATIENCE, self.subscribe(server)).await {
                    Ok(Ok(subscribed)) => {
                        tracing::info!(topic, host, port, "listening for events");
                        (is_told, pause) = (false, FIRST_PAUSE);
                        self.metrics.connections.inc();
                        self.metrics.connected.set(1);
                        self.listener.begin();
                        let fault = self.take_all(subscribed).await;
                        self.metrics.connected.set(0);
                        fault
                    }
                    Ok(Err(fault)) => {
                        self.metrics.failures.inc();
                        fault
                    }
                    Err(_) => {
                        self.metrics.failures.inc();
                        "no answer in time".to_owned()
                    }
                };
                if !is_told {
                    tracing::warn!(topic, host, port, fault, "no events come from this broker");
                    is_told = true;
                }
            }
            // Gateways that lost their broker together must not come back together.
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Connects, makes a queue and binds it.
    async fn subscribe(&self, server: &BrokerServer) -> Result<Subscribed, String> {
        let connection = self.connect(server).await.map_err(|fault| words(&fault))?;
        let result = self.bind(&connection).await;
        let (channel, deliveries) = result.map_err(|fault| words(&fault))?;
        Ok(Subscribed {
            deliveries,
            _channel: channel,
            _connection: connection,
        })
    }

    async fn connect(&self, server: &BrokerServer) -> lapin::Result<Connection> {
        let account = self.settings.broker.account.as_ref();
        // AMQP's own account, for those who did not name one.
        let (username, password) = account.map_or(("guest", "guest"), |account| {
            (account.name.as_str(), account.password.expose())
        });
        let uri = AMQPUri {
            // TLS is the matter of the transport.
            scheme: AMQPScheme::AMQP,
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo {
                    username: username.to_owned(),
                    password: password.to_owned(),
                },
                host: server.host.clone(),
                port: server.port,
            },
            vhost: self.settings.broker.virtual_host.clone(),
            query: AMQPQueryString {
                heartbeat: Some(HEARTBEAT),
                frame_max: Some(FRAME),
                ..AMQPQueryString::default()
            },
        };
        let tls = self
            .tls(server)
            .map_err(|fault| io::Error::other(fault.to_string()))?;
        let open = async |uri: AMQPUri, runtime: Transported| {
            let address = (uri.authority.host, uri.authority.port);
            let address = runtime.to_socket_addrs(address);
            Ok(AsyncTcpStream::connect(&runtime, address).await?)
        };
        let properties = ConnectionProperties::default().with_connection_name("portcullis".into());
        Connection::connector(uri, Transport::here(tls), open, properties).await
    }

    /// How TLS is spoken with the server, if it is.
    fn tls(
        &self,
        server: &BrokerServer,
    ) -> anyhow::Result<Option<(Arc<ClientConfig>, ServerName<'static>)>> {
        if !server.tls {
            return Ok(None);
        }
        let name = ServerName::try_from(server.host.clone())?;
        let config = match self.tls.get() {
            Some(config) => Arc::clone(config),
            None => {
                let config = Arc::new(client_config(&self.settings.tls, true)?);
                Arc::clone(self.tls.get_or_init(|| config))
            }
        };
        Ok(Some((config, name)))
    }

    async fn bind(&self, connection: &Connection) -> lapin::Result<(Channel, lapin::Consumer)> {
        let channel = connection.create_channel().await?;
        let queue = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel
            .queue_declare("".into(), queue, FieldTable::default())
            .await?;
        let name = queue.name().clone();
        channel
            .queue_bind(
                name.clone(),
                EXCHANGE.into(),
                self.settings.topic.as_str().into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        let deliveries = channel
            .basic_consume(
                name,
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok((channel, deliveries))
    }

    /// Takes messages until there are no more; returns why.
    async fn take_all(&self, mut subscribed: Subscribed) -> String {
        loop {
            match self.take_batch(&mut subscribed.deliveries).await {
                // Others wait for this thread too.
                Ok(true) => tokio::task::yield_now().await,
                Ok(false) => return "the broker has taken our queue away".to_owned(),
                Err(fault) => return words(&fault),
            }
        }
    }

    /// Waits for a message, and takes it with those that have come already; says whether there may be
    /// more.
    async fn take_batch(&self, deliveries: &mut lapin::Consumer) -> lapin::Result<bool> {
        let Some(first) = deliveries.next().await else {
            return Ok(false);
        };
        let mut last: Delivery = first?;
        self.take(&last.data);
        let mut is_open = true;
        for _ in 1..BATCH {
            match deliveries.next().now_or_never() {
                Some(Some(next)) => {
                    last = next?;
                    self.take(&last.data);
                }
                Some(None) => {
                    is_open = false;
                    break;
                }
                None => break,
            }
        }
        last.ack(BasicAckOptions { multiple: true }).await?;
        Ok(is_open)
    }

    fn take(&self, body: &[u8]) {
        match self.listener.take(body) {
            Ok(Some(kind)) => self.metrics.event(kind, unix_time().as_secs_f64()),
            Ok(None) => self.metrics.skip(OTHER_TENANT),
            Err(mistake) => {
                self.metrics.skip(mistake as usize);
                if !self.told[mistake as usize].swap(true, Ordering::Relaxed) {
                    let (topic, mistake) = (self.listener.word(), mistake.word());
                    let bytes = body.len();
                    tracing::warn!(
                        topic,
                        mistake,
                        bytes,
                        "an event was skipped; others with the same mistake are only counted"
                    );
                }
            }
        }
    }
}

/// Ends with the connection.
struct Subscribed {
    deliveries: lapin::Consumer,
    _channel: Channel,
    _connection: Connection,
}

impl Listener {
    /// For labels and messages.
    fn word(&self) -> &'static str {
        match self {
            Self::Notifications(_) => "notifications",
            Self::Revocations(_) => "revocations",
        }
    }

    /// The types of events that may come.
    fn types(&self) -> Vec<&'static str> {
        match self {
            Self::Notifications(_) => EventKind::ALL.iter().map(|kind| kind.word()).collect(),
            Self::Revocations(_) => vec!["token_revocation"],
        }
    }

    /// The queue is bound: what happens from now on will come, and what happened before may not.
    fn begin(&self) {
        match self {
            Self::Notifications(notifications) => notifications.begin(),
            Self::Revocations(revoker) => revoker.reload(),
        }
    }

    /// Takes a message; returns the position of its type. `None`: it is not for us.
    fn take(&self, body: &[u8]) -> Result<Option<usize>, Malformed> {
        match self {
            Self::Notifications(notifications) => {
                let kind = notifications.take(body)?;
                Ok(kind.map(|kind| kind as usize))
            }
            Self::Revocations(revoker) => {
                revoker.revoke(&Revoked::parse(body)?);
                Ok(Some(0))
            }
        }
    }
}

pub fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Without what the broker may repeat of us.
fn words(fault: &lapin::Error) -> String {
    match fault.kind() {
        lapin::ErrorKind::IOError(fault) => fault.to_string(),
        lapin::ErrorKind::ProtocolError(fault) => {
            format!(
                "the broker says {}: {}",
                fault.get_id(),
                fault.get_message()
            )
        }
        lapin::ErrorKind::MissingHeartbeatError => "the broker went silent".to_owned(),
        lapin::ErrorKind::InvalidConnectionState(_) | lapin::ErrorKind::InvalidChannelState(..) => {
            "the connection broke off".to_owned()
        }
        _ => "the broker does not speak AMQP 0-9-1 with us".to_owned(),
    }
}
