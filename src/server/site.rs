//! From settings to a snapshot, with what lives on from one configuration to the next: the token
//! cache, and the connections to a key manager that stays the same.

use std::{net::ToSocketAddrs, sync::Arc, time::Duration};

use anyhow::Context as _;
use arc_swap::{ArcSwap, ArcSwapOption};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::{sync::watch, task::JoinSet};

use super::{
    StartFailure,
    events::{self, Events, Prepared},
};
use crate::{
    auth::{KeyManager, Readiness, Revocations, TokenCache, Upkeep, Verifier},
    config::{KeyManagerSettings, Settings, TokenCacheSettings, UpstreamSettings},
    gateway::{Parts, Snapshot},
    limits::{Limiters, TierCounts},
    metrics::Metrics,
    response_cache::ResponseCache,
    upstream::{self, Lookup, Pool},
};

/// What is in force, for those who follow it.
#[derive(Clone)]
pub struct Current {
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// `None`: no key manager is needed.
    pub readiness: Arc<ArcSwapOption<Readiness>>,
}

/// The configuration in force, with what it stands on.
pub struct Site {
    pub current: Current,
    base: Arc<Base>,
    ground: Arc<Ground>,
    /// Of the first key manager, until there is a runtime for it.
    waiting: Option<Work>,
    /// Of upstreams, until there is a runtime for it.
    upstream_upkeep: Option<upstream::Upkeep>,
    /// That upkeep; it ends with this.
    following: JoinSet<()>,
    /// The upkeep of this key manager and, for a moment, of those before.
    tasks: JoinSet<()>,
    events: Events,
    /// Those of the first configuration, until the gateway runs.
    waiting_events: Option<Prepared>,
}

/// What no configuration changes.
struct Base {
    metrics: Arc<Metrics>,
    upstreams: Arc<upstream::Registry>,
    lookup: Lookup,
    /// Makes the digests of tokens, by which the cache is keyed.
    seed: [u8; 32],
    response_cache: ResponseCache,
    tier_counts: Arc<TierCounts>,
    revocations: Arc<Revocations>,
}

/// What a snapshot stands on, and the next one may too.
struct Ground {
    lives: TokenCacheSettings,
    cache: Arc<TokenCache>,
    limiters: Limiters,
    asking: Option<Asking>,
}

/// A key manager in use.
#[derive(Clone)]
struct Asking {
    settings: KeyManagerSettings,
    client: Arc<KeyManager>,
    readiness: Arc<Readiness>,
    /// Says when the upkeep is to end; its end too is a word.
    stop: Arc<watch::Sender<bool>>,
}

/// Work in the background, and who may end it.
struct Work(Upkeep, watch::Receiver<bool>);

/// A configuration that can be taken up.
pub struct Next {
    snapshot: Snapshot,
    ground: Ground,
    /// Bound of the response cache.
    response_cache_bytes: usize,
    /// See [`Settings::fingerprint`].
    fingerprint: String,
    /// Of a key manager that is new.
    upkeep: Option<Work>,
    events: Option<Prepared>,
}

impl Site {
    /// The first configuration.
    ///
    /// # Errors
    /// [`StartFailure`]: a name without address, no certificates.
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> Result<Self, StartFailure> {
        let mut seed = [0; 32];
        SystemRandom::new()
            .fill(&mut seed)
            .map_err(|_| anyhow::anyhow!("this system gives no random numbers"))?;
        let response_cache = ResponseCache::new(
            settings.response_cache.max_bytes,
            metrics.response_cache.clone(),
        );
        let (upstreams, upstream_upkeep) = upstream::Registry::new();
        let revocations = Revocations::new(&seed, Arc::clone(&metrics.revocation));
        let base = Base {
            revocations: Arc::new(revocations),
            metrics,
            upstreams,
            lookup: upstream::system_lookup(),
            seed,
            response_cache,
            tier_counts: Arc::default(),
        };
        let next = base.prepare(settings, None)?;
        base.follow(&next.snapshot);
        base.metrics.reload.in_force(&next.fingerprint);
        Ok(Self {
            current: Current {
                snapshot: Arc::new(ArcSwap::from_pointee(next.snapshot)),
                readiness: Arc::new(ArcSwapOption::new(next.ground.readiness())),
            },
            events: Events::new(Arc::clone(&base.revocations)),
            waiting_events: next.events,
            base: Arc::new(base),
            ground: Arc::new(next.ground),
            waiting: next.upkeep,
            upstream_upkeep: Some(upstream_upkeep),
            following: JoinSet::new(),
            tasks: JoinSet::new(),
        })
    }

    pub fn response_cache(&self) -> ResponseCache {
        self.base.response_cache
    }

    /// Starts the work in the background of the first configuration. Needs a runtime.
    pub fn start(&mut self) {
        let work = self.waiting.take();
        self.spawn(work);
        if let Some(upkeep) = self.upstream_upkeep.take() {
            self.following.spawn(upkeep.run());
        }
        let events = self.waiting_events.take();
        self.events.follow(events);
    }

    /// Builds a configuration beside the one in force.
    ///
    /// # Errors
    /// [`StartFailure`]; what is in force stays as it is.
    pub async fn prepare(&self, settings: Settings) -> Result<Next, StartFailure> {
        let (base, ground) = (Arc::clone(&self.base), Arc::clone(&self.ground));
        // Looks names up, so it may block.
        let build = move || base.prepare(settings, Some(&ground));
        tokio::task::spawn_blocking(build)
            .await
            .unwrap_or_else(|_| Err(anyhow::anyhow!("building the configuration failed").into()))
    }

    /// Puts a configuration into force. A new key manager must be ready to be asked before that.
    ///
    /// # Errors
    /// It is not ready in time; what is in force stays as it is.
    pub async fn take_up(&mut self, mut next: Next) -> Result<(), NotReady> {
        let work = next.upkeep.take();
        // One that is in use already may be out of reach: that must not keep routes from changing.
        let is_new = work.is_some();
        self.spawn(work);
        let readiness = next.ground.readiness();
        if let Some(readiness) = readiness.as_ref().filter(|_| is_new) {
            wait_until_ready(readiness).await?;
        }
        self.base.follow(&next.snapshot);
        self.current.snapshot.store(Arc::new(next.snapshot));
        self.base.metrics.reload.in_force(&next.fingerprint);
        self.base.response_cache.resize(next.response_cache_bytes);
        self.current.readiness.store(readiness);
        self.events.follow(next.events);
        self.ground = Arc::new(next.ground);
        while self.tasks.try_join_next().is_some() {}
        Ok(())
    }

    /// Ends the work in the background, and waits for its end.
    pub async fn stop(mut self) {
        if let Some(asking) = &self.ground.asking {
            // Nobody listens where there is nothing to do.
            let _ = asking.stop.send(true);
        }
        while self.tasks.join_next().await.is_some() {}
    }

    fn spawn(&mut self, work: Option<Work>) {
        if let Some(Work(upkeep, stop)) = work {
            self.tasks.spawn(upkeep.run(stop));
        }
    }
}

/// A new key manager's endpoints are not found, or it gives us no token.
pub struct NotReady;

impl std::fmt::Display for NotReady {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "the new key manager is not ready to be asked: its endpoints, or a token of our own, \
             were not to be had in time",
        )
    }
}

async fn wait_until_ready(readiness: &Readiness) -> Result<(), NotReady> {
    const PATIENCE: Duration = Duration::from_secs(10);
    const PAUSE: Duration = Duration::from_millis(20);
    let ready = async {
        while !readiness.is_ready() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready)
        .await
        .map_err(|_| NotReady)
}

impl Base {
    fn prepare(&self, settings: Settings, ground: Option<&Ground>) -> Result<Next, StartFailure> {
        let (asking, upkeep) = match &settings.key_manager {
            Some(key_manager) => self.asking(key_manager, ground)?,
            None => (None, None),
        };
        let lives = settings.token_cache.clone();
        let cache = match ground.filter(|ground| ground.lives == lives) {
            Some(ground) => Arc::clone(&ground.cache),
            None => Arc::new(TokenCache::new(&lives, Arc::clone(&self.metrics))),
        };
        let verifier = asking.as_ref().map(|asking| {
            Arc::new(Verifier::new(
                &asking.settings,
                &lives,
                &self.seed,
                Arc::clone(&asking.client) as Arc<_>,
                Arc::clone(&cache),
                &self.metrics,
            ))
        });
        let fingerprint = settings.fingerprint();
        let response_cache_bytes = settings.response_cache.max_bytes;
        let before = ground.map(|ground| &ground.limiters);
        let limiters = Limiters::new(&settings.limits.rates, before, &self.metrics);
        let events = events::prepare(settings.revocation, &self.revocations, &self.metrics)?;
        let parts = Parts {
            upstreams: self.upstreams(settings.upstreams)?,
            routes: settings.routes,
            verifier,
            errors: settings.errors,
            revocations: Arc::clone(&self.revocations),
            limiters: limiters.clone(),
            tier_counts: Arc::clone(&self.tier_counts),
            limits: settings.limits,
        };
        Ok(Next {
            snapshot: Snapshot::new(parts, &self.metrics),
            response_cache_bytes,
            fingerprint,
            ground: Ground {
                lives,
                cache,
                limiters,
                asking,
            },
            upkeep,
            events,
        })
    }

    fn upstreams(&self, settings: Vec<UpstreamSettings>) -> anyhow::Result<Vec<Arc<Pool>>> {
        let pool = |settings: UpstreamSettings| {
            let metrics = self.metrics.upstream(&settings.name);
            let name = settings.name.clone();
            Pool::new(settings, &self.upstreams, metrics, &self.lookup)
                .map(Arc::new)
                .with_context(|| format!("the upstream {name} cannot be used"))
        };
        settings.into_iter().map(pool).collect()
    }

    /// From now on these upstreams are looked after.
    fn follow(&self, snapshot: &Snapshot) {
        self.revocations.follow(snapshot.verifier());
        self.upstreams.publish(snapshot.upstreams().to_vec());
    }

    /// The key manager in use where it stays the same, else a new one with its work.
    fn asking(
        &self,
        settings: &KeyManagerSettings,
        ground: Option<&Ground>,
    ) -> Result<(Option<Asking>, Option<Work>), StartFailure> {
        let known = ground.and_then(|ground| ground.asking.as_ref());
        if let Some(known) = known.filter(|known| known.settings == *settings) {
            return Ok((Some(known.clone()), None));
        }
        check_name(settings)?;
        let (client, upkeep) = KeyManager::new(settings, &self.metrics)?;
        let (stop, stopped) = watch::channel(false);
        let asking = Asking {
            settings: settings.clone(),
            readiness: Arc::new(client.readiness()),
            client: Arc::new(client),
            stop: Arc::new(stop),
        };
        let work = (!upkeep.is_idle()).then_some(Work(upkeep, stopped));
        Ok((Some(asking), work))
    }
}

impl Ground {
    fn readiness(&self) -> Option<Arc<Readiness>> {
        Some(Arc::clone(&self.asking.as_ref()?.readiness))
    }
}

/// A key manager whose name nobody knows is a typo more often than an outage.
fn check_name(key_manager: &KeyManagerSettings) -> Result<(), StartFailure> {
    let url = key_manager.endpoint.url();
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let address = (host, 0)
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next());
    match address {
        Some(_) => Ok(()),
        None => Err(StartFailure::KeyManagerUnknown(host.to_owned())),
    }
}
