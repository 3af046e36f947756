//! Limits in the life of a request: its size, then by address before the token is looked at, then by
//! client, tier and route.

use http::{HeaderName, HeaderValue};
use pingora::{
    Error, ErrorType,
    http::{RequestHeader, ResponseHeader},
};

use super::{Snapshot, context::Context};
use crate::{
    config::{LimitSettings, TierSettings},
    domain::{By, Denial, Grant, RateLimitId, Route, RouteTable, SizeLimits, TokenKey},
    limits::{Key, Limiters, Standing, address_key},
};

/// Of draft-ietf-httpapi-ratelimit-headers-10.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The limits of a configuration, sorted by where they are asked.
pub struct Limits {
    sizes: SizeLimits,
    limiters: Limiters,
    /// By the position of the route.
    routes: Box<[OfRoute]>,
    token_misses: Option<usize>,
    tiers: Option<TierSettings>,
}

/// Positions of a route's limiters, those for all routes among them.
struct OfRoute {
    by_address: Box<[usize]>,
    others: Box<[usize]>,
}

/// How a caller stands with the limit that is nearest to refusing it.
#[derive(Clone, Copy)]
pub struct Nearest {
    limiter: usize,
    standing: Standing,
}

impl Limits {
    /// `limiters`: in the order of the settings.
    pub fn new(settings: LimitSettings, limiters: Limiters, routes: &RouteTable) -> Self {
        let of_route = |route: &Route| {
            let all = settings.everywhere.iter().chain(&route.rate_limits);
            let (by_address, others) = all
                .map(|RateLimitId(position)| *position)
                .partition::<Vec<_>, _>(|position| limiters.get(*position).by() == By::Address);
            OfRoute {
                by_address: by_address.into(),
                others: others.into(),
            }
        };
        Self {
            routes: routes.routes().iter().map(of_route).collect(),
            sizes: settings.sizes,
            token_misses: settings.token_misses.map(|id| id.0),
            tiers: settings.tiers,
            limiters,
        }
    }

    /// Whether header and target are of a size to be looked at.
    pub fn check_header(&self, request: &RequestHeader) -> Result<(), Denial> {
        if request.raw_path().len() > self.sizes.uri_bytes {
            return Err(Denial::UriTooLong);
        }
        let headers = &request.headers;
        let lengths = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len());
        match headers.len() > self.sizes.headers || lengths.sum::<usize>() > self.sizes.header_bytes
        {
            true => Err(Denial::HeaderTooLarge),
            false => Ok(()),
        }
    }
}

/// The limits by address, which are asked before anything is looked up.
pub fn by_address(snapshot: &Snapshot, context: &mut Context) -> Result<(), Denial> {
    let (Some(route), Some(address)) = (context.route, context.caller.client) else {
        return Ok(());
    };
    let limiters = snapshot.limits.routes[route].by_address.iter();
    let asked = limiters.map(|limiter| (*limiter, address_key(address)));
    take_all(snapshot, asked, context)
}

/// The limit of tokens that the key manager must be asked about.
pub fn token_miss(snapshot: &Snapshot, context: &mut Context) -> Result<(), Denial> {
    match (snapshot.limits.token_misses, context.caller.client) {
        (Some(limiter), Some(address)) => take(snapshot, limiter, address_key(address), context),
        _ => Ok(()),
    }
}

/// The token was a good one, so the question counts for nothing.
pub fn no_token_miss(snapshot: &Snapshot, context: &Context) {
    let limits = &snapshot.limits;
    if let (Some(limiter), Some(address)) = (limits.token_misses, context.caller.client) {
        limits.limiters.get(limiter).give_back(address_key(address));
    }
}

/// The limits by client, tier and route, and of the body's length where it is told beforehand.
pub fn by_others(
    snapshot: &Snapshot,
    grant: Option<&Grant>,
    context: &mut Context,
) -> Result<(), Denial> {
    let Some(position) = context.route else {
        return Ok(());
    };
    let limits = &snapshot.limits;
    let token = context.token;
    let client = || grant.and_then(|grant| client_key(grant, token));
    let others = limits.routes[position].others.iter();
    let others = others.filter_map(|limiter| {
        let key = match limits.limiters.get(*limiter).by() {
            By::Route => Some(Key::Text(&snapshot.route(position).name)),
            // Nobody is known on a public route.
            By::ClientId => client(),
            By::Address => None,
        };
        Some((*limiter, key?))
    });
    let tier = match (&limits.tiers, grant) {
        (Some(tiers), Some(grant)) => tier_of(tiers, grant).map(|id| id.0).zip(client()),
        _ => None,
    };
    if let Err(denial) = take_all(snapshot, others.chain(tier), context) {
        give_back_by_address(snapshot, context);
        return Err(denial);
    }
    match (context.content_length, snapshot.route(position).max_body) {
        (Some(length), Some(most)) if length > most => Err(Denial::BodyTooLarge),
        _ => Ok(()),
    }
}

fn tier_of(tiers: &TierSettings, grant: &Grant) -> Option<RateLimitId> {
    let name = tiers
        .claim
        .as_ref()
        .and_then(|claim| grant.claims().text(claim));
    let found = name.and_then(|name| tiers.by_name.iter().find(|(other, _)| **other == *name));
    found.map(|(_, id)| *id).or(tiers.default)
}

/// A client is one of its key manager: another's client of the same id takes nothing from it.
fn client_key(grant: &Grant, token: Option<TokenKey>) -> Option<Key<'_>> {
    let Some(client) = grant.claims().text("client_id") else {
        return token.map(|token| Key::Number(token.number()));
    };
    Some(match grant.vouched_by().known_as() {
        None => Key::Text(client),
        Some(key_manager) => Key::ClientOf {
            key_manager,
            client,
        },
    })
}

/// Asks these limits; when one refuses, those before it count nothing.
fn take_all<'k>(
    snapshot: &Snapshot,
    asked: impl Iterator<Item = (usize, Key<'k>)> + Clone,
    context: &mut Context,
) -> Result<(), Denial> {
    for (position, (limiter, key)) in asked.clone().enumerate() {
        if let Err(denial) = take(snapshot, limiter, key, context) {
            for (limiter, key) in asked.take(position) {
                snapshot.limits.limiters.get(limiter).give_back(key);
            }
            return Err(denial);
        }
    }
    Ok(())
}

fn give_back_by_address(snapshot: &Snapshot, context: &Context) {
    let (Some(route), Some(address)) = (context.route, context.caller.client) else {
        return;
    };
    for limiter in &snapshot.limits.routes[route].by_address {
        let limiter = snapshot.limits.limiters.get(*limiter);
        limiter.give_back(address_key(address));
    }
}

fn take(
    snapshot: &Snapshot,
    limiter: usize,
    key: Key<'_>,
    context: &mut Context,
) -> Result<(), Denial> {
    let standing = snapshot
        .limits
        .limiters
        .get(limiter)
        .take(key, context.started.instant);
    let nearer = context
        .nearest_limit
        .is_none_or(|nearest| !standing.allowed || standing.remaining < nearest.standing.remaining);
    if nearer {
        context.nearest_limit = Some(Nearest { limiter, standing });
    }
    match standing.allowed {
        true => Ok(()),
        false => Err(Denial::RateLimited {
            retry_after: seconds(standing.wait),
        }),
    }
}

/// Whole seconds, so that whoever waits for them has waited long enough.
pub fn seconds(time: std::time::Duration) -> u32 {
    let whole = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    u32::try_from(whole).unwrap_or(u32::MAX)
}

/// Tells the caller how it stands.
pub fn tell(answer: &mut ResponseHeader, context: &Context) {
    let Some(Nearest { limiter, standing }) = &context.nearest_limit else {
        return;
    };
    let limiter = context.snapshot.limits.limiters.get(*limiter);
    let now = format!(
        "\"{}\";r={};t={}",
        limiter.limit.name,
        standing.remaining,
        seconds(standing.next_in)
    );
    for (name, text) in [
        (RATE_LIMIT_POLICY, limiter.policy.as_str()),
        (RATE_LIMIT, &now),
    ] {
        // Names of limits are plain.
        if let Ok(value) = HeaderValue::from_str(text) {
            let _ = answer.insert_header(name, value);
        }
    }
}

/// So much of the body has come from the caller. What is sent to an upstream once more, because a
/// connection that had waited was closed, does not count twice.
///
/// # Errors
/// It is more than the route allows.
pub fn check_body(bytes: usize, context: &Context) -> pingora::Result<()> {
    let most = context.known_route().and_then(|route| route.max_body);
    match most.is_some_and(|most| bytes as u64 > most) {
        true => Error::e_explain(TOO_LARGE, "the body is longer than the route allows"),
        false => Ok(()),
    }
}

/// How a body that is too long ends a request.
pub const TOO_LARGE: ErrorType = ErrorType::HTTPStatus(413);
