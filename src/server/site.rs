//! From settings to a snapshot, with what lives on from one configuration to the next: the token
//! cache, and those who judge tokens and stay the same.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::task::JoinSet;

use super::{
    StartFailure,
    events::{self, Events, Prepared},
    judges::{Judges, Work},
    supply::{Feeding, Supply},
};
use crate::{
    auth::{Readiness, Revocations, TokenCache},
    config::{ResponseCacheSettings, Settings, TokenCacheSettings, UpstreamSettings},
    gateway::{Parts, Snapshot},
    limits::{Limiters, TierCounts},
    metrics::Metrics,
    response_cache::{Bounds, ResponseCache},
    subscription::Names,
    upstream::{self, Lookup, Pool},
};

/// What is in force, for those who follow it.
#[derive(Clone)]
pub struct Current {
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub readiness: Arc<ArcSwap<Readiness>>,
}

/// The configuration in force, with what it stands on.
pub struct Site {
    pub current: Current,
    base: Arc<Base>,
    ground: Arc<Ground>,
    /// Of the first configuration, until there is a runtime for it.
    waiting: Vec<Work>,
    /// Of the first source of subscriptions, likewise.
    waiting_feed: Option<Feeding>,
    /// Of upstreams, until there is a runtime for it.
    upstream_upkeep: Option<upstream::Upkeep>,
    /// That upkeep; it ends with this.
    following: JoinSet<()>,
    /// The upkeep of this key manager and these issuers and, for a moment, of those before.
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
    /// Of tiers and key managers, in all sources of subscriptions.
    names: Arc<Names>,
    revocations: Arc<Revocations>,
}

/// What a snapshot stands on, and the next one may too.
struct Ground {
    lives: TokenCacheSettings,
    cache: Arc<TokenCache>,
    limiters: Limiters,
    judges: Judges,
    supply: Option<Supply>,
}

/// A configuration that can be taken up.
pub struct Next {
    snapshot: Snapshot,
    ground: Ground,
    /// Of the response cache.
    bounds: Bounds,
    /// See [`Settings::fingerprint`].
    fingerprint: String,
    /// Of a key manager and issuers that are new.
    upkeep: Vec<Work>,
    events: Option<Prepared>,
    /// Of a source of subscriptions that is new.
    feed: Option<Feeding>,
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
        let response_cache = response_cache(&settings.response_cache, &metrics)?;
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
            names: Arc::default(),
        };
        let next = base.prepare(settings, None)?;
        base.follow(&next.snapshot);
        base.metrics.reload.in_force(&next.fingerprint);
        Supply::show(next.ground.supply.as_ref(), None, &base.metrics);
        Ok(Self {
            current: Current {
                snapshot: Arc::new(ArcSwap::from_pointee(next.snapshot)),
                readiness: Arc::new(ArcSwap::from_pointee(next.ground.judges.readiness())),
            },
            events: Events::new(Arc::clone(&base.revocations)),
            waiting_events: next.events,
            base: Arc::new(base),
            ground: Arc::new(next.ground),
            waiting: next.upkeep,
            waiting_feed: next.feed,
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
        let work = std::mem::take(&mut self.waiting);
        let feed = self.waiting_feed.take();
        self.spawn(work, feed);
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

    /// Puts a configuration into force. A new key manager must be ready to be asked before that, and
    /// the keys of a new issuer must have come.
    ///
    /// # Errors
    /// It is not ready in time; what is in force stays as it is.
    pub async fn take_up(&mut self, mut next: Next) -> Result<(), NotReady> {
        let (work, feed) = (std::mem::take(&mut next.upkeep), next.feed.take());
        // One that is in use already may be out of reach: that must not keep routes from changing.
        let (is_new, is_fed_anew) = (!work.is_empty(), feed.is_some());
        self.spawn(work, feed);
        let readiness = next.ground.judges.readiness();
        if is_new {
            until(|| readiness.is_ready(), NotReady::Judges).await?;
        }
        if let Some(supply) = next.ground.supply.as_ref().filter(|_| is_fed_anew) {
            until(|| supply.is_ready(), NotReady::Subscriptions).await?;
        }
        self.base.follow(&next.snapshot);
        self.current.snapshot.store(Arc::new(next.snapshot));
        self.base.metrics.reload.in_force(&next.fingerprint);
        self.base.response_cache.resize(next.bounds);
        self.current.readiness.store(Arc::new(readiness));
        self.events.follow(next.events);
        let before = std::mem::replace(&mut self.ground, Arc::new(next.ground));
        let (next, last) = (&self.ground.supply, &before.supply);
        Supply::show(next.as_ref(), last.as_ref(), &self.base.metrics);
        before.judges.retire_all_but(&self.ground.judges);
        while self.tasks.try_join_next().is_some() {}
        Ok(())
    }

    /// Ends the work in the background, and waits for its end.
    pub async fn stop(mut self) {
        self.ground.judges.stop();
        if let Some(supply) = &self.ground.supply {
            supply.stop();
        }
        while self.tasks.join_next().await.is_some() {}
    }

    fn spawn(&mut self, work: Vec<Work>, feed: Option<Feeding>) {
        for work in work {
            self.tasks.spawn(work.run());
        }
        if let (Some(feed), Some(runtime)) = (feed, self.events.handle()) {
            self.tasks.spawn_on(feed.run(), &runtime);
        }
    }
}

fn bounds(settings: &ResponseCacheSettings) -> Bounds {
    Bounds {
        memory: settings.max_bytes,
        disk: settings.disk_max_bytes,
    }
}

fn response_cache(
    settings: &ResponseCacheSettings,
    metrics: &Metrics,
) -> anyhow::Result<ResponseCache> {
    let disk = settings.disk_path.as_deref();
    ResponseCache::new(bounds(settings), disk, metrics.response_cache.clone()).with_context(|| {
        let path = disk.unwrap_or(Path::new("")).display();
        format!("`disk_path` {path} of [response_cache] cannot be used")
    })
}

/// What a new configuration stands on cannot be used yet.
pub enum NotReady {
    /// A new key manager's endpoints are not found, or it gives us no token; or a new issuer's keys
    /// are not to be had.
    Judges,
    /// They cannot be read.
    Subscriptions,
}

impl std::fmt::Display for NotReady {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Judges => {
                "the new key manager is not ready to be asked, or the keys of a new issuer are not \
                 there: its endpoints, a token of our own, or the keys were not to be had in time"
            }
            Self::Subscriptions => "the new list of subscriptions was not to be had in time",
        })
    }
}

async fn until(is_ready: impl Fn() -> bool, fault: NotReady) -> Result<(), NotReady> {
    /// Less than the time after which the admin listener gives a client up.
    const PATIENCE: Duration = Duration::from_secs(8);
    const PAUSE: Duration = Duration::from_millis(20);
    let ready = async {
        while !is_ready() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready)
        .await
        .map_err(|_| fault)
}

impl Base {
    fn prepare(&self, settings: Settings, ground: Option<&Ground>) -> Result<Next, StartFailure> {
        let before = ground.map(|ground| &ground.judges);
        let (judges, upkeep) = Judges::new(&settings, before, &self.metrics)?;
        let lives = settings.token_cache.clone();
        let cache = match ground.filter(|ground| ground.lives == lives) {
            Some(ground) => Arc::clone(&ground.cache),
            None => Arc::new(TokenCache::new(&lives, Arc::clone(&self.metrics))),
        };
        let verifier = judges.verifier(&lives, &self.seed, &cache, &self.metrics);
        let known = ground.and_then(|ground| ground.supply.as_ref());
        let source = settings.subscriptions.source.as_ref();
        let (supply, feed) = Supply::new(source, known, &self.names, &self.metrics);
        let fingerprint = settings.fingerprint();
        let bounds = bounds(&settings.response_cache);
        let before = ground.map(|ground| &ground.limiters);
        let limiters = Limiters::new(&settings.limits.rates, before, &self.metrics);
        let events = events::prepare(settings.revocation, &self.revocations, &self.metrics);
        let parts = Parts {
            upstreams: self.upstreams(settings.upstreams)?,
            routes: settings.routes,
            verifier,
            subscriptions: supply
                .as_ref()
                .map(|supply| Arc::clone(&supply.subscriptions)),
            errors: settings.errors,
            backend_jwt: settings.backend_jwt,
            revocations: Arc::clone(&self.revocations),
            limiters: limiters.clone(),
            tier_counts: Arc::clone(&self.tier_counts),
            limits: settings.limits,
        };
        Ok(Next {
            snapshot: Snapshot::new(parts, &self.metrics),
            bounds,
            fingerprint,
            ground: Ground {
                lives,
                cache,
                limiters,
                judges,
                supply,
            },
            upkeep,
            events,
            feed,
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
}
