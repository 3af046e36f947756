//! What a request has to pass before it goes on, in this order.

use std::sync::Arc;

use pingora::{http::ResponseHeader, proxy::Session};

use super::{
    Snapshot, backend_jwt, caller,
    context::Context,
    cors, framing, limits,
    refusal::Refusal,
    response_cache,
    routing::{Found, find_route},
    subscription, tiers,
    verify::verify,
};
use crate::domain::{Denial, Grant, Permit, Reason, Route};

/// What becomes of a request that is not refused.
pub enum Decided {
    Pass(Permit),
    /// The gateway answers itself.
    Answer(Box<ResponseHeader>, Reason),
}

/// Decides about a request. Everything before the permit happens here, in this order.
pub async fn authorize(session: &mut Session, context: &mut Context) -> Result<Decided, Refusal> {
    // Held apart from the context, which changes on the way.
    let snapshot = Arc::clone(&context.snapshot);
    if context.is_shed {
        return Err(Denial::Overloaded.into());
    }
    context.content_length = framing::check(session)?;
    caller::check_door(session, &context.caller)?;
    let found = find_route(&snapshot, session.req_header(), context)?;
    if !response_cache::is_refresh(session) {
        limits::by_address(&snapshot, context)?;
    }
    let policy = match found {
        Found::Public(permit) => {
            check_limits(&snapshot, None, session, context)?;
            return Ok(Decided::Pass(permit));
        }
        Found::Preflight(cors) => {
            let answer = cors::preflight(cors, session.req_header())?;
            return Ok(Decided::Answer(Box::new(answer), Reason::Preflight));
        }
        Found::Protected(policy) => policy,
    };
    let verified = verify(&snapshot, session.req_header(), context).await?;
    let cached = verified.from.is_kept();
    context.from = Some(verified.from);
    let permit = policy.check(&verified.verdict, context.started.unix, cached)?;
    let grant = permit.grant().map(|grant| &**grant);
    subscription::check(&snapshot, grant, context).await?;
    check_endpoint(context)?;
    check_limits(&snapshot, grant, session, context)?;
    backend_jwt::attach(&snapshot, permit.grant(), context)?;
    Ok(Decided::Pass(permit))
}

/// Whether the route has an upstream for this kind of caller.
fn check_endpoint(context: &Context) -> Result<(), Denial> {
    match context.known_route().and_then(Route::forward) {
        Some(forward) => forward.to.of(context.key_type()).map(drop),
        None => Ok(()),
    }
}

/// The tiers, and then all other limits. What these refuse does not count for the tiers. A refresh of
/// the cache was counted with the request that caused it.
fn check_limits(
    snapshot: &Snapshot,
    grant: Option<&Grant>,
    session: &Session,
    context: &mut Context,
) -> Result<(), Denial> {
    if response_cache::is_refresh(session) {
        return Ok(());
    }
    let taken = tiers::take(snapshot, grant, context)?;
    let others = limits::by_others(snapshot, grant, context);
    others.inspect_err(|_| {
        if let Some(taken) = &taken {
            taken.give_back();
        }
    })
}
