//! Questions about clients and APIs that the table does not know: asked once, however many requests
//! wait, and not again for a while if there was no answer.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::Sought;

/// Questions that may wait for the source. Beyond these the answer is what the table says.
const MOST_WAITING: usize = 256;
/// Clients and APIs that are remembered as unknown.
const MOST_UNKNOWN: usize = 10_000;
/// Longest time that a request waits for the source.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whom requests ask.
pub struct Desk {
    questions: mpsc::Sender<Question>,
    random: RandomState,
    /// How long a pair is remembered as unknown.
    unknown_ttl: Duration,
    pending: Arc<Pending>,
    unknown: Mutex<HashMap<Pair, Instant>>,
}

/// Digest of a client and an API.
type Pair = u64;

/// Questions that are under way.
type Pending = Mutex<HashMap<Pair, watch::Receiver<()>>>;

/// What a source is asked. It is answered by dropping it, once the table has whatever was found.
pub struct Question {
    pub client_id: Box<str>,
    /// Of the key manager, where there are several.
    pub key_manager: Option<Box<str>>,
    pub api: Arc<Sought>,
    _place: Place,
}

/// The end of a question, and of its place among those under way.
struct Place {
    pair: Pair,
    pending: Arc<Pending>,
    _done: watch::Sender<()>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pending.lock().remove(&self.pair);
    }
}

/// Where the source takes its questions.
pub type Questions = mpsc::Receiver<Question>;

impl Desk {
    /// `unknown_ttl`: how long a pair that the source does not know is not asked about again.
    pub fn new(unknown_ttl: Duration) -> (Self, Questions) {
        let (questions, asked) = mpsc::channel(MOST_WAITING);
        let desk = Self {
            questions,
            random: RandomState::new(),
            unknown_ttl,
            pending: Arc::default(),
            unknown: Mutex::default(),
        };
        (desk, asked)
    }

    /// Asks the source, or waits for who has asked. Afterwards the table knows whatever the source
    /// does; false: there is nothing new in it.
    pub async fn ask(&self, client_id: &str, key_manager: Option<&str>, api: &Arc<Sought>) -> bool {
        let pair = self.pair(client_id, key_manager, api);
        if self.is_unknown(pair) {
            return false;
        }
        let question = |place| Question {
            client_id: client_id.into(),
            key_manager: key_manager.map(Box::from),
            api: Arc::clone(api),
            _place: place,
        };
        let Some(mut done) = self.join(pair, question) else {
            return false;
        };
        // Nothing is ever sent: the end of the question is the end of its sender.
        let waited = tokio::time::timeout(PATIENCE, done.changed()).await;
        if waited.is_err() {
            self.remember(pair);
        }
        waited.is_ok()
    }

    /// The source was asked about the pair, and the table still does not know it.
    pub fn remember_unknown(&self, client_id: &str, key_manager: Option<&str>, api: &Sought) {
        self.remember(self.pair(client_id, key_manager, api));
    }

    fn pair(&self, client_id: &str, key_manager: Option<&str>, api: &Sought) -> Pair {
        self.random
            .hash_one((client_id, key_manager, api.identity()))
    }

    fn remember(&self, pair: Pair) {
        let now = Instant::now();
        let mut unknown = self.unknown.lock();
        if unknown.len() >= MOST_UNKNOWN {
            unknown.retain(|_, until| *until > now);
        }
        if unknown.len() >= MOST_UNKNOWN {
            unknown.clear();
        }
        unknown.insert(pair, now + self.unknown_ttl);
    }

    fn is_unknown(&self, pair: Pair) -> bool {
        let mut unknown = self.unknown.lock();
        match unknown.get(&pair) {
            Some(until) if *until > Instant::now() => true,
            Some(_) => {
                unknown.remove(&pair);
                false
            }
            None => false,
        }
    }

    /// The end of the question that is under way for the pair, or of a new one; `None`: too many wait,
    /// or nobody answers.
    fn join(
        &self,
        pair: Pair,
        question: impl FnOnce(Place) -> Question,
    ) -> Option<watch::Receiver<()>> {
        let place = {
            let mut pending = self.pending.lock();
            if let Some(done) = pending.get(&pair) {
                return Some(done.clone());
            }
            let (sender, done) = watch::channel(());
            pending.insert(pair, done);
            Place {
                pair,
                pending: Arc::clone(&self.pending),
                _done: sender,
            }
        };
        let done = self.pending.lock().get(&pair).cloned();
        // A question that finds no room is dropped, and its place with it.
        self.questions.try_send(question(place)).ok()?;
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ApiIdentity;

    fn api() -> Arc<Sought> {
        let identity = ApiIdentity {
            name: "Pizza".into(),
            version: "1".into(),
            context: None,
        };
        Arc::new(Sought::new(identity))
    }

    #[tokio::test]
    async fn many_who_wait_ask_once() {
        let (desk, mut questions) = Desk::new(Duration::from_secs(5));
        let desk = Arc::new(desk);
        let waiting: Vec<_> = (0..50)
            .map(|_| {
                let desk = Arc::clone(&desk);
                tokio::spawn(async move { desk.ask("ck", None, &api()).await })
            })
            .collect();
        let question = questions.recv().await.unwrap();
        assert_eq!(&*question.client_id, "ck");
        // One of them stands among those under way.
        while question._place._done.receiver_count() < 51 {
            tokio::task::yield_now().await;
        }
        drop(question);
        for waiting in waiting {
            assert!(waiting.await.unwrap());
        }
        assert!(questions.try_recv().is_err());
        assert!(desk.pending.lock().is_empty());
    }

    #[tokio::test]
    async fn what_is_unknown_is_not_asked_again_for_a_while() {
        let (desk, mut questions) = Desk::new(Duration::from_secs(60));
        let api = api();
        let answer = async { drop(questions.recv().await) };
        let (asked, ()) = tokio::join!(desk.ask("ck", None, &api), answer);
        assert!(asked);
        desk.remember_unknown("ck", None, &api);
        assert!(!desk.ask("ck", None, &api).await);
        assert!(questions.try_recv().is_err());
        // Another key manager's client is another one.
        let answer = async { drop(questions.recv().await) };
        let (asked, ()) = tokio::join!(desk.ask("ck", Some("two"), &api), answer);
        assert!(asked);
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded() {
        let (desk, _questions) = Desk::new(Duration::from_secs(60));
        for client in 0..3 * MOST_UNKNOWN {
            desk.remember_unknown(&client.to_string(), None, &api());
        }
        assert!(desk.unknown.lock().len() <= MOST_UNKNOWN);
    }

    #[tokio::test]
    async fn a_source_that_is_gone_or_busy_answers_no() {
        let (desk, mut questions) = Desk::new(Duration::from_secs(60));
        questions.close();
        assert!(!desk.ask("ck", None, &api()).await);
        assert!(desk.pending.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let (desk, _questions) = Desk::new(Duration::from_secs(60));
        assert!(!desk.ask("ck", None, &api()).await);
        assert!(desk.is_unknown(desk.pair("ck", None, &api())));
    }
}
