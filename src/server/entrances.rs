//! The listeners that the settings ask for.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::{server::ShutdownWatch, services::background::BackgroundService};

use crate::{
    config::Settings,
    listener::{Inherited, Listener, Manner, Manners, bind, follow_files},
    metrics::Metrics,
};

/// All listeners, open.
pub struct Entrances {
    pub clients: Vec<Listener>,
    pub admin: Listener,
    /// Where there are certificates.
    pub files: Option<Files>,
    manners: Manners,
}

impl Entrances {
    /// # Errors
    /// A port that is taken, certificates that cannot be used.
    pub fn open(
        settings: &Settings,
        inherited: &mut Inherited,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let listen = &settings.listen;
        let manners = Manners::new(listen, &metrics.downstream)?;
        let http = listen.http.iter().map(|address| (address, &manners.http));
        let https = listen.https.iter().map(|address| (address, &manners.https));
        let clients: anyhow::Result<_> = http
            .chain(https)
            .map(|(address, manner)| open(*address, Arc::clone(manner), inherited, metrics))
            .collect();
        Ok(Self {
            clients: clients?,
            admin: internal(settings.admin.listen, inherited, metrics)?,
            files: (!listen.https.is_empty()).then(|| Files {
                manners: manners.clone(),
                metrics: Arc::clone(metrics),
            }),
            manners,
        })
    }

    /// How clients are taken; a reload changes it.
    pub fn manners(&self) -> Manners {
        self.manners.clone()
    }
}

/// A listener of our own, for HTTP/1 without TLS.
///
/// # Errors
/// The port is taken.
pub fn internal(
    address: SocketAddr,
    inherited: &mut Inherited,
    metrics: &Metrics,
) -> anyhow::Result<Listener> {
    let manner = Arc::new(ArcSwap::from_pointee(Manner::internal()));
    open(address, manner, inherited, metrics)
}

/// A listener at `address`, which is its name in metrics too.
fn open(
    address: SocketAddr,
    manner: Arc<ArcSwap<Manner>>,
    inherited: &mut Inherited,
    metrics: &Metrics,
) -> anyhow::Result<Listener> {
    let socket = bind(address, inherited).with_context(|| format!("cannot listen on {address}"))?;
    Ok(Listener {
        socket,
        manner,
        metrics: metrics.downstream.listener(&address.to_string()),
    })
}

/// Follows the files of certificates, as a service of Pingora's.
pub struct Files {
    manners: Manners,
    metrics: Arc<Metrics>,
}

#[async_trait]
impl BackgroundService for Files {
    async fn start(&self, shutdown: ShutdownWatch) {
        let (manners, metrics) = (self.manners.clone(), Arc::clone(&self.metrics));
        follow_files(manners, metrics, shutdown).await;
    }
}
