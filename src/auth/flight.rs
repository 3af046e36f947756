//! Single flight: one call for one token, however many requests wait for it.
//!
//! The call runs in a task of its own, so that a caller who hangs up fails nobody else. Its result,
//! good or bad, goes to those who wait and to nobody after them.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::Unavailable;
use crate::domain::{TokenKey, Verdict};

pub type CallResult = Result<Verdict, Unavailable>;

type Waiting = watch::Receiver<Option<CallResult>>;

/// The calls that are under way.
#[derive(Clone, Default)]
pub struct Flights(Arc<Mutex<HashMap<TokenKey, Waiting>>>);

/// A result, and whether somebody else's call brought it.
pub struct Landed {
    pub result: CallResult,
    pub joined: bool,
}

impl Flights {
    /// Waits for the call about `key`, and starts it with `call` when none is under way. Waits no
    /// longer than `patience`.
    pub async fn join<F>(
        &self,
        key: TokenKey,
        patience: Duration,
        call: impl FnOnce() -> F,
    ) -> Landed
    where
        F: Future<Output = CallResult> + Send + 'static,
    {
        let (mut waiting, joined) = self.board(key, call);
        let result = tokio::time::timeout(patience, waiting.wait_for(Option::is_some)).await;
        let result = match result {
            Ok(Ok(landed)) => landed.clone().unwrap_or(Err(Unavailable::Lost)),
            // The sender is gone without a word: the call panicked.
            Ok(Err(_)) => Err(Unavailable::Lost),
            Err(_) => Err(Unavailable::Timeout),
        };
        Landed { result, joined }
    }

    /// Calls under way.
    #[cfg(test)]
    fn count(&self) -> usize {
        self.0.lock().len()
    }

    fn board<F>(&self, key: TokenKey, call: impl FnOnce() -> F) -> (Waiting, bool)
    where
        F: Future<Output = CallResult> + Send + 'static,
    {
        let mut flights = self.0.lock();
        if let Some(waiting) = flights.get(&key) {
            return (waiting.clone(), true);
        }
        let (sender, waiting) = watch::channel(None);
        flights.insert(key, waiting.clone());
        drop(flights);
        let call = call();
        let departure = Departure {
            flights: self.clone(),
            key,
        };
        tokio::spawn(async move {
            let result = call.await;
            // First out of the table, then the news: who comes now finds the cache filled.
            drop(departure);
            sender.send_replace(Some(result));
        });
        (waiting, false)
    }
}

/// Takes the call off the table however it ends, a panic included.
struct Departure {
    flights: Flights,
    key: TokenKey,
}

impl Drop for Departure {
    fn drop(&mut self) {
        self.flights.0.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn key() -> TokenKey {
        TokenKey::from_bytes([1; 32])
    }

    #[tokio::test]
    async fn many_wait_for_one_call() {
        let flights = Flights::default();
        let calls = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Notify::new());
        let waiters: Vec<_> = (0..100)
            .map(|_| {
                let (flights, calls, gate) = (flights.clone(), calls.clone(), gate.clone());
                tokio::spawn(async move {
                    let call = || async move {
                        calls.fetch_add(1, Ordering::SeqCst);
                        gate.notified().await;
                        Ok(Verdict::Inactive)
                    };
                    flights.join(key(), PATIENCE, call).await
                })
            })
            .collect();
        while calls.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        gate.notify_one();
        let mut joined = 0;
        for waiter in waiters {
            let landed = waiter.await.unwrap();
            assert!(matches!(landed.result, Ok(Verdict::Inactive)));
            joined += usize::from(landed.joined);
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert_eq!(joined, 99);
        assert_eq!(flights.count(), 0);
    }

    #[tokio::test]
    async fn a_leader_who_hangs_up_fails_nobody() {
        let flights = Flights::default();
        let gate = Arc::new(Notify::new());
        let leader = {
            let (flights, gate) = (flights.clone(), gate.clone());
            tokio::spawn(async move {
                let call = || async move {
                    gate.notified().await;
                    Ok(Verdict::Inactive)
                };
                flights.join(key(), PATIENCE, call).await.joined
            })
        };
        while flights.count() == 0 {
            tokio::task::yield_now().await;
        }
        leader.abort();
        assert!(leader.await.unwrap_err().is_cancelled());
        gate.notify_one();
        let landed = flights
            .join(key(), PATIENCE, || async { panic!("a second call") })
            .await;
        assert!(landed.joined);
        assert!(matches!(landed.result, Ok(Verdict::Inactive)));
    }

    #[tokio::test]
    async fn a_failure_is_shared_with_those_waiting_and_with_nobody_after() {
        let flights = Flights::default();
        let first = flights
            .join(key(), PATIENCE, || async { Err(Unavailable::ServerError) })
            .await;
        assert_eq!(first.result.unwrap_err(), Unavailable::ServerError);
        let second = flights
            .join(key(), PATIENCE, || async { Ok(Verdict::Inactive) })
            .await;
        assert!(second.result.is_ok() && !second.joined);
    }

    #[tokio::test]
    async fn a_panic_wakes_those_waiting_and_leaves_nothing_behind() {
        let flights = Flights::default();
        let landed = flights
            .join(key(), PATIENCE, || async { panic!("in the call") })
            .await;
        assert_eq!(landed.result.unwrap_err(), Unavailable::Lost);
        assert_eq!(flights.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_is_bounded() {
        let flights = Flights::default();
        let landed = flights
            .join(key(), PATIENCE, std::future::pending::<CallResult>)
            .await;
        assert_eq!(landed.result.unwrap_err(), Unavailable::Timeout);
    }
}
