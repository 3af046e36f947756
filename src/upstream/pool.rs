//! An upstream: its addresses, the choice between them, the rules of trying again.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use anyhow::ensure;
use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::{
    Flight, Lookup, Registry, Retrying,
    balance::{self, Wheel},
    peer::{Member, PeerMaker},
};
use crate::{
    config::{Balance, HashKey, UpstreamSettings},
    metrics::UpstreamMetrics,
};

/// Tries of what has been sent before that are allowed at once however little is in flight.
const FREE_RETRIES: u32 = 3;

/// One upstream, ready for use.
pub struct Pool {
    pub settings: UpstreamSettings,
    pub metrics: Arc<UpstreamMetrics>,
    registry: Arc<Registry>,
    maker: PeerMaker,
    /// The addresses of each server, as they were looked up last.
    resolved: Mutex<Vec<Vec<SocketAddr>>>,
    members: ArcSwap<Members>,
    turn: AtomicUsize,
    pub(super) retrying: AtomicU32,
    /// Held while the share of those that are out is counted.
    ejecting: Mutex<()>,
}

/// All addresses of all servers.
pub struct Members {
    pub list: Box<[Arc<Member>]>,
    wheel: Wheel,
}

/// Why a request cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Every address is out.
    NoUpstream,
    /// Those that are not have as many requests as they may have.
    Overloaded,
}

/// How an address failed a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There was no connection to send it on.
    NotSent,
    /// An old connection turned out to be closed.
    Stale,
    /// The connection broke off before the answer.
    Broken,
}

impl Pool {
    /// Looks all names up.
    ///
    /// # Errors
    /// A name has no address, or the TLS settings cannot be used.
    pub fn new(
        settings: UpstreamSettings,
        registry: &Arc<Registry>,
        metrics: Arc<UpstreamMetrics>,
        lookup: &Lookup,
    ) -> anyhow::Result<Self> {
        let mut resolved = Vec::new();
        for server in &settings.servers {
            let addresses = lookup(&server.host, server.port);
            ensure!(
                !addresses.is_empty(),
                "the upstream {server} has no address: check its name"
            );
            resolved.push(sorted(addresses));
        }
        let maker = PeerMaker::new(&settings)?;
        let members = Members::new(&settings, &resolved, &maker, registry, &metrics)?;
        Ok(Self {
            maker,
            resolved: Mutex::new(resolved),
            members: ArcSwap::from_pointee(members),
            // Gateways that start together begin at different places.
            turn: AtomicUsize::new(fastrand::usize(..1 << 16)),
            retrying: AtomicU32::new(0),
            ejecting: Mutex::new(()),
            registry: Arc::clone(registry),
            metrics,
            settings,
        })
    }

    /// The `upstream` label.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// What requests must have in common to go to the same address, where that matters.
    pub fn hash_key(&self) -> Option<&HashKey> {
        match &self.settings.balance {
            Balance::ConsistentHash(key) => Some(key),
            Balance::RoundRobin | Balance::LeastConnections => None,
        }
    }

    pub fn members(&self) -> Arc<Members> {
        self.members.load_full()
    }

    /// The address for a request. `key`: hash of what [`Pool::hash_key`] names; `tried`: those that
    /// failed it already, which are taken only where there is no other.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn choose(&self, key: u64, tried: &[SocketAddr], now: Instant) -> Result<Flight, Refused> {
        let members = self.members.load();
        let now = self.registry.clock(now);
        let usable = |member: &Member| self.is_usable(member, now);
        let fresh = |member: &Member| !tried.contains(&member.address) && usable(member);
        let mut chosen = self.pick(&members, key, fresh);
        if chosen.is_none() && !tried.is_empty() {
            chosen = self.pick(&members, key, usable);
        }
        match chosen {
            Some(position) => Ok(Flight::begin(&members.list[position])),
            None => Err(self.refused(&members, now)),
        }
    }

    fn pick(&self, members: &Members, key: u64, may: impl Fn(&Member) -> bool) -> Option<usize> {
        let list = &members.list;
        let may = |position: usize| may(&list[position]);
        let turn = || self.turn.fetch_add(1, Relaxed);
        match &self.settings.balance {
            Balance::RoundRobin => members.wheel.pick(turn(), may),
            Balance::LeastConnections => {
                let load = |one: usize| (list[one].state.in_flight(), list[one].weight);
                balance::least(list.len(), turn(), load, may)
            }
            Balance::ConsistentHash(_) => {
                let member = |one: usize| (list[one].hash, list[one].weight);
                balance::by_key(key, list.len(), member, may)
            }
        }
    }

    fn is_usable(&self, member: &Member, now: u64) -> bool {
        member.state.is_available(now) && member.state.has_room(&self.settings.limits)
    }

    fn refused(&self, members: &Members, now: u64) -> Refused {
        let any = |member: &Arc<Member>| member.state.is_available(now);
        match members.list.iter().any(any) {
            true => {
                self.metrics.overloaded.inc();
                Refused::Overloaded
            }
            false => Refused::NoUpstream,
        }
    }

    /// Notes that an address failed a request, and leaves it out if that was one too many and
    /// enough others are left.
    pub fn failed(&self, flight: &Flight, now: Instant) {
        let settings = &self.settings.ejection;
        let member = flight.member();
        if !member.state.failed(settings) {
            return;
        }
        let now = self.registry.clock(now);
        let _one_at_a_time = self.ejecting.lock();
        let members = self.members.load();
        let out = |member: &&Arc<Member>| !member.state.is_available(now);
        let out = members.list.iter().filter(out).count() + 1;
        let allowed = members.list.len() * settings.max_percent as usize;
        if member.state.is_ejected(now) || out * 100 > allowed {
            return;
        }
        let time = member.state.eject(settings, now);
        self.metrics.ejections.inc();
        tracing::warn!(
            upstream = self.name(),
            address = %member.address,
            seconds = time.as_secs(),
            "an address is left out for a while: requests to it fail",
        );
    }

    /// Whether a failed request may be tried again: within the budget if it was sent, and somewhere
    /// else unless nothing speaks against the address.
    pub fn retry(
        self: &Arc<Self>,
        failure: Failure,
        tried: &[SocketAddr],
        now: Instant,
    ) -> Option<Retrying> {
        let within_budget = || self.retrying.load(Relaxed) < self.budget();
        let allowed = match failure {
            Failure::NotSent => self.has_other(tried, now),
            Failure::Stale => within_budget(),
            Failure::Broken => within_budget() && self.has_other(tried, now),
        };
        if !allowed {
            return None;
        }
        self.metrics.retries.inc();
        // What was never sent burdens nobody twice.
        let counted = failure != Failure::NotSent;
        Some(Retrying::begin(counted.then(|| Arc::clone(self))))
    }

    fn has_other(&self, tried: &[SocketAddr], now: Instant) -> bool {
        let now = self.registry.clock(now);
        let members = self.members.load();
        let mut others = members
            .list
            .iter()
            .filter(|member| !tried.contains(&member.address));
        others.any(|member| self.is_usable(member, now))
    }

    fn budget(&self) -> u32 {
        let members = self.members.load();
        let in_flight = members.list.iter().map(|one| one.state.in_flight());
        let in_flight: u64 = in_flight.map(u64::from).sum();
        let share = in_flight * u64::from(self.settings.retries.budget_percent) / 100;
        match self.settings.retries.budget_percent {
            0 => 0,
            _ => u32::try_from(share).unwrap_or(u32::MAX).max(FREE_RETRIES),
        }
    }

    /// A server has these addresses now. None means that its name could not be looked up: those of
    /// before stay.
    pub fn update(&self, server: usize, addresses: Vec<SocketAddr>) -> anyhow::Result<()> {
        let addresses = sorted(addresses);
        let mut resolved = self.resolved.lock();
        let Some(known) = resolved.get_mut(server) else {
            return Ok(());
        };
        if addresses.is_empty() || *known == addresses {
            return Ok(());
        }
        tracing::info!(
            upstream = self.name(),
            server = %self.settings.servers[server],
            addresses = addresses.len(),
            "a name has other addresses now",
        );
        *known = addresses;
        let members = Members::new(
            &self.settings,
            &resolved,
            &self.maker,
            &self.registry,
            &self.metrics,
        )?;
        self.members.store(Arc::new(members));
        Ok(())
    }

    /// Brings the metrics up to date with ejections that have ended.
    pub fn show(&self, now: Instant) {
        let now = self.registry.clock(now);
        for member in &self.members.load().list {
            member.state.show(now);
        }
    }

    /// Notes what a check of an address found.
    pub fn checked(&self, member: &Member, result: Result<(), String>, now: Instant) {
        let Some(settings) = &self.settings.health_check else {
            return;
        };
        let now = self.registry.clock(now);
        let asks = settings.path.is_some();
        if !member.state.checked(result.is_ok(), asks, settings, now) {
            return;
        }
        let (upstream, address) = (self.name(), member.address);
        match result {
            Ok(()) => tracing::info!(upstream, %address, "an address is back: its checks pass"),
            Err(fault) => {
                tracing::warn!(upstream, %address, fault, "an address is out: its checks fail");
            }
        }
    }
}

impl Members {
    fn new(
        settings: &UpstreamSettings,
        resolved: &[Vec<SocketAddr>],
        maker: &PeerMaker,
        registry: &Registry,
        metrics: &UpstreamMetrics,
    ) -> anyhow::Result<Self> {
        let mut list = Vec::new();
        for (server, addresses) in settings.servers.iter().zip(resolved) {
            for address in addresses {
                let state = registry.state(&settings.name, *address, metrics);
                if settings.health_check.is_none() {
                    state.unchecked();
                }
                list.push(Arc::new(maker.make(server, *address, state)?));
            }
        }
        let weights: Vec<u32> = list.iter().map(|member| member.weight).collect();
        Ok(Self {
            list: list.into(),
            wheel: Wheel::new(&weights),
        })
    }
}

/// In one order, so that the same addresses are known again.
fn sorted(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        config::{BreakerSettings, EjectionSettings, RetrySettings, ServerSettings},
        metrics::Metrics,
    };

    fn settings() -> UpstreamSettings {
        let server = |host: &str, weight| ServerSettings {
            host: host.to_owned(),
            port: 80,
            tls: false,
            weight,
        };
        let servers = vec![server("10.0.0.1", 1), server("orders.internal", 2)];
        UpstreamSettings::new("orders".to_owned(), servers)
    }

    /// A name has two addresses.
    fn lookup() -> Lookup {
        Arc::new(|host, port| match host.parse() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => addresses(&["10.0.0.3:80", "10.0.0.2:80"]),
        })
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn pool_in(registry: &Arc<Registry>, settings: UpstreamSettings) -> Arc<Pool> {
        let metrics = Metrics::new().unwrap().upstream(&settings.name);
        Arc::new(Pool::new(settings, registry, metrics, &lookup()).unwrap())
    }

    fn pool(settings: UpstreamSettings) -> Arc<Pool> {
        pool_in(&Registry::new().0, settings)
    }

    fn chosen(pool: &Pool, times: usize) -> Vec<String> {
        let now = Instant::now();
        let mut chosen: Vec<String> = (0..times)
            .map(|_| pool.choose(0, &[], now).unwrap().address().ip().to_string())
            .collect();
        chosen.sort_unstable();
        chosen
    }

    #[test]
    fn all_addresses_of_a_name_get_requests_by_its_weight() {
        let all = chosen(&pool(settings()), 10);
        for (address, times) in [("10.0.0.1", 2), ("10.0.0.2", 4), ("10.0.0.3", 4)] {
            assert_eq!(
                all.iter().filter(|one| *one == address).count(),
                times,
                "{all:?}"
            );
        }
    }

    #[test]
    fn a_name_that_moves_takes_the_requests_along() {
        let pool = pool(settings());
        pool.update(1, addresses(&["10.0.0.9:80", "10.0.0.9:80"]))
            .unwrap();
        assert_eq!(chosen(&pool, 3), ["10.0.0.1", "10.0.0.9", "10.0.0.9"]);
        pool.update(1, Vec::new()).unwrap();
        assert_eq!(chosen(&pool, 3), ["10.0.0.1", "10.0.0.9", "10.0.0.9"]);
        pool.update(7, addresses(&["10.0.0.4:80"])).unwrap();
        assert_eq!(chosen(&pool, 3), ["10.0.0.1", "10.0.0.9", "10.0.0.9"]);
    }

    #[test]
    fn a_name_without_address_is_a_mistake() {
        let (registry, _) = Registry::new();
        let metrics = Metrics::new().unwrap().upstream("orders");
        let nobody: Lookup = Arc::new(|_, _| Vec::new());
        let fault = Pool::new(settings(), &registry, metrics, &nobody)
            .err()
            .unwrap();
        assert!(fault.to_string().contains("has no address"), "{fault}");
    }

    #[test]
    fn health_lives_on_where_the_address_does() {
        let (registry, _) = Registry::new();
        let before = pool_in(&registry, settings());
        let now = Instant::now();
        let flight = before.choose(0, &[], now).unwrap();
        for _ in 0..5 {
            before.failed(&flight, now);
        }
        let out = flight.address();
        let after = pool_in(&registry, settings());
        drop((before, flight));
        for _ in 0..10 {
            assert_ne!(after.choose(0, &[], now).unwrap().address(), out);
        }
        let settings = UpstreamSettings {
            name: "others".to_owned(),
            ..settings()
        };
        let others = pool_in(&registry, settings);
        let all = chosen(&others, 5);
        assert!(all.contains(&out.ip().to_string()), "{all:?}");
    }

    #[test]
    fn ejections_leave_the_share_that_was_asked_for() {
        let pool = pool(UpstreamSettings {
            ejection: EjectionSettings {
                consecutive_failures: 1,
                max_percent: 67,
                ..EjectionSettings::default()
            },
            ..settings()
        });
        let now = Instant::now();
        for _ in 0..10 {
            let flight = pool.choose(0, &[], now).unwrap();
            pool.failed(&flight, now);
        }
        assert_eq!(pool.metrics.ejections.get(), 2);
        assert!(pool.choose(0, &[], now).is_ok());
        let later = now + Duration::from_secs(11);
        let mut back: Vec<_> = (0..10)
            .map(|_| pool.choose(0, &[], later).unwrap().address())
            .collect();
        back.sort_unstable();
        back.dedup();
        assert_eq!(back.len(), 3);
    }

    #[test]
    fn full_and_out_are_told_apart() {
        let pool = pool(UpstreamSettings {
            limits: BreakerSettings {
                max_requests: 1,
                max_pending: 1,
            },
            ejection: EjectionSettings {
                consecutive_failures: 1,
                max_percent: 100,
                ..EjectionSettings::default()
            },
            ..settings()
        });
        let now = Instant::now();
        let flights: Vec<_> = (0..3).map(|_| pool.choose(0, &[], now).unwrap()).collect();
        assert_eq!(pool.choose(0, &[], now).err(), Some(Refused::Overloaded));
        assert_eq!(pool.metrics.overloaded.get(), 1);
        for flight in &flights {
            pool.failed(flight, now);
        }
        drop(flights);
        assert_eq!(pool.choose(0, &[], now).err(), Some(Refused::NoUpstream));
    }

    #[test]
    fn another_try_goes_elsewhere_while_it_can() {
        let pool = pool(settings());
        let now = Instant::now();
        let all = addresses(&["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);
        for turn in 0..10 {
            let flight = pool.choose(turn, &all[..2], now).unwrap();
            assert_eq!(flight.address(), all[2]);
        }
        assert!(pool.choose(0, &all, now).is_ok());
        for (failure, elsewhere, nowhere) in [
            (Failure::NotSent, true, false),
            (Failure::Broken, true, false),
            (Failure::Stale, true, true),
        ] {
            assert_eq!(pool.retry(failure, &all[..2], now).is_some(), elsewhere);
            assert_eq!(pool.retry(failure, &all, now).is_some(), nowhere);
        }
    }

    #[test]
    fn tries_of_what_was_sent_stay_within_the_budget() {
        let budget = |budget_percent| UpstreamSettings {
            retries: RetrySettings {
                most: 2,
                budget_percent,
            },
            ..settings()
        };
        let most = |pool: &Arc<Pool>, failure| {
            let tries: Vec<_> = (0..50)
                .map_while(|_| pool.retry(failure, &[], Instant::now()))
                .collect();
            tries.len()
        };
        let pool = pool(budget(20));
        assert_eq!(most(&pool, Failure::Stale), 3);
        let now = Instant::now();
        let flights: Vec<_> = (0..30).map(|_| pool.choose(0, &[], now).unwrap()).collect();
        assert_eq!(most(&pool, Failure::Broken), 6);
        assert_eq!(most(&pool, Failure::NotSent), 50);
        assert_eq!(most(&pool, Failure::Stale), 6, "those before are over");
        drop(flights);
        assert_eq!(most(&self::pool(budget(0)), Failure::Stale), 0);
    }
}
