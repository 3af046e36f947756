//! The arithmetic of one limit: a token bucket, kept as a single number.
//!
//! The generic cell rate algorithm: of each key only the *theoretical arrival time* is known, the
//! moment when its bucket will be full again. A request moves it on by the interval of one request,
//! and is refused if that would put it further into the future than the burst allows.

use std::time::Duration;

use crate::domain::Rate;

/// A rate in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Between two requests of somebody who goes on and on.
    interval: u64,
    /// What a full bucket holds: as many intervals as requests may come at once.
    depth: u64,
}

/// How a key stands after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub allowed: bool,
    /// Requests that may follow at once.
    pub remaining: u32,
    /// Until one more request is there.
    pub next_in: Duration,
    /// Until the next request is allowed; zero when one is now.
    pub wait: Duration,
}

impl Bucket {
    pub fn new(rate: &Rate) -> Self {
        let per = u64::try_from(rate.per.as_nanos()).unwrap_or(u64::MAX);
        // Rounded up, so that it is never more than what is allowed.
        let interval = per.div_ceil(u64::from(rate.requests.get())).max(1);
        Self {
            interval,
            depth: interval.saturating_mul(u64::from(rate.burst.get())),
        }
    }

    /// A request that was taken shall not have been one.
    pub fn give_back(&self, arrival: &mut u64) {
        *arrival = arrival.saturating_sub(self.interval);
    }

    /// A request at `now`; both times are nanoseconds on one clock.
    pub fn take(&self, arrival: &mut u64, now: u64) -> Standing {
        let next = (*arrival).max(now).saturating_add(self.interval);
        let ahead = next - now;
        let allowed = ahead <= self.depth;
        let used = match allowed {
            true => {
                *arrival = next;
                ahead
            }
            false => arrival.saturating_sub(now),
        };
        let left = self.depth.saturating_sub(used) / self.interval;
        // What is missing from the bucket, up to a whole request.
        let next_in = match used % self.interval {
            0 => used.min(self.interval),
            part => part,
        };
        let wait = used
            .saturating_add(self.interval)
            .saturating_sub(self.depth);
        Standing {
            allowed,
            remaining: u32::try_from(left).unwrap_or(u32::MAX),
            next_in: Duration::from_nanos(next_in),
            wait: Duration::from_nanos(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn bucket(requests: u32, seconds: u64, burst: u32) -> Bucket {
        Bucket::new(&Rate {
            requests: NonZeroU32::new(requests).unwrap(),
            per: Duration::from_secs(seconds),
            burst: NonZeroU32::new(burst).unwrap(),
        })
    }

    #[test]
    fn a_burst_and_then_one_for_each_interval() {
        let bucket = bucket(10, 10, 3);
        let mut arrival = 0;
        let now = 100 * SECOND;
        let remaining: Vec<_> = (0..3)
            .map(|_| bucket.take(&mut arrival, now).remaining)
            .collect();
        assert_eq!(remaining, [2, 1, 0]);
        let refused = bucket.take(&mut arrival, now);
        assert!(!refused.allowed);
        assert_eq!(refused.wait, Duration::from_secs(1));
        assert_eq!(refused.next_in, Duration::from_secs(1));
        let later = bucket.take(&mut arrival, now + SECOND / 4);
        assert_eq!(later.next_in, Duration::from_millis(750));
        assert!(!bucket.take(&mut arrival, now + SECOND - 1).allowed);
        assert!(bucket.take(&mut arrival, now + SECOND).allowed);
        assert!(!bucket.take(&mut arrival, now + SECOND).allowed);
    }

    #[test]
    fn a_refused_request_takes_nothing() {
        let bucket = bucket(1, 60, 1);
        let mut arrival = 0;
        assert!(bucket.take(&mut arrival, SECOND).allowed);
        for second in 2..61 {
            assert!(!bucket.take(&mut arrival, second * SECOND).allowed);
        }
        assert!(bucket.take(&mut arrival, 61 * SECOND).allowed);
    }

    /// The same as a bucket that is filled drop by drop.
    #[test]
    fn it_is_a_token_bucket() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let (requests, burst) = (random.u32(1..50), random.u32(1..50));
            let bucket = bucket(requests, 1, burst);
            let interval = SECOND.div_ceil(u64::from(requests));
            let (mut now, mut arrival) = (1_000 * SECOND, 0);
            // Tokens in units of a nanosecond's worth.
            let (full, mut tokens, mut filled) = (u64::from(burst) * interval, 0_u64, now);
            tokens += full;
            for _ in 0..200 {
                now += random.u64(0..2 * interval);
                tokens = full.min(tokens + (now - filled));
                filled = now;
                let expected = tokens >= interval;
                if expected {
                    tokens -= interval;
                }
                let standing = bucket.take(&mut arrival, now);
                assert_eq!(standing.allowed, expected);
                assert_eq!(u64::from(standing.remaining), tokens / interval);
                assert_eq!(standing.wait.is_zero(), standing.remaining > 0);
            }
        }
    }

    #[test]
    fn extremes_do_not_overflow() {
        let bucket = Bucket::new(&Rate {
            requests: NonZeroU32::MIN,
            per: Duration::MAX,
            burst: NonZeroU32::MAX,
        });
        let mut arrival = 0;
        for now in [0, 1, u64::MAX - 1, u64::MAX] {
            bucket.take(&mut arrival, now);
        }
    }
}
