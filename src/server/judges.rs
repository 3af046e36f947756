//! Who judges tokens in a configuration: key managers, issuers of JWTs, or both. What stays the same
//! from one configuration to the next keeps its connections, its own token and its keys.

use std::{net::ToSocketAddrs, sync::Arc};

use tokio::sync::watch;

use super::StartFailure;
use crate::{
    auth::{
        Introspect, Issuer, IssuerUpkeep, Issuers, KeyManager, KeyManagerReadiness, Readiness,
        TokenCache, Upkeep, Verifier,
    },
    config::{JwtIssuerSettings, KeyManagerSettings, Settings, TokenCacheSettings},
    domain::AskedAbout,
    metrics::Metrics,
};

/// Those of one configuration.
pub struct Judges {
    asking: Vec<Asking>,
    issuers: Vec<Issuing>,
}

/// A key manager in use.
#[derive(Clone)]
struct Asking {
    settings: KeyManagerSettings,
    client: Arc<KeyManager>,
    readiness: KeyManagerReadiness,
    /// Says when the upkeep is to end; its end too is a word.
    stop: Arc<watch::Sender<bool>>,
}

/// An issuer of JWTs in use.
#[derive(Clone)]
struct Issuing {
    issuer: Arc<Issuer>,
    /// As for a key manager.
    stop: Arc<watch::Sender<bool>>,
}

/// Work in the background, and who may end it.
pub enum Work {
    KeyManager(Box<Upkeep>, watch::Receiver<bool>),
    Issuer(Box<IssuerUpkeep>, watch::Receiver<bool>),
}

impl Work {
    pub async fn run(self) {
        match self {
            Self::KeyManager(upkeep, stop) => upkeep.run(stop).await,
            Self::Issuer(upkeep, stop) => upkeep.run(stop).await,
        }
    }
}

impl Judges {
    /// Those of `settings`, with the work that new ones need. `before` are those in use.
    ///
    /// # Errors
    /// [`StartFailure`]: the key manager's name has no address, or TLS cannot be set up.
    pub fn new(
        settings: &Settings,
        before: Option<&Self>,
        metrics: &Metrics,
    ) -> Result<(Self, Vec<Work>), StartFailure> {
        let mut work = Vec::new();
        let asking = settings
            .key_managers
            .iter()
            .map(|key_manager| asking(key_manager, before, metrics, &mut work))
            .collect::<Result<_, _>>()?;
        let issuers = settings
            .jwt_issuers
            .iter()
            .map(|issuer| issuing(issuer, before, metrics, &mut work))
            .collect();
        Ok((Self { asking, issuers }, work))
    }

    /// `None` when there is nobody who could judge a token. `seed` makes the digests of tokens.
    pub fn verifier(
        &self,
        lives: &TokenCacheSettings,
        seed: &[u8; 32],
        cache: &Arc<TokenCache>,
        metrics: &Metrics,
    ) -> Option<Arc<Verifier>> {
        if self.asking.is_empty() && self.issuers.is_empty() {
            return None;
        }
        let key_managers = self.asking.iter().map(|asking| {
            let client = Arc::clone(&asking.client) as Arc<dyn Introspect>;
            (&asking.settings, client)
        });
        let key_managers = key_managers.collect();
        let issuers = Issuers::new(self.issuers());
        let cache = Arc::clone(cache);
        let verifier = Verifier::new(key_managers, issuers, lives, seed, cache, metrics);
        Some(Arc::new(verifier))
    }

    pub fn readiness(&self) -> Readiness {
        let asking = self.asking.iter();
        let key_managers = asking.map(|asking| asking.readiness.clone());
        Readiness::new(key_managers.collect(), self.issuers())
    }

    /// What issuers vouched for that are no more, or are something else now, does not count any more,
    /// although it is in the cache.
    pub fn retire_all_but(&self, next: &Self) {
        for old in &self.issuers {
            let stays = |new: &Issuing| Arc::ptr_eq(&old.issuer, &new.issuer);
            if !next.issuers.iter().any(stays) {
                old.issuer.retire();
            }
        }
    }

    /// Ends the work in the background.
    pub fn stop(&self) {
        let asking = self.asking.iter().map(|asking| &asking.stop);
        let issuing = self.issuers.iter().map(|issuing| &issuing.stop);
        for stop in asking.chain(issuing) {
            // Nobody listens where there is nothing to do.
            let _ = stop.send(true);
        }
    }

    fn issuers(&self) -> Vec<Arc<Issuer>> {
        let issuers = self.issuers.iter();
        issuers.map(|issuing| Arc::clone(&issuing.issuer)).collect()
    }
}

/// The key manager in use where it stays the same, else a new one with its work.
fn asking(
    settings: &KeyManagerSettings,
    before: Option<&Judges>,
    metrics: &Metrics,
    work: &mut Vec<Work>,
) -> Result<Asking, StartFailure> {
    let mut known = before.into_iter().flat_map(|before| &before.asking);
    if let Some(known) = known.find(|known| known.settings == *settings) {
        return Ok(known.clone());
    }
    if let Some(host) = unknown_host(settings) {
        // Where there are several, one is not to be everybody's outage.
        if settings.about == AskedAbout::Others {
            return Err(StartFailure::KeyManagerUnknown(host));
        }
        tracing::warn!(issuer = %settings.name, %host, "the key manager's name has no address");
    }
    let (client, upkeep) = KeyManager::new(settings, metrics)?;
    let (stop, stopped) = watch::channel(false);
    if !upkeep.is_idle() {
        work.push(Work::KeyManager(Box::new(upkeep), stopped));
    }
    Ok(Asking {
        settings: settings.clone(),
        readiness: client.readiness(),
        client: Arc::new(client),
        stop: Arc::new(stop),
    })
}

/// As for the key manager.
fn issuing(
    settings: &JwtIssuerSettings,
    before: Option<&Judges>,
    metrics: &Metrics,
    work: &mut Vec<Work>,
) -> Issuing {
    let mut known = before.into_iter().flat_map(|before| &before.issuers);
    if let Some(known) = known.find(|known| known.issuer.settings() == settings) {
        return known.clone();
    }
    let (issuer, upkeep) = Issuer::new(settings, metrics);
    let (stop, stopped) = watch::channel(false);
    if let Some(upkeep) = upkeep {
        work.push(Work::Issuer(Box::new(upkeep), stopped));
    }
    Issuing {
        issuer,
        stop: Arc::new(stop),
    }
}

/// The name of a key manager that has no address, which is a typo more often than an outage.
fn unknown_host(key_manager: &KeyManagerSettings) -> Option<String> {
    let url = key_manager.endpoint.url();
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let addresses = (host, 0).to_socket_addrs();
    let is_known = addresses.is_ok_and(|mut addresses| addresses.next().is_some());
    (!is_known).then(|| host.to_owned())
}
