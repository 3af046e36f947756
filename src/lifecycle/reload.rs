//! Asking for a reload, and hearing what came of it. The server does it, one at a time.

use tokio::sync::{mpsc, oneshot};

/// Reloads that may wait for their turn; more are refused.
const WAITING: usize = 4;

/// Asks for reloads.
#[derive(Clone)]
pub struct Reloader(mpsc::Sender<oneshot::Sender<Outcome>>);

/// Hears of them.
pub struct Requests(mpsc::Receiver<oneshot::Sender<Outcome>>);

/// What came of a reload, with words for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The new configuration is in force.
    TakenUp(String),
    /// The old one is, because the new one is wrong.
    Refused(String),
    /// The old one is, because the new one changes what only a new process can.
    NeedsUpgrade(String),
    /// The old one is, because nobody could look.
    Busy,
}

pub fn channel() -> (Reloader, Requests) {
    let (ask, asked) = mpsc::channel(WAITING);
    (Reloader(ask), Requests(asked))
}

impl Reloader {
    /// Asks, and waits for the outcome.
    pub async fn reload(&self) -> Outcome {
        let (answer, answered) = oneshot::channel();
        match self.0.try_send(answer) {
            Ok(()) => answered.await.unwrap_or(Outcome::Busy),
            Err(_) => Outcome::Busy,
        }
    }
}

impl Requests {
    /// The next one who asks; `None`: nobody can any more.
    pub async fn next(&mut self) -> Option<oneshot::Sender<Outcome>> {
        self.0.recv().await
    }
}

impl Outcome {
    pub fn words(&self) -> &str {
        match self {
            Self::TakenUp(words) | Self::Refused(words) | Self::NeedsUpgrade(words) => words,
            Self::Busy => "other reloads are waiting, or the gateway is ending: try again",
        }
    }
}
