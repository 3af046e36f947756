//! Getting a request answered by its upstream: an address, what to do when it fails, and when to
//! give up.
//!
//! A request is tried again only where nobody can be asked to do something twice: it never got a
//! connection, or its method is idempotent, all of its body is still here and no answer has begun.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use http::{HeaderValue, StatusCode};
use pingora::{
    Error, ErrorSource, ErrorType, RetryType, proxy::Session, upstreams::peer::HttpPeer,
};

use super::context::Context;
use crate::{
    config::HashKey,
    upstream::{Failure, Flight, Refused, Retrying, hash},
};

/// What Pingora's errors say when no address may be used.
pub const NO_UPSTREAM: &str = "no upstream";
/// The same when those that may be used are full.
pub const OVERLOADED: &str = "upstream overloaded";

/// The tries of one request.
#[derive(Default)]
pub struct Attempt {
    /// The current one.
    flight: Option<Flight>,
    /// Addresses that failed.
    tried: Vec<SocketAddr>,
    retries: u32,
    /// Counts against the budget.
    retrying: Option<Retrying>,
    /// When the answer must be complete.
    deadline: Option<Instant>,
}

impl Attempt {
    /// For the `Host` header of the upstream's request.
    pub fn host(&self) -> Option<&HeaderValue> {
        self.flight.as_ref().map(Flight::host)
    }

    pub fn connected(&mut self) {
        if let Some(flight) = &mut self.flight {
            flight.connected();
        }
    }

    /// The answer began. One that switches protocols (RFC 9110 §15.2.2) has no end to wait for.
    pub fn answered(&mut self, status: StatusCode) {
        if let Some(flight) = &self.flight {
            flight.answered();
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            self.deadline = None;
        }
    }

    /// # Errors
    /// The time for the whole answer is over.
    pub fn check_deadline(&self) -> pingora::Result<()> {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(too_late()),
            _ => Ok(()),
        }
    }

    /// Time that is left; `None`: as much as it takes.
    fn left(&self, now: Instant) -> Option<Duration> {
        Some(self.deadline?.saturating_duration_since(now))
    }
}

/// The next address for a request of the route at this position.
pub fn choose(
    session: &Session,
    context: &mut Context,
    route: usize,
    now: Instant,
) -> pingora::Result<Box<HttpPeer>> {
    let forward = context.snapshot.route(route).forward();
    let key_type = context.key_type();
    let pool = context.snapshot.upstream_of(route, key_type);
    let (Some(pool), Some(forward)) = (pool, forward) else {
        return Error::e_explain(ErrorType::InternalError, "this route goes nowhere");
    };
    if context.attempt.retries == 0 {
        let own = forward.timeout;
        let total = own.map_or(pool.settings.timeouts.total, |own| {
            (!own.is_zero()).then_some(own)
        });
        context.attempt.deadline = total.map(|total| now + total);
    }
    let left = context.attempt.left(now);
    if left.is_some_and(|left| left.is_zero()) {
        return Err(too_late());
    }
    let key = pool.hash_key().map(|key| hash_of(key, session, context));
    // The one before is over.
    context.attempt.flight = None;
    let chosen = pool.choose(key.unwrap_or_default(), &context.attempt.tried, now);
    let flight = chosen.map_err(|refused| {
        let what = match refused {
            Refused::NoUpstream => NO_UPSTREAM,
            Refused::Overloaded => OVERLOADED,
        };
        Error::new_up(ErrorType::Custom(what))
    })?;
    let peer = flight.peer(left);
    context.attempt.flight = Some(flight);
    Ok(peer)
}

fn hash_of(key: &HashKey, session: &Session, context: &Context) -> u64 {
    let found = match key {
        HashKey::ClientAddress => None,
        HashKey::ClientId => context
            .grant()
            .and_then(|grant| grant.claims().text("client_id"))
            .map(|id| hash(id.as_bytes())),
        HashKey::Header(name) => {
            let value = session.req_header().headers.get(name);
            value.map(|value| hash(value.as_bytes()))
        }
    };
    found.unwrap_or_else(|| match context.caller.client {
        Some(IpAddr::V4(address)) => hash(&address.octets()),
        Some(IpAddr::V6(address)) => hash(&address.octets()),
        None => 0,
    })
}

/// There was no connection to be had: nothing was sent.
pub fn fail_to_connect(context: &mut Context, mut failure: Box<Error>) -> Box<Error> {
    let now = Instant::now();
    note_failure(context, now);
    failure.set_retry(try_again(context, Failure::NotSent, now));
    failure
}

/// Something went wrong on a connection, which was an old one if `reused`.
pub fn break_off(
    session: &mut Session,
    context: &mut Context,
    mut failure: Box<Error>,
    reused: bool,
) -> Box<Error> {
    // That a server closes an old connection while a request is on its way says nothing about it.
    let stale = reused && matches!(failure.retry, RetryType::ReusedOnly);
    failure.set_retry(false);
    // The gateway itself cuts streams whose token has ended.
    if *failure.esource() != ErrorSource::Upstream || context.cut().is_some() {
        return failure;
    }
    let now = Instant::now();
    if !stale {
        note_failure(context, now);
    }
    let how = if stale {
        Failure::Stale
    } else {
        Failure::Broken
    };
    let again = is_worth_another_try(&failure)
        && may_be_sent_twice(session, context)
        && try_again(context, how, now);
    failure.set_retry(again);
    failure
}

fn note_failure(context: &Context, now: Instant) {
    if let (Some(pool), Some(flight)) = (context.pool(), &context.attempt.flight) {
        pool.failed(flight, now);
    }
}

/// Whether there is another try; its address is chosen when Pingora asks for it.
fn try_again(context: &mut Context, failure: Failure, now: Instant) -> bool {
    let key_type = context.key_type();
    let pool = context
        .route
        .and_then(|route| context.snapshot.upstream_of(route, key_type));
    let Some(pool) = pool else {
        return false;
    };
    let attempt = &mut context.attempt;
    if attempt.retries >= pool.settings.retries.most {
        return false;
    }
    attempt
        .tried
        .extend(attempt.flight.as_ref().map(Flight::address));
    attempt.retrying = pool.retry(failure, &attempt.tried, now);
    attempt.retries += 1;
    attempt.retrying.is_some()
}

/// A server that is slow or speaks nonsense will not do better on another try.
fn is_worth_another_try(failure: &Error) -> bool {
    use ErrorType::{ConnectionClosed, H2Downgrade, H2Error, InvalidH2, ReadError, WriteError};
    matches!(
        failure.etype(),
        ConnectionClosed | ReadError | WriteError | H2Error | H2Downgrade | InvalidH2
    )
}

fn may_be_sent_twice(session: &mut Session, context: &Context) -> bool {
    context.upstream.answered.is_none()
        && session.response_written().is_none()
        && session.req_header().method.is_idempotent()
        && session.as_mut().is_body_done()
        && !session.as_ref().retry_buffer_truncated()
}

fn too_late() -> Box<Error> {
    let why = "the time for the whole answer is over";
    Error::explain(ErrorType::ReadTimedout, why).into_up()
}
