//! The clock of an API Manager, as its answers tell it.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::domain::Millis;

/// `Date` counts whole seconds, and its answer was some time on the way.
pub const UNCERTAINTY: Duration = Duration::from_secs(2);

/// How far the clock of the source is ahead of ours, in milliseconds.
#[derive(Default)]
pub struct Clock(AtomicI64);

impl Clock {
    /// An answer has come with this `Date`.
    pub fn set(&self, date: SystemTime) {
        let ahead = millis(date).saturating_sub(millis(SystemTime::now()));
        self.0.store(ahead, Ordering::Relaxed);
    }

    /// The source's clock says no more than this.
    pub fn now(&self) -> Millis {
        let ahead = self.0.load(Ordering::Relaxed);
        let now = millis(SystemTime::now() + UNCERTAINTY).saturating_add(ahead);
        Millis::try_from(now).unwrap_or(0)
    }
}

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_as_the_answers_say() {
        let clock = Clock::default();
        let here = || Millis::try_from(millis(SystemTime::now())).unwrap();
        let before = here();
        let now = clock.now();
        assert!((before..=here() + 2_000).contains(&now));
        let hour = Duration::from_secs(3600);
        clock.set(SystemTime::now() - hour);
        assert!(clock.now() <= here() - 3_598_000);
        clock.set(SystemTime::now() + hour);
        assert!(clock.now() >= before + 3_600_000);
        let set = here();
        clock.set(UNIX_EPOCH);
        let now = clock.now();
        assert!(now <= 2_000 + here() - set);
    }
}
