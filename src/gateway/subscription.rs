//! Whether the client of a request has subscribed to the API of its route.

use std::sync::Arc;

use super::{Snapshot, context::Context, refusal::Refusal};
use crate::domain::{ApiIdentity, Denial, Grant, Outcome, Subscriber};

/// Finds out who calls; a route that validates subscriptions lets nobody else pass.
///
/// # Errors
/// There is no subscription, or one that does not allow it, or nobody can tell.
pub async fn check(
    snapshot: &Snapshot,
    grant: Option<&Grant>,
    context: &mut Context,
) -> Result<(), Refusal> {
    let Some(route) = context.route.map(|route| snapshot.route(route)) else {
        return Ok(());
    };
    let Some(api) = &route.api else {
        return Ok(());
    };
    let found = look_up(snapshot, grant, api).await;
    let denial = match found {
        Ok(Outcome::Known(subscriber)) => {
            let state = subscriber.subscription.as_ref().map(|known| known.state);
            let key_type = subscriber.key_type;
            context.subscriber = Some(subscriber);
            state.and_then(|state| state.check(key_type).err())
        }
        Ok(Outcome::Unknown(_, subscriber)) => {
            context.subscriber = Some(subscriber).filter(Subscriber::is_known);
            Some(Denial::SubscriptionMissing)
        }
        Err(denial) => Some(denial),
    };
    match denial.filter(|_| route.validation.is_wanted(grant)) {
        Some(denial) => Err(denial.into()),
        None => Ok(()),
    }
}

async fn look_up(
    snapshot: &Snapshot,
    grant: Option<&Grant>,
    api: &Arc<ApiIdentity>,
) -> Result<Outcome, Denial> {
    let Some(subscriptions) = &snapshot.subscriptions else {
        return Err(Denial::SubscriptionsOff);
    };
    if !subscriptions.table.is_ready() {
        return Err(Denial::SubscriptionsNotReady);
    }
    let client_id = grant.and_then(Grant::client_id).ok_or(Denial::NoClientId)?;
    Ok(subscriptions.look_up(client_id, None, api).await)
}
