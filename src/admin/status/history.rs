//! The last ten minutes, sample by sample.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    domain::{Decision, Reason},
    metrics::Totals,
};

/// How many samples are kept, and how far they lie apart.
pub const SAMPLES: usize = 120;
pub const INTERVAL: Duration = Duration::from_secs(5);
/// Samples of the last minute.
const MINUTE: usize = 12;

/// What happened between two samples.
pub struct Tick {
    pub seconds: f64,
    pub happened: Totals,
}

/// The ring of them.
#[derive(Default)]
pub struct History {
    last: Option<(Instant, Totals)>,
    ticks: VecDeque<Tick>,
    routes: HashMap<String, Recent>,
}

/// Requests of one route: the count at the last sample, and those before each sample of a minute.
#[derive(Default)]
struct Recent {
    count: u64,
    last_minute: VecDeque<u64>,
}

impl History {
    /// Takes the counts as they are at `now`: of everything, and of each route by name.
    pub fn push(&mut self, now: Instant, totals: Totals, routes: Vec<(String, u64)>) {
        if let Some((then, before)) = &self.last {
            if self.ticks.len() == SAMPLES {
                self.ticks.pop_front();
            }
            self.ticks.push_back(Tick {
                seconds: now.saturating_duration_since(*then).as_secs_f64(),
                happened: totals.since(before),
            });
        }
        self.last = Some((now, totals));
        // Routes that are gone are forgotten.
        let mut before = std::mem::take(&mut self.routes);
        for (name, count) in routes {
            let mut recent = before.remove(&name).unwrap_or_default();
            if recent.last_minute.len() == MINUTE {
                recent.last_minute.pop_front();
            }
            let more = count.saturating_sub(recent.count);
            recent.last_minute.push_back(more);
            recent.count = count;
            self.routes.insert(name, recent);
        }
    }

    /// One value for each tick, oldest first.
    pub fn each(&self, value: impl Fn(&Tick) -> Option<f64>) -> Vec<Option<f64>> {
        self.ticks.iter().map(value).collect()
    }

    /// The last minute as one tick; `None` before there is any.
    pub fn last_minute(&self) -> Option<Tick> {
        self.ticks
            .iter()
            .rev()
            .take(MINUTE)
            .fold(None, |sum, tick| {
                Some(match sum {
                    None => Tick {
                        seconds: tick.seconds,
                        happened: tick.happened.clone(),
                    },
                    Some(Tick { seconds, happened }) => Tick {
                        seconds: seconds + tick.seconds,
                        happened: happened.plus(&tick.happened),
                    },
                })
            })
    }

    /// Requests of a route in the last minute.
    pub fn of_route(&self, name: &str) -> u64 {
        let recent = self.routes.get(name);
        recent.map_or(0, |recent| recent.last_minute.iter().sum())
    }

    /// The reasons of refusals and failures that occurred, most frequent first.
    pub fn refusals(&self) -> Vec<(Reason, u64)> {
        let mut counts: Vec<(Reason, u64)> = Reason::ALL
            .iter()
            .filter(|reason| matches!(reason.decision(), Decision::Deny | Decision::Error))
            .map(|reason| {
                let counts = self.ticks.iter().map(|tick| tick.happened.reason(*reason));
                (*reason, counts.sum())
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(requests: u64) -> Totals {
        Totals {
            classes: [0, requests, 0, 0, 0],
            ..Totals::default()
        }
    }

    #[test]
    fn ten_minutes_are_kept_and_no_more() {
        let mut history = History::default();
        let start = Instant::now();
        assert!(history.last_minute().is_none());
        for sample in 0..200 {
            let now = start + INTERVAL * sample;
            let count = u64::from(sample) * 10;
            history.push(now, totals(count), vec![("a".to_owned(), count)]);
        }
        let rates = history.each(|tick| Some(tick.happened.requests() as f64 / tick.seconds));
        assert_eq!(rates.len(), SAMPLES);
        assert!(rates.iter().all(|rate| *rate == Some(2.0)));
        let minute = history.last_minute().unwrap();
        assert_eq!((minute.seconds, minute.happened.requests()), (60.0, 120));
        assert_eq!(history.of_route("a"), 120);
        assert_eq!(history.of_route("b"), 0);
        // A reload took the route away.
        history.push(start + INTERVAL * 200, totals(0), Vec::new());
        assert_eq!(history.of_route("a"), 0);
        assert_eq!(
            history.each(|tick| Some(tick.happened.requests() as f64))[119],
            Some(0.0)
        );
    }
}
