//! What is told of one piece of work in a trace.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::TraceContext;

/// A piece of work that is over.
#[derive(Clone, Debug)]
pub struct Span {
    pub context: TraceContext,
    pub kind: Kind,
    pub name: String,
    /// Since 1970.
    pub start: Duration,
    pub end: Duration,
    pub attributes: Vec<(&'static str, Value)>,
    /// What went wrong, in a word.
    pub fault: Option<&'static str>,
}

/// Whose work it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours, for a client.
    Server,
    /// Another server's, for us.
    Client,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Word(&'static str),
    Text(String),
    Number(i64),
    Flag(bool),
}

/// Turns moments of the monotonic clock into dates.
#[derive(Clone, Copy)]
pub struct Dates {
    instant: Instant,
    since_1970: Duration,
}

impl Dates {
    /// `now` is this moment.
    pub fn at(now: Instant) -> Self {
        Self {
            instant: now,
            since_1970: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }

    /// A moment that has passed.
    pub fn date(&self, moment: Instant) -> Duration {
        let ago = self.instant.saturating_duration_since(moment);
        self.since_1970.saturating_sub(ago)
    }
}
