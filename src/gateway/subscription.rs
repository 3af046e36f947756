//! Whether the client of a request has subscribed to the API of its route.

use std::sync::Arc;

use super::{Snapshot, context::Context, refusal::Refusal};
use crate::{
    config::{JwtIssuerSettings, KeyManagerSettings},
    domain::{Denial, Grant, Outcome, Subscriber},
    subscription::Sought,
};

/// As which key manager the source of subscriptions knows whoever vouches for a token: a client id is one
/// of its key manager.
#[derive(Default)]
pub struct KnownAs {
    key_manager: Option<Box<str>>,
    /// By `iss`, those of which the configuration says it; there are a few.
    issuers: Box<[(Box<str>, Box<str>)]>,
}

impl KnownAs {
    pub fn new(key_manager: Option<&KeyManagerSettings>, issuers: &[JwtIssuerSettings]) -> Self {
        let name = |name: &Option<String>| name.as_deref().map(Box::from);
        let issuer = |settings: &JwtIssuerSettings| {
            let known_as = name(&settings.known_as)?;
            Some((settings.issuer.as_str().into(), known_as))
        };
        Self {
            key_manager: key_manager.and_then(|settings| name(&settings.known_as)),
            issuers: issuers.iter().filter_map(issuer).collect(),
        }
    }

    /// `None`: the configuration does not say.
    fn of(&self, grant: &Grant) -> Option<&str> {
        if grant.vouched_by().is_none() {
            return self.key_manager.as_deref();
        }
        // What is signed was compared with this.
        let issuer = grant.issuer()?;
        let mut issuers = self.issuers.iter();
        let (_, name) = issuers.find(|(known, _)| **known == *issuer)?;
        Some(name)
    }
}

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
    let client = grant.and_then(|grant| Some((grant.client_id()?, snapshot.known_as.of(grant))));
    let (client_id, key_manager) = client.ok_or(Denial::NoClientId)?;
    Ok(subscriptions.look_up(client_id, key_manager, api).await)
}
