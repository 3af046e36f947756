//! An issuer's keys, kept fresh in the background.
//!
//! Requests read them without a lock. One that comes with a key nobody knows may ask for them to be
//! had again, which happens at most once in a while however many ask, and waits a bounded time for it.
//! While the issuer cannot be reached the keys that are there go on.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwapOption;
use http::{StatusCode, Uri};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    auth::{
        control_plane::{ControlPlane, NoReply},
        credential::Backoff,
        discovery::discover,
    },
    config::{JwtIssuerSettings, KeySource},
    domain::{Jwt, JwtAlgorithm, KeySet, VerifyingKey, VouchedBy},
    metrics::{JwtMetrics, KeysResult},
};

/// How soon after the last time a token with an unknown key may have the keys asked for again.
const PAUSE_BETWEEN_WISHES: Duration = Duration::from_secs(10);
/// How long a request waits for keys that it asked for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Keys that are tried for a token that names none.
const MOST_TRIES: usize = 8;

/// See the module.
pub struct Keys {
    /// `None` before the first time.
    current: ArcSwapOption<Vec<Key>>,
    status: watch::Sender<Status>,
    /// They are the configuration's: nobody can be asked for others.
    fixed: bool,
    /// What the issuer's settings say of subscriptions.
    known_as: Option<String>,
    validates: Option<bool>,
    metrics: Arc<JwtMetrics>,
}

struct Key {
    key: VerifyingKey,
    vouched_by: Arc<VouchedBy>,
}

#[derive(Clone, Copy)]
struct Status {
    /// Counts the answers; 0 before the first one.
    generation: u64,
    /// Somebody has seen a key that is not known, and they are asked for again or about to be.
    wanted: bool,
    /// No wish is heard before this.
    not_before: Instant,
}

/// What the keys say of a token.
pub enum Found {
    /// It is signed by this one.
    Key(Arc<VouchedBy>),
    BadSignature,
    /// It names a key that is not for such signatures.
    Unfit,
    /// By none of this generation, as far as can be told.
    Unknown(u64),
    /// There have not been any yet.
    NoKeys,
}

/// Where the keys come from, and how.
pub struct KeyUpkeep {
    control_plane: ControlPlane,
    source: Remote,
    refresh: Duration,
}

#[derive(Clone)]
enum Remote {
    At(Uri),
    /// The issuer; and where its metadata say that the keys are, once that is known.
    DiscoveredFrom(Uri, Option<Uri>),
}

impl Keys {
    /// The keys, and the work in the background unless they never change.
    pub fn new(
        settings: &JwtIssuerSettings,
        metrics: &Arc<JwtMetrics>,
    ) -> (Self, Option<KeyUpkeep>) {
        let (status, _) = watch::channel(Status {
            generation: 0,
            wanted: false,
            not_before: Instant::now(),
        });
        let keys = Self {
            current: ArcSwapOption::empty(),
            status,
            fixed: matches!(settings.keys, KeySource::Fixed(_)),
            known_as: settings.known_as.clone(),
            validates: settings.validate_subscriptions,
            metrics: Arc::clone(metrics),
        };
        let source = match &settings.keys {
            KeySource::Fixed(fixed) => {
                keys.publish(fixed.clone());
                return (keys, None);
            }
            KeySource::At(url) => Remote::At(url.clone()),
            KeySource::DiscoveredFrom(issuer) => Remote::DiscoveredFrom(issuer.clone(), None),
        };
        let upkeep = KeyUpkeep {
            control_plane: ControlPlane::new(&settings.tls),
            source,
            refresh: settings.refresh,
        };
        (keys, Some(upkeep))
    }

    /// Whether there have been any.
    pub fn is_ready(&self) -> bool {
        self.current.load().is_some()
    }

    /// The key that `jwt` is signed with.
    pub fn find(&self, jwt: &Jwt<'_>, algorithm: JwtAlgorithm) -> Found {
        // Read first: a set that comes in between only makes it look older than it is.
        let generation = self.status.borrow().generation;
        let current = self.current.load();
        let Some(current) = current.as_deref() else {
            return Found::NoKeys;
        };
        let named = |key: &&Key| match (jwt.key_id(), &key.key.id) {
            (Some(wanted), Some(id)) => *wanted == **id,
            _ => true,
        };
        let (mut knows, mut tries) = (false, 0);
        for candidate in current.iter().filter(named) {
            knows |= jwt.key_id().is_some() && candidate.key.id.is_some();
            if tries == MOST_TRIES || !candidate.key.fits(algorithm) {
                continue;
            }
            tries += 1;
            if jwt.is_signed_by(&candidate.key, algorithm) {
                return Found::Key(Arc::clone(&candidate.vouched_by));
            }
        }
        match (knows, tries) {
            (true, 0) => Found::Unfit,
            (true, _) => Found::BadSignature,
            (false, _) => Found::Unknown(generation),
        }
    }

    /// Has the keys asked for again by somebody who has seen those of the generation `seen` only, and
    /// waits for them; says whether there are others.
    pub async fn renewed(&self, seen: u64) -> bool {
        if self.fixed {
            return false;
        }
        self.status.send_if_modified(|status| {
            let first =
                status.generation == seen && !status.wanted && Instant::now() >= status.not_before;
            status.wanted |= first;
            first
        });
        let mut status = self.status.subscribe();
        let over = status.wait_for(|status| status.generation != seen || !status.wanted);
        match timeout(PATIENCE, over).await {
            Ok(Ok(status)) => status.generation != seen,
            _ => false,
        }
    }

    /// Nothing that they vouched for counts any more.
    pub fn withdraw_all(&self) {
        if let Some(current) = self.current.load().as_deref() {
            for key in current {
                key.vouched_by.withdraw();
            }
        }
    }

    /// Has the keys at once and again and again, until `shutdown` says true.
    pub async fn keep(&self, mut upkeep: KeyUpkeep, mut shutdown: watch::Receiver<bool>) {
        let mut failures = Backoff::default();
        let mut next = Instant::now();
        let mut status = self.status.subscribe();
        loop {
            let wished = tokio::select! {
                _ = shutdown.wait_for(|over| *over) => return,
                () = sleep_until(next) => false,
                _ = status.wait_for(|status| status.wanted) => true,
            };
            let refresh = upkeep.refresh;
            let work = move || {
                let result = upkeep.obtain();
                (upkeep, result)
            };
            let result = match tokio::task::spawn_blocking(work).await {
                Ok((back, result)) => {
                    upkeep = back;
                    result
                }
                // Nothing in it panics; if it ever does, the panic hook has told, and this task ends.
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            };
            next = Instant::now()
                + match result {
                    Ok(set) => {
                        failures = Backoff::default();
                        self.take_up(set, wished);
                        // Up to a tenth earlier, so that many gateways do not come at once.
                        refresh.mul_f64(1.0 - fastrand::f64() / 10.0)
                    }
                    Err(failure) => self.fail(&failure, failures.pause()),
                };
        }
    }

    fn take_up(&self, set: KeySet, wished: bool) {
        self.metrics.refreshed(KeysResult::Ok);
        let date = SystemTime::now().duration_since(UNIX_EPOCH);
        let date = date.unwrap_or_default().as_secs_f64();
        self.metrics.last_refresh.set(date);
        let (keys, ignored) = (set.keys.len(), set.ignored);
        let issuer = &self.metrics.name;
        let is_news = self.publish(set.keys);
        match (keys, is_news) {
            (0, _) => tracing::warn!(%issuer, ignored, "the issuer has no key that can be used"),
            (_, true) => tracing::info!(%issuer, keys, ignored, "the issuer's keys are there"),
            (_, false) => {}
        }
        let pause = if wished {
            PAUSE_BETWEEN_WISHES
        } else {
            Duration::ZERO
        };
        self.status.send_modify(|status| {
            *status = Status {
                generation: status.generation + 1,
                wanted: false,
                not_before: Instant::now() + pause,
            };
        });
    }

    fn fail(&self, failure: &NotHad, pause: Duration) -> Duration {
        self.metrics.refreshed(failure.result);
        let issuer = &self.metrics.name;
        tracing::warn!(%issuer, cause = %failure.cause, again_in = ?pause, "the issuer's keys cannot be had");
        self.status.send_modify(|status| {
            status.wanted = false;
            status.not_before = Instant::now() + pause;
        });
        pause
    }

    /// Puts keys in place of those that are there. One that stays goes on vouching for what it has
    /// signed; what one that is gone has signed goes with it. Says whether anything is different.
    fn publish(&self, fresh: Vec<VerifyingKey>) -> bool {
        let before = self.current.load_full();
        let before: &[Key] = before.as_deref().map_or(&[], Vec::as_slice);
        let known = |key: &VerifyingKey| before.iter().find(|other| other.key == *key);
        let is_same = before.len() == fresh.len() && fresh.iter().all(|key| known(key).is_some());
        let gone = before.iter().filter(|key| !fresh.contains(&key.key));
        let gone: Vec<Arc<VouchedBy>> = gone.map(|key| Arc::clone(&key.vouched_by)).collect();
        let fresh: Vec<Key> = fresh
            .into_iter()
            .map(|key| Key {
                vouched_by: known(&key).map_or_else(
                    || Arc::new(VouchedBy::new(self.known_as.as_deref(), self.validates)),
                    |key| Arc::clone(&key.vouched_by),
                ),
                key,
            })
            .collect();
        self.metrics
            .keys
            .set(i64::try_from(fresh.len()).unwrap_or(i64::MAX));
        self.current.store(Some(Arc::new(fresh)));
        // After the swap: nothing is verified by them from here on.
        for key in gone {
            key.withdraw();
        }
        !is_same
    }
}

/// Why there are no keys.
struct NotHad {
    result: KeysResult,
    cause: String,
}

impl KeyUpkeep {
    /// Asks for the keys. Blocks.
    fn obtain(&mut self) -> Result<KeySet, NotHad> {
        let url = self.url()?;
        let result = self.ask(&url);
        if let (Err(_), Remote::DiscoveredFrom(_, known)) = (&result, &mut self.source) {
            // They may have moved.
            *known = None;
        }
        result
    }

    fn url(&mut self) -> Result<Uri, NotHad> {
        match &mut self.source {
            Remote::At(url) | Remote::DiscoveredFrom(_, Some(url)) => Ok(url.clone()),
            Remote::DiscoveredFrom(issuer, known) => {
                let metadata = discover(&self.control_plane, issuer).map_err(unreachable)?;
                let url = metadata.jwks.ok_or_else(|| {
                    unreachable("the issuer's metadata name no keys that can be used".to_owned())
                })?;
                *known = Some(url.clone());
                Ok(url)
            }
        }
    }

    fn ask(&self, url: &Uri) -> Result<KeySet, NotHad> {
        match self.control_plane.get(url) {
            Ok(reply) if reply.status == StatusCode::OK => {
                KeySet::parse(&reply.body).map_err(|fault| NotHad {
                    result: KeysResult::BadAnswer,
                    cause: format!("{url}: {fault}"),
                })
            }
            Ok(reply) => Err(unreachable(format!(
                "{url} answered {}",
                reply.status.as_u16()
            ))),
            Err(NoReply::Timeout) => Err(unreachable(format!("{url} did not answer in time"))),
            Err(NoReply::TooLarge) => Err(NotHad {
                result: KeysResult::BadAnswer,
                cause: format!("{url} answered too much"),
            }),
            Err(NoReply::Unreachable(why)) => Err(unreachable(format!("{url}: {why}"))),
        }
    }
}

fn unreachable(cause: String) -> NotHad {
    NotHad {
        result: KeysResult::Unreachable,
        cause,
    }
}
