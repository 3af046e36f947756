//! Who stands behind what is known of a token.

use std::sync::atomic::{AtomicBool, Ordering};

/// A key manager; or a key, for as long as its issuer publishes it. All that is known by it refers to it, so
/// that everything can be withdrawn at once.
#[derive(Debug, Default)]
pub struct VouchedBy {
    withdrawn: AtomicBool,
    known_as: Option<Box<str>>,
    validates: Option<bool>,
}

impl VouchedBy {
    /// `known_as`: see [`known_as`](Self::known_as). `validates`: whether the clients of its tokens must have
    /// subscribed, if its settings say anything about it.
    pub fn new(known_as: Option<&str>, validates: Option<bool>) -> Self {
        Self {
            withdrawn: AtomicBool::new(false),
            known_as: known_as.map(Box::from),
            validates,
        }
    }

    /// The key manager at which its clients are registered, since a client id is one of its key manager.
    /// `None`: the configuration does not say; all for which it does not say it share their clients.
    pub fn known_as(&self) -> Option<&str> {
        self.known_as.as_deref()
    }

    pub fn validates_subscriptions(&self) -> Option<bool> {
        self.validates
    }

    /// It is no good any more, and so is what it vouched for.
    pub fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Release);
    }

    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Acquire)
    }
}
