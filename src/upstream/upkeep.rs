//! In the background, for the pools that are in force: names looked up again, addresses checked,
//! ejections that end shown. What is done for a pool ends with it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pingora::connectors::http::Connector;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{Lookup, Pool, check::check, system_lookup};
use crate::config::HealthCheckSettings;

/// How often metrics are brought up to date.
const SHOWN_EVERY: Duration = Duration::from_secs(1);

/// The service. It runs until the registry goes or it is dropped.
pub struct Upkeep {
    pools: watch::Receiver<Vec<Arc<Pool>>>,
    lookup: Lookup,
}

impl Upkeep {
    pub(super) fn new(pools: watch::Receiver<Vec<Arc<Pool>>>) -> Self {
        Self {
            pools,
            lookup: system_lookup(),
        }
    }

    pub async fn run(mut self) {
        // Made when it is needed: it reads the machine's certificate authorities.
        let mut connector = None;
        loop {
            let pools = self.pools.borrow_and_update().clone();
            // Ends all of its tasks when it goes.
            let mut tasks = JoinSet::new();
            for pool in &pools {
                self.look_up_again(pool, &mut tasks);
                if let Some(settings) = &pool.settings.health_check {
                    let connector = connector.get_or_insert_with(|| Arc::new(Connector::new(None)));
                    let checks = checks(Arc::clone(pool), settings.clone(), Arc::clone(connector));
                    tasks.spawn(checks);
                }
            }
            tasks.spawn(show(pools));
            if self.pools.changed().await.is_err() {
                return;
            }
        }
    }

    fn look_up_again(&self, pool: &Arc<Pool>, tasks: &mut JoinSet<()>) {
        let Some(pause) = pool.settings.resolve_interval else {
            return;
        };
        for (server, settings) in pool.settings.servers.iter().enumerate() {
            if settings.is_name() {
                let (pool, lookup) = (Arc::clone(pool), Arc::clone(&self.lookup));
                tasks.spawn(look_up(pool, server, pause, lookup));
            }
        }
    }
}

async fn look_up(pool: Arc<Pool>, server: usize, pause: Duration, lookup: Lookup) {
    loop {
        sleep(pause).await;
        let settings = &pool.settings.servers[server];
        let (host, port) = (settings.host.clone(), settings.port);
        let lookup = Arc::clone(&lookup);
        let found = tokio::task::spawn_blocking(move || lookup(&host, port)).await;
        let found = found.unwrap_or_default();
        if found.is_empty() {
            tracing::warn!(
                upstream = pool.name(),
                server = %settings,
                "a name has no address any more: those of before stay in use",
            );
        }
        if let Err(fault) = pool.update(server, found) {
            tracing::error!(upstream = pool.name(), %fault, "new addresses cannot be used");
        }
    }
}

async fn checks(pool: Arc<Pool>, settings: HealthCheckSettings, connector: Arc<Connector>) {
    let settings = Arc::new(settings);
    let mut ticks = interval(settings.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut round = JoinSet::new();
        for member in &pool.members().list {
            let (pool, member) = (Arc::clone(&pool), Arc::clone(member));
            let (settings, connector) = (Arc::clone(&settings), Arc::clone(&connector));
            round.spawn(async move {
                let result = check(&connector, &member, &settings).await;
                pool.checked(&member, result, Instant::now());
            });
        }
        while round.join_next().await.is_some() {}
    }
}

async fn show(pools: Vec<Arc<Pool>>) {
    let mut ticks = interval(SHOWN_EVERY);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        for pool in &pools {
            pool.show(now);
        }
    }
}
