//! Tiers in the life of a request: what it counts for, by its route, its subscription and its application.
//!
//! The keys are those of the original: an API; a route; an application and an API; an application and its
//! user. Who sends no token is counted by address and API.

use std::{net::IpAddr, sync::Arc};

use super::{Snapshot, context::Context, limits};
use crate::{
    auth::Moment,
    domain::{Denial, Grant, PolicyKind, Route, RouteTable, Subscriber, Tier, TierBook, TierKind},
    limits::{At, Claim, Key, TierCounts, address_key},
};

/// The tiers of a configuration, and what has been counted.
pub struct Tiers {
    book: TierBook,
    counts: Arc<TierCounts>,
    /// By the position of the route.
    routes: Box<[OfRoute]>,
}

/// What every request of a route counts for.
struct OfRoute {
    api: Option<Claim>,
    resource: Option<Claim>,
    /// The API that it is of.
    identity: Option<u128>,
}

/// What a request has been counted for.
pub struct Taken<'s> {
    counts: &'s TierCounts,
    claims: [Option<Claim>; 4],
    at: At,
}

impl OfRoute {
    fn has_any(&self) -> bool {
        self.api.is_some() || self.resource.is_some() || self.identity.is_some()
    }
}

impl Taken<'_> {
    /// It goes no further, so it shall not count.
    pub fn give_back(&self) {
        self.counts.give_back(&self.claims, self.at);
    }
}

impl Tiers {
    pub fn new(book: TierBook, counts: Arc<TierCounts>, routes: &RouteTable) -> Self {
        let of_route = |route: &Route| {
            let identity = route.api.as_deref();
            let identity = identity.map(|api| counts.key((&*api.name, &*api.version)));
            let claim = |kind, key, tier| Some(Claim { kind, key, tier });
            OfRoute {
                api: route
                    .tiers
                    .api
                    .zip(identity)
                    .and_then(|(tier, key)| claim(TierKind::Api, key, tier)),
                resource: route
                    .tiers
                    .resource
                    .and_then(|tier| claim(TierKind::Resource, counts.key(&*route.name), tier)),
                identity,
            }
        };
        Self {
            routes: routes.routes().iter().map(of_route).collect(),
            book,
            counts,
        }
    }
}

/// Counts the request for all its tiers; `None`: there is none that counts it. `grant`: `None` on a public
/// route.
///
/// # Errors
/// One of them has none left, or nobody knows what it allows. Then the request is not counted at all.
pub fn take<'s>(
    snapshot: &'s Snapshot,
    grant: Option<&Grant>,
    context: &Context,
) -> Result<Option<Taken<'s>>, Denial> {
    let tiers = &snapshot.tiers;
    let route = context.route.map(|position| &tiers.routes[position]);
    let Some(route) = route.filter(|route| route.has_any()) else {
        return Ok(None);
    };
    let [subscription, application] = match route.identity {
        Some(identity) => of_caller(snapshot, identity, grant, context)?,
        None => [None; 2],
    };
    let of_route = route.api.is_some() || route.resource.is_some();
    if !of_route && subscription.is_none() && application.is_none() {
        return Ok(None);
    }
    // In the order of `TierKind`.
    let claims = [route.api, route.resource, subscription, application];
    let at = at(&context.started);
    let taken = tiers.counts.take(&claims, at);
    taken.map_err(|(kind, standing)| Denial::TierExceeded {
        kind,
        retry_after: limits::seconds(standing.wait),
    })?;
    Ok(Some(Taken {
        counts: &tiers.counts,
        claims,
        at,
    }))
}

fn at(moment: &Moment) -> At {
    At {
        instant: moment.instant,
        unix: moment.unix,
    }
}

/// By subscription and by application, on a route of the API `identity`.
fn of_caller(
    snapshot: &Snapshot,
    identity: u128,
    grant: Option<&Grant>,
    context: &Context,
) -> Result<[Option<Claim>; 2], Denial> {
    let Some(grant) = grant else {
        let claim = context
            .caller
            .client
            .and_then(|address| unauthenticated(snapshot, identity, address));
        return Ok([claim, None]);
    };
    let subscriber = context.subscriber.as_ref();
    let subscription = match subscriber.and_then(|known| known.subscription.as_ref()) {
        Some(_) => by_subscription(snapshot, subscriber)?,
        None => by_default(snapshot, identity, grant),
    };
    Ok([subscription, by_application(snapshot, subscriber, grant)?])
}

fn unauthenticated(snapshot: &Snapshot, identity: u128, address: IpAddr) -> Option<Claim> {
    let tier = known(
        snapshot,
        PolicyKind::Subscription,
        TierBook::UNAUTHENTICATED,
    )?;
    let Key::Number(address) = address_key(address) else {
        return None;
    };
    Some(Claim {
        kind: TierKind::Subscription,
        key: snapshot.tiers.counts.key((identity, address)),
        tier,
    })
}

/// A client of whom no subscription is known. The original counts all of them together, so that one of them
/// takes from the others.
fn by_default(snapshot: &Snapshot, identity: u128, grant: &Grant) -> Option<Claim> {
    let tier = known(snapshot, PolicyKind::Subscription, TierBook::DEFAULT)?;
    Some(Claim {
        kind: TierKind::Subscription,
        key: snapshot.tiers.counts.key((
            identity,
            grant.vouched_by().known_as(),
            grant.client_id(),
        )),
        tier,
    })
}

fn by_subscription(
    snapshot: &Snapshot,
    subscriber: Option<&Subscriber>,
) -> Result<Option<Claim>, Denial> {
    let known =
        subscriber.and_then(|known| known.application.as_ref().zip(known.subscription.as_ref()));
    let Some((application, subscription)) = known else {
        return Ok(None);
    };
    let tier = find(snapshot, PolicyKind::Subscription, subscription.policy)?;
    let (application, api) = (u128::from(application.id), u128::from(subscription.api));
    Ok(tier.map(|tier| Claim {
        kind: TierKind::Subscription,
        key: application << u32::BITS | api,
        tier,
    }))
}

fn by_application(
    snapshot: &Snapshot,
    subscriber: Option<&Subscriber>,
    grant: &Grant,
) -> Result<Option<Claim>, Denial> {
    let Some(application) = subscriber.and_then(|known| known.application.as_ref()) else {
        return Ok(None);
    };
    let tier = find(snapshot, PolicyKind::Application, &application.policy)?;
    Ok(tier.map(|tier| {
        let claims = grant.claims();
        let user = claims.text("username").or_else(|| claims.text("sub"));
        Claim {
            kind: TierKind::Application,
            key: snapshot.tiers.counts.key((application.id, user)),
            tier,
        }
    }))
}

/// What a tier's name means: the word of the configuration, or else that of the source of subscriptions.
fn known(snapshot: &Snapshot, kind: PolicyKind, name: &str) -> Option<Tier> {
    if let Some(tier) = snapshot.tiers.book.of(kind).get(name) {
        return Some(*tier);
    }
    let source = snapshot.subscriptions.as_ref()?;
    let policy = source.table.policy(kind, name)?;
    Some(Tier::from(&*policy))
}

/// The same of a subscription or an application; `None`: nothing is counted.
///
/// # Errors
/// Nobody knows it, though others are known.
fn find(snapshot: &Snapshot, kind: PolicyKind, name: &str) -> Result<Option<Tier>, Denial> {
    if TierBook::is_unlimited(name) {
        return Ok(None);
    }
    if let Some(tier) = known(snapshot, kind, name) {
        return Ok(Some(tier));
    }
    let source = snapshot.subscriptions.as_ref();
    let has_others = !snapshot.tiers.book.of(kind).is_empty()
        || source.is_some_and(|source| source.table.has_policies(kind));
    match has_others {
        true => Err(Denial::UnknownTier),
        false => Ok(None),
    }
}
