//! Looks after one connection: who is too slow has to go.
//!
//! It looks now and then, at counters that those who read and write keep up to date, so that a
//! request on its way sets no timers. A limit is therefore kept to within one look.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use super::outgoing::Outgoing;
use crate::{config::ConnectionLimits, domain::Progress, metrics::CloseReason};

/// Requests after which a connection takes no more: memory that it gathered goes.
pub const MAX_REQUESTS: u32 = 10_000;
/// Slowness shorter than this is no slowness.
const GRACE: Duration = Duration::from_secs(10);
/// Who was fast may be silent for so long: programs read in large pieces, and the system tells of
/// room in larger ones.
const REST: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// What to do about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    Fine,
    /// It has had its time: after what is there, no more.
    Old,
    /// Nothing is under way, so it may just end.
    Drop(CloseReason),
    /// Requests under way have to fail.
    GiveUp(CloseReason),
}

/// What was seen so far.
pub struct Watchdog {
    progress: Arc<Progress>,
    limits: ConnectionLimits,
    is_http2: bool,
    began: Instant,
    last: Instant,
    /// The number of requests, and since when nothing is under way.
    idle: Option<(u32, Instant)>,
    /// Since when a header is coming.
    header: Option<Instant>,
    body: Transfer,
    answer: Transfer,
    /// Bytes that had been written at the last look.
    written: u64,
}

/// Bytes of one direction, while somebody waits for them.
#[derive(Default)]
struct Transfer {
    /// What may be missing before it is too slow, in bytes. `None`: nobody waits.
    credit: Option<u64>,
    /// The counter at the last look.
    before: u64,
}

impl Watchdog {
    pub fn new(
        progress: Arc<Progress>,
        limits: ConnectionLimits,
        is_http2: bool,
        now: Instant,
    ) -> Self {
        Self {
            progress,
            limits,
            is_http2,
            began: now,
            last: now,
            idle: None,
            header: Some(now),
            body: Transfer::default(),
            answer: Transfer::default(),
            written: 0,
        }
    }

    /// Until the next look.
    pub fn pause(&self) -> Duration {
        let limits = &self.limits;
        let shortest = limits
            .header_timeout
            .min(limits.idle_timeout)
            .min(limits.max_age);
        (shortest / 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
    }

    /// `outgoing` is asked only when something is on its way out.
    pub fn look(&mut self, now: Instant, outgoing: impl FnOnce() -> Option<Outgoing>) -> Finding {
        let passed = now - self.last;
        self.last = now;
        let progress = Arc::clone(&self.progress);
        // The end of an answer may be on its way when its request is settled.
        if self.is_slow_reader(passed, outgoing) {
            return Finding::GiveUp(CloseReason::SlowReader);
        }
        let requests = progress.requests.load(Relaxed);
        let finding = match progress.in_flight.load(Relaxed) {
            0 => self.look_at_silence(now, requests),
            _ => self.look_at_body(passed),
        };
        if finding != Finding::Fine {
            return finding;
        }
        let old = now - self.began >= self.limits.max_age || requests >= MAX_REQUESTS;
        match old && !progress.leaves.swap(old, Relaxed) {
            true => Finding::Old,
            false => Finding::Fine,
        }
    }

    /// Between requests: a header that does not come to its end, or none at all.
    fn look_at_silence(&mut self, now: Instant, requests: u32) -> Finding {
        self.body.credit = None;
        let since = match self.idle {
            Some((then, since)) if then == requests => since,
            _ => {
                self.idle = Some((requests, now));
                self.header = self.header.filter(|_| requests == 0);
                now
            }
        };
        let read = self.progress.read.load(Relaxed) > self.progress.settled.load(Relaxed);
        // What HTTP/2 sends between requests is no beginning of one.
        if read && !self.is_http2 {
            self.header.get_or_insert(now);
        }
        let is_over = |since: Instant, limit: Duration| now - since >= limit;
        if self
            .header
            .is_some_and(|since| is_over(since, self.limits.header_timeout))
        {
            return Finding::Drop(CloseReason::HeaderTimeout);
        }
        match is_over(since, self.limits.idle_timeout) {
            true => Finding::Drop(CloseReason::Idle),
            false => Finding::Fine,
        }
    }

    /// While requests are served: bodies that trickle in.
    fn look_at_body(&mut self, passed: Duration) -> Finding {
        self.idle = None;
        self.header = None;
        let progress = &self.progress;
        let waits = progress.bodies.load(Relaxed) > 0 && progress.reads_wait.load(Relaxed);
        let read = progress.read.load(Relaxed);
        match self
            .body
            .is_too_slow(waits, read, passed, self.limits.min_rate)
        {
            true => Finding::GiveUp(CloseReason::SlowBody),
            false => Finding::Fine,
        }
    }

    /// Answers that are hardly taken, whether we wait with more or the system does.
    fn is_slow_reader(
        &mut self,
        passed: Duration,
        outgoing: impl FnOnce() -> Option<Outgoing>,
    ) -> bool {
        let we_wait = self.progress.writes_wait.load(Relaxed);
        let written = self.progress.written.load(Relaxed);
        let before = std::mem::replace(&mut self.written, written);
        if !we_wait && written == before && self.answer.credit.is_none() {
            return false;
        }
        let (waits, taken) = match outgoing() {
            Some(outgoing) => (we_wait || outgoing.waits, outgoing.taken),
            None => (we_wait, written),
        };
        self.answer
            .is_too_slow(waits, taken, passed, self.limits.min_rate)
    }
}

impl Transfer {
    fn is_too_slow(&mut self, waits: bool, bytes: u64, passed: Duration, rate: u64) -> bool {
        let came = bytes.saturating_sub(std::mem::replace(&mut self.before, bytes));
        if !waits || rate == 0 {
            self.credit = None;
            return false;
        }
        let within = |time: Duration| {
            let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            rate.saturating_mul(milliseconds) / 1000
        };
        let credit = self.credit.unwrap_or(within(GRACE)).saturating_add(came);
        let left = credit.min(within(REST)).saturating_sub(within(passed));
        self.credit = Some(left);
        left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene {
        progress: Arc<Progress>,
        watchdog: Watchdog,
        now: Instant,
        outgoing: Option<Outgoing>,
    }

    impl Scene {
        fn new(is_http2: bool) -> Self {
            let (progress, now) = (Arc::new(Progress::default()), Instant::now());
            let limits = ConnectionLimits::default();
            let watchdog = Watchdog::new(Arc::clone(&progress), limits, is_http2, now);
            Self {
                progress,
                watchdog,
                now,
                outgoing: None,
            }
        }

        /// Looks every five seconds; each time so many bytes have been read and written.
        fn after(&mut self, seconds: u64, read: u64, written: u64) -> Finding {
            for _ in 0..seconds / 5 {
                self.now += Duration::from_secs(5);
                self.progress.read.fetch_add(read, Relaxed);
                self.progress.written.fetch_add(written, Relaxed);
                let finding = self.watchdog.look(self.now, || self.outgoing);
                if finding != Finding::Fine {
                    return finding;
                }
            }
            Finding::Fine
        }

        fn begin(&self) {
            self.progress.requests.fetch_add(1, Relaxed);
            self.progress.in_flight.fetch_add(1, Relaxed);
        }

        fn end(&self) {
            self.progress.in_flight.fetch_sub(1, Relaxed);
        }
    }

    #[test]
    fn a_header_has_its_time() {
        let mut first = Scene::new(false);
        assert_eq!(first.after(5, 1, 0), Finding::Fine);
        assert_eq!(
            first.after(5, 1, 0),
            Finding::Drop(CloseReason::HeaderTimeout)
        );
        let mut later = Scene::new(false);
        later.begin();
        assert_eq!(
            later.after(30, 0, 0),
            Finding::Fine,
            "an upstream may take its time"
        );
        later.end();
        assert_eq!(later.after(50, 0, 0), Finding::Fine);
        assert_eq!(later.after(10, 1, 0), Finding::Fine);
        assert_eq!(
            later.after(5, 1, 0),
            Finding::Drop(CloseReason::HeaderTimeout)
        );
    }

    #[test]
    fn silence_has_its_time() {
        for is_http2 in [false, true] {
            let mut scene = Scene::new(is_http2);
            scene.begin();
            scene.after(5, 0, 0);
            scene.end();
            let pings = u64::from(is_http2);
            assert_eq!(scene.after(60, pings, 0), Finding::Fine);
            assert_eq!(scene.after(5, pings, 0), Finding::Drop(CloseReason::Idle));
        }
    }

    #[test]
    fn bodies_and_answers_have_their_rate() {
        let mut body = Scene::new(false);
        body.begin();
        body.progress.bodies.store(1, Relaxed);
        assert_eq!(
            body.after(60, 10, 0),
            Finding::Fine,
            "we do not wait for it"
        );
        body.progress.reads_wait.store(true, Relaxed);
        assert_eq!(body.after(60, 1200, 0), Finding::Fine);
        assert_eq!(
            body.after(60, 10, 0),
            Finding::GiveUp(CloseReason::SlowBody)
        );
        let mut answer = Scene::new(true);
        answer.begin();
        assert_eq!(answer.after(60, 0, 10), Finding::Fine);
        answer.progress.writes_wait.store(true, Relaxed);
        assert_eq!(answer.after(60, 0, 2000), Finding::Fine);
        assert_eq!(answer.after(30, 0, 10), Finding::Fine, "it was fast");
        assert_eq!(
            answer.after(30, 0, 10),
            Finding::GiveUp(CloseReason::SlowReader)
        );
    }

    #[test]
    fn what_the_system_took_over_is_not_taken() {
        for in_flight in [true, false] {
            let mut scene = Scene::new(false);
            scene.begin();
            if !in_flight {
                scene.end();
            }
            scene.outgoing = Some(Outgoing {
                taken: 1152,
                waits: true,
            });
            assert_eq!(scene.after(10, 0, 1 << 20), Finding::Fine);
            assert_eq!(
                scene.after(10, 0, 0),
                Finding::GiveUp(CloseReason::SlowReader)
            );
        }
    }

    #[test]
    fn who_takes_it_slowly_gets_it_all() {
        let mut scene = Scene::new(false);
        scene.begin();
        scene.progress.writes_wait.store(true, Relaxed);
        for piece in 1..20 {
            // Nothing for fifty seconds, and then a large piece.
            scene.outgoing = Some(Outgoing {
                taken: piece << 18,
                waits: true,
            });
            assert_eq!(scene.after(50, 0, 0), Finding::Fine, "{piece}");
        }
        assert_eq!(
            scene.after(15, 0, 0),
            Finding::GiveUp(CloseReason::SlowReader)
        );
        scene.watchdog.limits.min_rate = 0;
        assert_eq!(scene.after(600, 0, 0), Finding::Fine);
    }

    #[test]
    fn age_comes_once() {
        let mut scene = Scene::new(false);
        scene.begin();
        assert_eq!(scene.after(3595, 0, 0), Finding::Fine);
        assert_eq!(scene.after(5, 0, 0), Finding::Old);
        assert_eq!(scene.after(60, 0, 0), Finding::Fine);
    }
}
