//! Single rows, for a client and an API of which the table does not know enough.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::rest::{NoAnswer, Rest, Sink};
use crate::{
    domain::{ApiIdentity, Change, Edit, Millis, Missing, Outcome, Row, RowKind},
    metrics::RowFault,
    subscription::{Questions, Sought, Table},
};

/// Questions that are put at the same time.
const AT_ONCE: usize = 8;

/// Looks for the answers to questions.
pub struct Misses {
    pub rest: Arc<Rest>,
    pub table: Arc<Table>,
    pub questions: Questions,
}

impl Misses {
    /// Until nobody can ask any more.
    pub async fn answer(mut self) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        while let Some(question) = self.questions.recv().await {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let (rest, table) = (Arc::clone(&self.rest), Arc::clone(&self.table));
            tokio::task::spawn_blocking(move || {
                let client = (&*question.client_id, question.key_manager.as_deref());
                if let Err(cause) = look_up(&rest, &table, client, &question.api) {
                    tracing::warn!(%cause, "the API Manager could not be asked about a client");
                }
                // Who has asked looks into the table now.
                drop((question, place));
            });
        }
    }
}

/// Asks for what is missing, row by row, until the table knows enough or the API Manager knows nothing.
/// Blocks.
///
/// # Errors
/// Nobody knows whether there is a subscription.
pub fn look_up(
    rest: &Rest,
    table: &Table,
    (client_id, key_manager): (&str, Option<&str>),
    api: &Sought,
) -> Result<(), NoAnswer> {
    // So many things can be missing.
    const STEPS: usize = 4;
    for _ in 0..STEPS {
        let Outcome::Unknown(missing, _) = table.check(client_id, key_manager, api) else {
            break;
        };
        let mut found = Found::default();
        let known = match missing {
            Missing::KeyMapping => {
                let query = [("consumerKey", client_id)];
                rest.find(RowKind::KeyMappings, &query, &mut found)?;
                found.put_into(
                    table,
                    |row| matches!(row, Row::KeyMapping(row) if *row.consumer_key == *client_id),
                )
            }
            Missing::Application(id) => {
                let query = [("appId", &*id.to_string())];
                rest.find(RowKind::Applications, &query, &mut found)?;
                found.put_into(
                    table,
                    |row| matches!(row, Row::Application(row) if row.id == id),
                )
            }
            Missing::Api => find_api(rest, table, api.identity())?,
            Missing::Subscription { application, api } => {
                let query = [
                    ("apiId", &*api.to_string()),
                    ("appId", &*application.to_string()),
                ];
                rest.find(RowKind::Subscriptions, &query, &mut found)?;
                found.put_into(table, |row| {
                    matches!(row, Row::Subscription(row) if (row.application, row.api) == (application, api))
                })
            }
        };
        if !known {
            break;
        }
    }
    Ok(())
}

/// API Manager's own paths end with the version; one that a route is given may leave it out.
fn find_api(rest: &Rest, table: &Table, api: &ApiIdentity) -> Result<bool, NoAnswer> {
    let Some(context) = &api.context else {
        return Ok(false);
    };
    let end = format!("/{}", api.version);
    let base = context.strip_suffix(&end).unwrap_or(context);
    for context in [format!("{base}{end}"), base.to_owned()] {
        let query = [("context", &*context), ("version", &*api.version)];
        let mut found = Found::default();
        rest.find(RowKind::Apis, &query, &mut found)?;
        let known = found.put_into(table, |row| {
            matches!(row, Row::Api(row) if *row.context == *context && row.version == api.version)
        });
        if known {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The rows of an answer.
#[derive(Default)]
pub struct Found {
    pub at: Millis,
    pub rows: Vec<Row>,
}

impl Found {
    /// Puts those into the table that were asked for; whether there was one.
    fn put_into(self, table: &Table, is_asked_for: impl Fn(&Row) -> bool) -> bool {
        let at = self.at;
        let mut found = false;
        for row in self.rows.into_iter().filter(|row| is_asked_for(row)) {
            found = true;
            table.apply(Change {
                at,
                what: Edit::Put(row),
            });
        }
        found
    }
}

impl Sink for Found {
    fn begin(&mut self, at: Millis) -> bool {
        self.at = at;
        true
    }

    fn put(&mut self, row: Row) {
        /// A question is about one row; a server that does not know the parameter says all.
        const MOST: usize = 100_000;
        if self.rows.len() < MOST {
            self.rows.push(row);
        }
    }

    /// As if it were not there.
    fn skip(&mut self, _: RowFault) {}
}
