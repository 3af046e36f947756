//! The requests that were refused last, for the status page. Without tokens and query strings, like the
//! access log.

use std::{collections::VecDeque, net::IpAddr, time::SystemTime};

use http::StatusCode;
use parking_lot::Mutex;

use crate::domain::{KnownMethod, Reason};

/// How many are remembered.
const MOST: usize = 20;
/// Longest path that is remembered, in bytes.
const MAX_PATH: usize = 200;

/// A request that was refused, or failed.
#[derive(Clone, Debug)]
pub struct Refused {
    pub at: SystemTime,
    pub status: StatusCode,
    pub reason: Reason,
    pub method: KnownMethod,
    /// As the client sent it, cut.
    pub path: String,
    /// `None`: no route was found.
    pub route: Option<String>,
    pub client: Option<IpAddr>,
    pub trace_id: String,
}

/// A few of them, the last ones.
#[derive(Default)]
pub struct LastRefused(Mutex<VecDeque<Refused>>);

impl LastRefused {
    /// Remembers what `make` tells. Where many are refused at a time some are left out: nobody waits to
    /// be remembered.
    pub fn push(&self, make: impl FnOnce() -> Refused) {
        let Some(mut last) = self.0.try_lock() else {
            return;
        };
        if last.len() == MOST {
            last.pop_back();
        }
        last.push_front(make());
    }

    /// The last one first.
    pub fn all(&self) -> Vec<Refused> {
        self.0.lock().iter().cloned().collect()
    }
}

/// So much of a path as is remembered.
pub fn cut(path: &str) -> String {
    path[..path.floor_char_boundary(MAX_PATH)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_remembered() {
        let last = LastRefused::default();
        for number in 0..30 {
            last.push(|| Refused {
                at: SystemTime::now(),
                status: StatusCode::UNAUTHORIZED,
                reason: Reason::NoToken,
                method: KnownMethod::Get,
                path: cut(&format!("/{number}/{}", "é".repeat(200))),
                route: None,
                client: None,
                trace_id: String::new(),
            });
        }
        let all = last.all();
        assert_eq!(all.len(), MOST);
        assert!(all[0].path.starts_with("/29/") && all[19].path.starts_with("/10/"));
        assert!(all[0].path.len() <= MAX_PATH);
    }
}
