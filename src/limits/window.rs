//! The arithmetic of a quota: requests in windows of time that begin for everybody at once, as the policies
//! of WSO2 count. The window's end and the number of requests in it are one number together, which is the
//! greater the longer it still matters.

use std::time::Duration;

use super::Standing;
use crate::domain::{Quota, UnixSeconds};

/// Bits of the requests.
const COUNT: u32 = 32;

/// A quota in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    requests: u32,
    seconds: u64,
}

impl Window {
    /// `None`: more than is ever counted.
    pub fn new(quota: &Quota) -> Option<Self> {
        Some(Self {
            requests: u32::try_from(quota.requests).ok()?,
            seconds: quota.per.as_secs().max(1),
        })
    }

    /// A request at `now`.
    pub fn take(self, state: &mut u64, now: UnixSeconds) -> Standing {
        let end = self.end(now);
        let used = used(*state, end);
        let left = end.saturating_sub(unsigned(now));
        let allowed = used < self.requests;
        if allowed {
            *state = end << COUNT | u64::from(used + 1);
        }
        let remaining = self.requests.saturating_sub(used + u32::from(allowed));
        let next_in = Duration::from_secs(left);
        Standing {
            allowed,
            remaining,
            next_in,
            wait: if remaining == 0 {
                next_in
            } else {
                Duration::ZERO
            },
        }
    }

    /// The request that was taken at `now` shall not have been one.
    pub fn give_back(self, state: &mut u64, now: UnixSeconds) {
        if used(*state, self.end(now)) > 0 {
            *state -= 1;
        }
    }

    /// Of the window that `now` is in. Windows begin at full minutes, hours and days of UTC.
    fn end(self, now: UnixSeconds) -> u64 {
        let begun = unsigned(now) / self.seconds;
        (begun + 1)
            .saturating_mul(self.seconds)
            .min(u64::from(u32::MAX))
    }
}

fn unsigned(now: UnixSeconds) -> u64 {
    u64::try_from(now).unwrap_or(0)
}

/// Requests in the window that ends at `end`.
fn used(state: u64, end: u64) -> u32 {
    match state >> COUNT == end {
        // The low half.
        true => u32::try_from(state & u64::from(u32::MAX)).unwrap_or(u32::MAX),
        false => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The begin of a minute.
    const NOW: UnixSeconds = 1_800_000_000;

    fn window(requests: u64, seconds: u64) -> Window {
        Window::new(&Quota {
            requests,
            per: Duration::from_secs(seconds),
        })
        .unwrap()
    }

    #[test]
    fn so_many_until_the_window_ends() {
        let three = window(3, 60);
        let mut state = 0;
        let mut take = |now| three.take(&mut state, now);
        let remaining: Vec<_> = (0..3).map(|_| take(NOW + 10).remaining).collect();
        assert_eq!(remaining, [2, 1, 0]);
        let refused = take(NOW + 20);
        assert!(!refused.allowed);
        assert_eq!(refused.wait, Duration::from_secs(40));
        assert!(!take(NOW + 59).allowed);
        let next = take(NOW + 60);
        assert_eq!((next.allowed, next.remaining), (true, 2));
        assert_eq!(next.wait, Duration::ZERO);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let one = window(1, 60);
        let mut state = 0;
        assert!(one.take(&mut state, NOW).allowed);
        one.give_back(&mut state, NOW);
        assert!(one.take(&mut state, NOW + 1).allowed);
        assert!(!one.take(&mut state, NOW + 2).allowed);
        // What was taken in a window that is over is gone.
        let before = state;
        one.give_back(&mut state, NOW + 60);
        assert_eq!(state, before);
        let mut nothing = 0;
        one.give_back(&mut nothing, NOW);
        assert_eq!(nothing, 0);
    }

    #[test]
    fn a_policy_that_changes_counts_on() {
        let mut state = 0;
        assert!(window(1, 60).take(&mut state, NOW).allowed);
        assert!(window(2, 60).take(&mut state, NOW).allowed);
        assert!(!window(1, 60).take(&mut state, NOW).allowed);
        // Of another length: a window of its own.
        assert!(window(1, 3600).take(&mut state, NOW).allowed);
    }

    #[test]
    fn later_ends_are_greater() {
        let (mut minute, mut day) = (0, 0);
        for _ in 0..5 {
            window(10, 60).take(&mut minute, NOW);
        }
        window(10, 86_400).take(&mut day, NOW);
        assert!(minute < day);
    }

    #[test]
    fn extremes() {
        let quota = |requests, per| Quota { requests, per };
        assert!(Window::new(&quota(u64::MAX, Duration::from_secs(1))).is_none());
        let none = Window::new(&quota(0, Duration::ZERO)).unwrap();
        let long = Window::new(&quota(u64::from(u32::MAX), Duration::MAX)).unwrap();
        for now in [UnixSeconds::MIN, -1, 0, NOW, UnixSeconds::MAX] {
            let mut state = 0;
            assert!(!none.take(&mut state, now).allowed);
            assert!(long.take(&mut state, now).allowed);
            long.give_back(&mut state, now);
        }
        let mut full = u64::MAX;
        assert!(!long.take(&mut full, UnixSeconds::MAX).allowed);
    }
}
