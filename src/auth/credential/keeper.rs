//! Keeps the gateway's own access token fresh, in the background.
//!
//! Requests read the token without a lock and never wait for a renewal that could be foreseen. One
//! that the key manager has just refused is renewed once, however many requests saw it; when the
//! next one is refused too, the pause before another try grows, so that a wrong set-up never becomes
//! a storm on the token endpoint.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Proof,
    grant::{NotObtained, Obtained, TokenSource},
};
use crate::metrics::{IssuerMetrics, RenewalResult};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A token is renewed when a fifth of its life is left, but not earlier than this before its end.
const LONGEST_MARGIN: Duration = Duration::from_secs(30);
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// See the module.
pub struct Keeper {
    current: ArcSwapOption<Token>,
    status: watch::Sender<Status>,
    /// The newest token that the key manager has accepted.
    accepted: AtomicU64,
    /// The token endpoint said no to the last attempt.
    refused: AtomicBool,
    metrics: Arc<IssuerMetrics>,
}

struct Token {
    header: HeaderValue,
    generation: u64,
    ends: Instant,
}

#[derive(Clone, Copy)]
struct Status {
    /// Counts tokens; 0 before the first one.
    generation: u64,
    /// Somebody was refused, and a renewal is under way or about to be.
    renewing: bool,
    /// No renewal is forced before this.
    not_before: Instant,
}

impl Keeper {
    pub fn new(metrics: Arc<IssuerMetrics>) -> Self {
        let (status, _) = watch::channel(Status {
            generation: 0,
            renewing: false,
            not_before: Instant::now(),
        });
        Self {
            current: ArcSwapOption::empty(),
            status,
            accepted: AtomicU64::new(0),
            refused: AtomicBool::new(false),
            metrics,
        }
    }

    /// The token, while it lives.
    pub fn proof(&self) -> Option<Proof> {
        let token = self.current.load();
        let token = token.as_ref().filter(|token| Instant::now() < token.ends)?;
        Some(Proof {
            authorization: Some(token.header.clone()),
            form: None,
            generation: Some(token.generation),
        })
    }

    /// Whether there has been a token.
    pub fn is_ready(&self) -> bool {
        self.current.load().is_some()
    }

    /// Whether the token endpoint said no to the last attempt: most likely a wrong set-up.
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// The key manager accepted a token.
    pub fn accepted(&self, generation: u64) {
        if self.accepted.load(Ordering::Relaxed) < generation {
            self.accepted.fetch_max(generation, Ordering::Relaxed);
        }
    }

    /// The key manager refused a token: waits until there is another one, and says whether there is.
    pub async fn replaced(&self, refused: u64, patience: Duration) -> bool {
        self.status.send_if_modified(|status| {
            let first = status.generation == refused
                && !status.renewing
                && Instant::now() >= status.not_before;
            status.renewing |= first;
            first
        });
        let mut status = self.status.subscribe();
        let over = status.wait_for(|status| status.generation != refused || !status.renewing);
        match timeout(patience, over).await {
            Ok(Ok(status)) => status.generation != refused,
            _ => false,
        }
    }

    /// Gets the first token and all that follow, until `shutdown` says true.
    pub async fn run(&self, mut source: TokenSource, mut shutdown: watch::Receiver<bool>) {
        let (mut failures, mut refusals) = (Backoff::default(), Backoff::default());
        let mut next = match source.direct() {
            Some(direct) => self.publish(&direct, Duration::ZERO),
            None => Instant::now(),
        };
        let mut status = self.status.subscribe();
        loop {
            let forced = tokio::select! {
                _ = shutdown.wait_for(|over| *over) => return,
                () = sleep_until(next) => false,
                _ = status.wait_for(|status| status.renewing) => true,
            };
            let (back, result) = self.obtain(source).await;
            source = back;
            next = match result {
                Ok(obtained) => {
                    failures = Backoff::default();
                    self.publish(&obtained, self.pause_after(forced, &mut refusals))
                }
                Err(failure) => self.fail(&failure, failures.pause()),
            };
        }
    }

    /// A renewal that was forced on a token which never worked has probably not helped either.
    fn pause_after(&self, forced: bool, refusals: &mut Backoff) -> Duration {
        let generation = self.status.borrow().generation;
        if !forced || self.accepted.load(Ordering::Relaxed) >= generation {
            *refusals = Backoff::default();
            return Duration::ZERO;
        }
        refusals.pause()
    }

    /// One renewal, on a thread where it may block.
    async fn obtain(&self, source: TokenSource) -> (TokenSource, Result<Obtained, NotObtained>) {
        let metrics = Arc::clone(&self.metrics);
        let mut source = source;
        let work = move || {
            let result = source.obtain(|grant, result| metrics.credential.count(grant, result));
            (source, result)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            // Nothing in it panics; if it ever does, the panic hook has told, and this task ends.
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Puts a token in place; returns when to renew it.
    fn publish(&self, obtained: &Obtained, pause: Duration) -> Instant {
        self.refused.store(false, Ordering::Relaxed);
        let now = Instant::now();
        let generation = self.status.borrow().generation + 1;
        let token = Token {
            header: obtained.header.clone(),
            generation,
            ends: now + obtained.life,
        };
        self.current.store(Some(Arc::new(token)));
        self.status.send_modify(|status| {
            *status = Status {
                generation,
                renewing: false,
                not_before: now + pause,
            };
        });
        let date = SystemTime::now() + obtained.life;
        let date = date.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.metrics.credential.expiry.set(date.as_secs_f64());
        tracing::info!(life = ?obtained.life, "the gateway has a token of its own");
        now + wait(obtained.life)
    }

    fn fail(&self, failure: &NotObtained, pause: Duration) -> Instant {
        let refused = failure.result == RenewalResult::Refused;
        self.refused.store(refused, Ordering::Relaxed);
        tracing::warn!(
            result = failure.result.word(),
            cause = %failure,
            again_in = ?pause,
            "the gateway got no token of its own"
        );
        let next = Instant::now() + pause;
        self.status.send_modify(|status| {
            status.renewing = false;
            status.not_before = next;
        });
        next
    }
}

/// Time from getting a token to renewing it: what is left then is a fifth of its life, 30 s at the
/// most, and up to a tenth more, so that many gateways do not come at once.
fn wait(life: Duration) -> Duration {
    let margin = (life / 5).min(LONGEST_MARGIN);
    let jitter = (life / 10).min(LONGEST_MARGIN).mul_f64(fastrand::f64());
    life.saturating_sub(margin + jitter).max(SHORTEST_WAIT)
}

/// Growing pauses with jitter.
#[derive(Default)]
pub struct Backoff(u32);

impl Backoff {
    pub fn pause(&mut self) -> Duration {
        let pause = FIRST_PAUSE
            .saturating_mul(1 << self.0.min(16))
            .min(LONGEST_PAUSE);
        self.0 += 1;
        pause.mul_f64(0.75 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_come_before_the_end_and_not_too_early() {
        for seconds in [1, 2, 10, 300, 3_600, 86_400] {
            let life = Duration::from_secs(seconds);
            for _ in 0..100 {
                let wait = wait(life);
                assert!(
                    wait < life && wait >= life.mul_f64(0.69),
                    "{life:?}: {wait:?}"
                );
            }
        }
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..40).map(|_| backoff.pause()).collect();
        assert!(pauses[0] < Duration::from_secs(1));
        assert!(pauses[39] <= LONGEST_PAUSE.mul_f64(1.25) && pauses[39] >= LONGEST_PAUSE / 2);
    }
}
