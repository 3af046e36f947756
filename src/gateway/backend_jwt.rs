//! The JWT that an upstream gets, made once for a caller and an API and used until it is nearly over.

use std::{collections::HashMap, sync::Arc};

use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;

use super::{Snapshot, context::Context};
use crate::{
    auth::Unavailable,
    domain::{About, BackendJwt, Grant, Route, Subscriber, UnixSeconds},
};

const SHARDS: usize = 16;
/// Most that are kept in one shard. What comes after that begins anew with an empty one.
const MOST: usize = 1_024;
/// Part of the life, in seconds at the most, in which one is not used any more.
const LONGEST_MARGIN: UnixSeconds = 10;

/// How they are made, and those that are there.
pub struct BackendJwts {
    settings: BackendJwt,
    shards: [Mutex<HashMap<Key, Entry>>; SHARDS],
}

/// The token's digest, and where the API is in memory: it lives as long as the snapshot that has this.
type Key = (u128, usize);

struct Entry {
    /// What it was made of: it holds for nothing else.
    grant: Arc<Grant>,
    subscriber: Option<Subscriber>,
    until: UnixSeconds,
    value: HeaderValue,
}

impl BackendJwts {
    pub fn new(settings: BackendJwt) -> Self {
        Self {
            settings,
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    pub fn header(&self) -> &HeaderName {
        &self.settings.header
    }
}

/// Gives the request its JWT, where the route's upstream gets one.
///
/// # Errors
/// It cannot be made. The request does not go on without it.
pub fn attach(
    snapshot: &Snapshot,
    grant: Option<&Arc<Grant>>,
    context: &mut Context,
) -> Result<(), Unavailable> {
    let (Some(jwts), Some(grant), Some(position), Some(token)) =
        (&snapshot.backend_jwts, grant, context.route, context.token)
    else {
        return Ok(());
    };
    let route = snapshot.route(position);
    if !route.backend_jwt || route.forward().is_none() {
        return Ok(());
    }
    let now = context.started.unix;
    let api = route.api.as_ref().map_or(0, |api| Arc::as_ptr(api).addr());
    let subscriber = context.subscriber.as_ref();
    let value = jwts.get((token.number(), api), grant, subscriber, route, now);
    context.backend_jwt = Some(value.ok_or(Unavailable::Lost)?);
    Ok(())
}

impl BackendJwts {
    fn get(
        &self,
        key: Key,
        grant: &Arc<Grant>,
        subscriber: Option<&Subscriber>,
        route: &Route,
        now: UnixSeconds,
    ) -> Option<HeaderValue> {
        let shard = &self.shards[key.0 as usize % SHARDS];
        if let Some(entry) = shard.lock().get(&key)
            && entry.until > now
            && Arc::ptr_eq(&entry.grant, grant)
            && entry.subscriber.as_ref() == subscriber
        {
            return Some(entry.value.clone());
        }
        let about = About {
            grant,
            subscriber,
            api: route.api.as_deref(),
        };
        let end = self.settings.end(grant, now);
        let value = self.settings.make(about, &random_id(), now, end)?;
        let margin = ((end - now) / 10).min(LONGEST_MARGIN);
        let entry = Entry {
            grant: Arc::clone(grant),
            subscriber: subscriber.cloned(),
            until: end - margin,
            value: value.clone(),
        };
        let mut shard = shard.lock();
        if shard.len() >= MOST {
            shard.clear();
        }
        shard.insert(key, entry);
        Some(value)
    }
}

/// Tells them apart; nothing depends on its being hard to guess.
fn random_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}
