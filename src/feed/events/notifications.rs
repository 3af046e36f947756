//! What API Manager tells about its subscriptions, into the table.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    changes::Effect,
    consumer::unix_time,
    envelope::{Malformed, Notification},
    event_kind::EventKind,
};
use crate::{
    domain::{ApiIdentity, Change, Edit, Millis, Row},
    feed::api_manager::Resync,
    subscription::Table,
};

/// A list counts from the whole second in which it was asked for. One that is to be newer than an event
/// must begin in a later second.
const NEXT_SECOND: Duration = Duration::from_millis(1_100);

/// See the module.
pub struct Notifications {
    table: Arc<Table>,
    resync: Resync,
    /// Whose events count.
    tenant: Box<str>,
    /// A reading of lists is due soon.
    is_due: Arc<AtomicBool>,
}

impl Notifications {
    pub fn new(table: &Arc<Table>, resync: Resync, tenant: &str) -> Self {
        Self {
            table: Arc::clone(table),
            resync,
            tenant: tenant.into(),
            is_due: Arc::default(),
        }
    }

    /// The queue is bound: whatever changed before may have been missed, and nothing will be from now on.
    pub fn begin(&self) {
        self.resync.ask();
    }

    /// Takes a message; `None`: it is about another tenant. Must be called on a runtime.
    ///
    /// # Errors
    /// [`Malformed`]; it changes nothing then.
    pub fn take(&self, body: &[u8]) -> Result<Option<EventKind>, Malformed> {
        let notification = Notification::parse(body)?;
        let now = Millis::try_from(unix_time().as_millis()).unwrap_or(Millis::MAX);
        match notification.effect(&self.tenant, now)? {
            Effect::Apply(change) => drop(self.table.apply(change)),
            Effect::ApplyAndReload(change) => {
                self.table.apply(self.with_tier(change));
                self.reload_soon();
            }
            Effect::Reload => self.reload_soon(),
            Effect::OtherTenant => return Ok(None),
            Effect::Nothing => {}
        }
        Ok(Some(notification.kind))
    }

    /// An event does not have the tier of its API; the last one that is known is better than none.
    fn with_tier(&self, mut change: Change) -> Change {
        if let Edit::Put(Row::Api(api)) = &mut change.what {
            let identity = ApiIdentity {
                name: api.name.clone(),
                version: api.version.clone(),
                context: None,
            };
            let known = self.table.api(&identity);
            api.policy = known
                .filter(|known| known.id == api.id)
                .and_then(|known| known.policy.clone());
        }
        change
    }

    /// Many events at once need one reading.
    fn reload_soon(&self) {
        if self.is_due.swap(true, Ordering::Relaxed) {
            return;
        }
        let (resync, is_due) = (self.resync.clone(), Arc::clone(&self.is_due));
        tokio::spawn(async move {
            tokio::time::sleep(NEXT_SECOND).await;
            is_due.store(false, Ordering::Relaxed);
            resync.ask();
        });
    }
}
