//! Whether the client of a request has subscribed to the API of its route.

use std::sync::Arc;

use super::{Snapshot, context::Context, refusal::Refusal};
use crate::{
    domain::{Denial, Grant, Outcome, Subscriber},
    subscription::Sought,
};

/// Finds out who calls; a route that validates subscriptions lets nobody else pass.
///
/// # Errors
/// There is no subscription, or one that does not allow it, or nobody can tell.
pub async fn check(
    snapshot: &Snapshot,
    grant: Option<&Grant>,
    context: &mut Context,
) -> Result<(), Refusal> {
    let Some(position) = context.route else {
        return Ok(());
    };
    let route = snapshot.route(position);
    let denial = match snapshot.api(position) {
        None => Some(Denial::SubscriptionMissing),
        Some(api) => match look_up(snapshot, grant, api).await {
            Ok(outcome) => judge(outcome, context),
            // Nobody can tell yet which of the upstreams it is for.
            Err(denial @ Denial::SubscriptionsNotReady) if snapshot.is_split(route) => {
                return Err(denial.into());
            }
            Err(denial) => Some(denial),
        },
    };
    match denial.filter(|_| route.validation.is_wanted(grant)) {
        Some(denial) => Err(denial.into()),
        None => Ok(()),
    }
}

/// Takes note of who it is; says why they may not call.
fn judge(outcome: Outcome, context: &mut Context) -> Option<Denial> {
    match outcome {
        Outcome::Known(subscriber) => {
            let allowed = match &subscriber.subscription {
                Some(known) => known.state.check(subscriber.key_type),
                None => Err(Denial::SubscriptionMissing),
            };
            context.subscriber = Some(subscriber);
            allowed.err()
        }
        Outcome::Unknown(_, subscriber) => {
            context.subscriber = Some(subscriber).filter(Subscriber::is_known);
            Some(Denial::SubscriptionMissing)
        }
    }
}

async fn look_up(
    snapshot: &Snapshot,
    grant: Option<&Grant>,
    api: &Arc<Sought>,
) -> Result<Outcome, Denial> {
    let Some(subscriptions) = &snapshot.subscriptions else {
        return Err(Denial::SubscriptionsOff);
    };
    if !subscriptions.table.is_ready() {
        return Err(Denial::SubscriptionsNotReady);
    }
    // A client id is one of its key manager.
    let client = grant.and_then(|grant| Some((grant.client_id()?, grant.vouched_by().known_as())));
    let (client_id, key_manager) = client.ok_or(Denial::NoClientId)?;
    Ok(subscriptions.look_up(client_id, key_manager, api).await)
}
