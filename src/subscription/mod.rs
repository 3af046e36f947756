//! Who has subscribed to what: one table in memory, whatever the source.
//!
//! Rows come as lists ([`Table::begin`]) and as single changes ([`Table::apply`]), in any order and
//! at the same time. Of each row the newest word counts, by the source's own clock; a list is the
//! source's word about every row of its kind, those included that are not in it. So the order of
//! arrival does not matter.
//!
//! A request reads under the lock of one shard at a time, which writers hold for one row. Only a
//! client or an API that the table does not know makes it wait: the source is asked ([`Desk`]).

mod apis;
mod clients;
mod desk;
mod names;
mod shelf;
mod table;

use std::sync::Arc;

use crate::{domain::Outcome, metrics::SourceHealth};

pub use apis::{Sought, near_names};
pub use desk::{Desk, Question, Questions};
pub use names::Names;
pub use table::{Load, Loaded, Table};

/// What requests ask about subscriptions.
pub struct Subscriptions {
    pub table: Arc<Table>,
    /// `None`: the source says everything that it knows by itself.
    pub desk: Option<Desk>,
    /// How it is with their source.
    pub health: Arc<SourceHealth>,
}

impl Subscriptions {
    /// What is known, after the source was asked if nothing was.
    pub async fn look_up(
        &self,
        client_id: &str,
        key_manager: Option<&str>,
        api: &Arc<Sought>,
    ) -> Outcome {
        let known = self.table.check(client_id, key_manager, api);
        let (Outcome::Unknown(..), Some(desk)) = (&known, &self.desk) else {
            return known;
        };
        if !desk.ask(client_id, key_manager, api).await {
            return known;
        }
        let known = self.table.check(client_id, key_manager, api);
        if matches!(known, Outcome::Unknown(..)) {
            desk.remember_unknown(client_id, key_manager, api);
        }
        known
    }
}
