//! What is known of one address: how busy it is, and whether it is well.
//!
//! Numbers that requests read and change without a lock. Time comes in as an argument, in
//! milliseconds of the [`super::Registry`]'s clock.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::{
    config::{BreakerSettings, EjectionSettings, HealthCheckSettings},
    metrics::AddressMetrics,
};

/// The state of one address of one upstream. It outlives the configuration that made it when the
/// next one has the same address.
pub struct AddressState {
    /// Requests in flight in the lower half, those of them without a connection in the upper half.
    load: AtomicU64,
    /// What the active checks say; true until they know better.
    healthy: AtomicBool,
    /// Results of checks in a row that speak against `healthy`.
    contrary: AtomicU32,
    /// Requests in a row that failed.
    failures: AtomicU32,
    /// Zero: not ejected.
    ejected_until: AtomicU64,
    /// Ejections, each while the memory of the one before was fresh.
    ejections: AtomicU32,
    metrics: std::sync::Arc<AddressMetrics>,
}

const IN_FLIGHT: u64 = 1;
const CONNECTING: u64 = 1 << 32;

impl AddressState {
    pub fn new(metrics: std::sync::Arc<AddressMetrics>) -> Self {
        metrics.healthy.set(1);
        Self {
            load: AtomicU64::new(0),
            healthy: AtomicBool::new(true),
            contrary: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            metrics,
        }
    }

    /// A request begins, without a connection.
    pub fn enter(&self) {
        self.load.fetch_add(IN_FLIGHT + CONNECTING, Relaxed);
    }

    /// It has one now.
    pub fn connected(&self) {
        self.load.fetch_sub(CONNECTING, Relaxed);
    }

    /// It is over.
    pub fn leave(&self, was_connected: bool) {
        let both = if was_connected { 0 } else { CONNECTING };
        self.load.fetch_sub(IN_FLIGHT + both, Relaxed);
    }

    pub fn in_flight(&self) -> u32 {
        lower_half(self.load.load(Relaxed))
    }

    /// Whether it may have one more request. Threads that ask at once may exceed the limit by their
    /// number.
    pub fn has_room(&self, limits: &BreakerSettings) -> bool {
        let load = self.load.load(Relaxed);
        lower_half(load) < limits.max_requests && lower_half(load >> 32) < limits.max_pending
    }

    /// Neither checks nor failures speak against it.
    pub fn is_available(&self, now: u64) -> bool {
        self.healthy.load(Relaxed) && !self.is_ejected(now)
    }

    pub fn is_ejected(&self, now: u64) -> bool {
        self.ejected_until.load(Relaxed) > now
    }

    /// A request was answered.
    pub fn succeeded(&self) {
        // Reading costs nothing, writing makes other cores wait.
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// A request failed; whether that was one too many.
    pub fn failed(&self, settings: &EjectionSettings) -> bool {
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        failures >= settings.consecutive_failures
    }

    /// Leaves it out for a while: each time twice as long, unless it was well for long. Afterwards
    /// one failure is enough for the next time.
    pub fn eject(&self, settings: &EjectionSettings, now: u64) -> Duration {
        let last = self.ejected_until.load(Relaxed);
        if now.saturating_sub(last) > millis(settings.max_time) {
            self.ejections.store(0, Relaxed);
        }
        let before = self.ejections.fetch_add(1, Relaxed);
        let factor = 2_u32.saturating_pow(before.min(16));
        let time = settings
            .base_time
            .saturating_mul(factor)
            .min(settings.max_time);
        self.failures
            .store(settings.consecutive_failures.saturating_sub(1), Relaxed);
        self.ejected_until.store(now + millis(time), Relaxed);
        self.show(now);
        time
    }

    /// Notes what a check found; whether that changed anything. `reinstates`: a good result also
    /// ends an ejection, because the check asks what requests ask.
    pub fn checked(
        &self,
        passed: bool,
        reinstates: bool,
        settings: &HealthCheckSettings,
        now: u64,
    ) -> bool {
        let healthy = self.healthy.load(Relaxed);
        let changed = if passed == healthy {
            self.contrary.store(0, Relaxed);
            false
        } else {
            let contrary = self.contrary.fetch_add(1, Relaxed).saturating_add(1);
            let needed = match passed {
                true => settings.healthy_after,
                false => settings.unhealthy_after,
            };
            contrary >= needed
        };
        if changed {
            self.healthy.store(passed, Relaxed);
            self.contrary.store(0, Relaxed);
        }
        if passed && reinstates && self.healthy.load(Relaxed) && self.is_ejected(now) {
            self.ejected_until.store(now, Relaxed);
        }
        self.show(now);
        changed
    }

    /// No check is asked any more.
    pub fn unchecked(&self) {
        self.healthy.store(true, Relaxed);
        self.contrary.store(0, Relaxed);
    }

    /// Tells the metric. The end of an ejection is no event, so this has to be called now and then.
    pub fn show(&self, now: u64) {
        self.metrics.healthy.set(self.is_available(now).into());
    }
}

/// The cast keeps the lower 32 bits, which is what is asked for.
#[allow(clippy::cast_possible_truncation)]
fn lower_half(load: u64) -> u32 {
    load as u32
}

pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::Metrics;

    fn state() -> AddressState {
        let metrics = Metrics::new().unwrap().upstream("orders");
        AddressState::new(metrics.address("10.0.0.1:80"))
    }

    fn ejection() -> EjectionSettings {
        EjectionSettings {
            consecutive_failures: 3,
            base_time: Duration::from_secs(10),
            max_time: Duration::from_secs(25),
            max_percent: 50,
        }
    }

    fn checks() -> HealthCheckSettings {
        HealthCheckSettings {
            healthy_after: 2,
            unhealthy_after: 3,
            ..HealthCheckSettings::default()
        }
    }

    #[test]
    fn requests_in_flight_and_without_connection_are_counted_apart() {
        let limits = BreakerSettings {
            max_requests: 2,
            max_pending: 1,
        };
        let state = state();
        assert!(state.has_room(&limits));
        state.enter();
        assert!(!state.has_room(&limits), "one is connecting");
        state.connected();
        assert!(state.has_room(&limits));
        state.enter();
        state.connected();
        assert!(!state.has_room(&limits), "two are in flight");
        assert_eq!(state.in_flight(), 2);
        state.leave(true);
        state.enter();
        state.leave(false);
        state.leave(true);
        assert_eq!(state.load.load(Relaxed), 0);
    }

    #[test]
    fn failures_in_a_row_eject_and_a_success_breaks_the_row() {
        let (state, settings) = (state(), ejection());
        assert!(!state.failed(&settings) && !state.failed(&settings));
        state.succeeded();
        assert!(!state.failed(&settings) && !state.failed(&settings));
        assert!(state.failed(&settings));
    }

    #[test]
    fn ejections_grow_to_a_bound_and_are_forgotten_after_a_good_time() {
        let (state, settings) = (state(), ejection());
        let mut now = 0;
        for seconds in [10, 20, 25, 25] {
            assert_eq!(state.eject(&settings, now).as_secs(), seconds);
            assert!(!state.is_available(now));
            now += seconds * 1000;
            assert!(state.is_available(now), "it is over after {seconds} s");
            assert!(
                state.failed(&settings),
                "on probation one failure is enough"
            );
        }
        now += 25_001;
        assert_eq!(state.eject(&settings, now).as_secs(), 10);
    }

    #[test]
    fn checks_change_their_mind_after_as_many_results_as_asked_for() {
        let (state, settings) = (state(), checks());
        let check = |passed| state.checked(passed, false, &settings, 0);
        assert!(!check(false) && !check(false));
        assert!(!check(true), "the row is broken");
        assert!(!check(false) && !check(false) && check(false));
        assert!(!state.is_available(0));
        assert!(!check(true) && check(true));
        assert!(state.is_available(0));
    }

    #[test]
    fn a_check_of_what_requests_ask_ends_an_ejection() {
        let (state, settings) = (state(), checks());
        state.eject(&ejection(), 0);
        state.checked(true, false, &settings, 5);
        assert!(!state.is_available(5));
        state.checked(true, true, &settings, 5);
        assert!(state.is_available(5));
    }

    #[test]
    fn threads_leave_nothing_behind() {
        let state = Arc::new(state());
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let state = Arc::clone(&state);
                std::thread::spawn(move || {
                    for turn in 0..10_000 {
                        state.enter();
                        let connects = (turn + number) % 3 != 0;
                        if connects {
                            state.connected();
                        }
                        state.leave(connects);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(state.load.load(Relaxed), 0);
    }
}
