//! Consumer keys, which several key managers may have given to different clients.

use std::hash::{Hash, Hasher};

use super::names::{Name, Names};
use crate::domain::{KeyType, Millis};

/// A consumer key as its keyed digest, with its key manager.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientKey {
    pub digest: [u64; 2],
    pub key_manager: At,
}

impl Hash for ClientKey {
    /// The same for all key managers.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest[0]);
    }
}

/// Where a client is registered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// At a key manager that the source does not name.
    Unnamed,
    /// At all of them, for a removal. `Unnamed` will not do, since the key may be there anew.
    Everywhere,
    Named(Name),
}

impl At {
    /// `None`: there are too many names.
    pub fn new(key_manager: &str, names: &Names) -> Option<Self> {
        match key_manager {
            "" => Some(Self::Unnamed),
            name => names.number(name).map(Self::Named),
        }
    }
}

/// Whose a consumer key is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client {
    pub application: u32,
    pub key_type: KeyType,
}

/// What is known of one consumer key at the key managers that a request may be of.
#[derive(Default)]
pub struct Namesakes {
    /// Where the key manager is known: the client, with the time of the last word about one of them.
    named: Option<(Client, Millis)>,
    /// Two key managers say two things.
    is_ambiguous: bool,
    /// When it was last removed at one of these key managers.
    removed: Option<Millis>,
    /// Of whatever key manager.
    unnamed: Option<(Client, Millis)>,
}

impl Namesakes {
    /// Takes note of a row; without a client it was removed.
    pub fn add(&mut self, is_named: bool, client: Option<Client>, at: Millis) {
        match (client, is_named) {
            (None, _) => self.removed = self.removed.max(Some(at)),
            (Some(client), false) => self.unnamed = Some((client, at)),
            (Some(client), true) => {
                let before = *self.named.get_or_insert((client, at));
                self.is_ambiguous |= before.0 != client;
                self.named = Some((client, at.max(before.1)));
            }
        }
    }

    /// The one that is meant, if that is certain. The newest word counts; of two at the same time the one
    /// that is as exact as the question. `is_of_one`: whether the question names a key manager.
    pub fn one(self, is_of_one: bool) -> Option<Client> {
        let removed = self.removed;
        // What was removed at a key manager may be this one.
        let is_there = |at: Millis| removed.is_none_or(|removed| removed < at);
        let unnamed = self.unnamed.filter(|(_, at)| is_there(*at));
        match (self.named, unnamed) {
            (None, unnamed) => unnamed.map(|(client, _)| client),
            (Some((_, known)), Some((client, at))) if at > known || (at == known && !is_of_one) => {
                Some(client)
            }
            _ if self.is_ambiguous => None,
            (Some((client, _)), Some((other, _))) if !is_of_one && client != other => None,
            (Some((client, _)), _) => Some(client),
        }
    }
}
