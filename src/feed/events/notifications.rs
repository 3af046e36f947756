//! What API Manager tells about its subscriptions, into the table.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{
    changes::Effect,
    envelope::{Malformed, Notification},
    event_kind::EventKind,
};
use crate::{
    domain::{ApiIdentity, Change, Edit, Row},
    feed::api_manager::{Clock, NEXT_SECOND, Resync},
    subscription::Table,
};

/// See the module.
pub struct Notifications {
    table: Arc<Table>,
    resync: Resync,
    /// Of the source.
    clock: Arc<Clock>,
    /// Whose events count.
    tenant: Box<str>,
    /// A reading of lists is due soon.
    is_due: Arc<AtomicBool>,
}

impl Notifications {
    pub fn new(table: &Arc<Table>, resync: Resync, clock: Arc<Clock>, tenant: &str) -> Self {
        Self {
            table: Arc::clone(table),
            resync,
            clock,
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
    /// [`Malformed`]; it changes nothing then, but lists are read again, since it may have told of something
    /// that matters.
    pub fn take(&self, body: &[u8]) -> Result<Option<EventKind>, Malformed> {
        let taken = Notification::parse(body).and_then(|notification| self.follow(&notification));
        taken.inspect_err(|_| self.resync.doubt())
    }

    fn follow(&self, notification: &Notification) -> Result<Option<EventKind>, Malformed> {
        match notification.effect(&self.tenant, self.clock.now())? {
            Effect::Apply(change) => self.apply(change),
            Effect::ApplyAndReload(change) => {
                self.apply(self.with_tier(change));
                self.reload_soon();
            }
            Effect::ApplyInDoubt(change) => {
                self.apply(self.with_tier(change));
                self.resync.doubt();
            }
            Effect::Reload => self.reload_soon(),
            Effect::OtherTenant => return Ok(None),
            Effect::Nothing => {}
        }
        Ok(Some(notification.kind))
    }

    /// Where something newer is known, either the events have come in another order, or the clock of the
    /// source was put back: then the lists know better.
    fn apply(&self, change: Change) {
        if !self.table.apply(change) {
            self.resync.doubt();
        }
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
