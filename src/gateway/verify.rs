//! The token of a request to a verdict.

use std::time::Instant;

use pingora::http::RequestHeader;

use super::{
    Snapshot,
    context::{Asked, Context},
    limits,
    refusal::Refusal,
};
use crate::{
    auth::{From, NoVerdict, Verified},
    domain::{Denial, UnixSeconds, Verdict},
};

/// What is known of the request's token; where nothing is, its signature is looked at, or the key
/// manager asked.
///
/// # Errors
/// There is no token to look at, or no answer about it.
pub async fn verify(
    snapshot: &Snapshot,
    request: &RequestHeader,
    context: &mut Context,
) -> Result<Verified, Refusal> {
    let Some(position) = context.route else {
        // Only a route asks for a token.
        return Err(Denial::NoToken.into());
    };
    let route = snapshot.route(position);
    let token = route.token(&request.headers, request.uri.query())?;
    let Some(verifier) = &snapshot.verifier else {
        // The configuration has no protected route without somebody who judges tokens.
        return Err(crate::auth::Unavailable::Lost.into());
    };
    let named = route.key_manager.as_deref();
    let (key, known) = verifier.recall(token, named, context.started.instant);
    context.token = Some(key);
    let now = context.started.unix;
    if snapshot.revocations.has_token(token, now) {
        return Err(Denial::Revoked.into());
    }
    if let Some(verified) = known {
        check_id(snapshot, &verified, now)?;
        return Ok(verified);
    }
    limits::token_miss(snapshot, context)?;
    let asked = context.asked.insert(Asked {
        since: Instant::now(),
        span: context.trace.child(),
    });
    let result = verifier.fetch(key, token, named, &asked.span).await;
    let waited = asked.since.elapsed();
    let by_itself = matches!(
        &result,
        Ok(Verified {
            from: From::Signature,
            ..
        }) | Err(NoVerdict::Untrusted(_))
    );
    match by_itself {
        // Nobody was asked.
        true => context.asked = None,
        false => context.wait = waited,
    }
    let verified = result?;
    if let Verdict::Active(_) = verified.verdict {
        limits::no_token_miss(snapshot, context);
    }
    check_id(snapshot, &verified, now)?;
    Ok(verified)
}

/// Whether the token was revoked by its `jti`, where the key manager or the token tells it.
fn check_id(snapshot: &Snapshot, verified: &Verified, now: UnixSeconds) -> Result<(), Denial> {
    if snapshot.revocations.is_empty() {
        return Ok(());
    }
    let Verdict::Active(grant) = &verified.verdict else {
        return Ok(());
    };
    match grant.claims().text("jti") {
        Some(id) if snapshot.revocations.has_id(id, now) => Err(Denial::Revoked),
        _ => Ok(()),
    }
}
