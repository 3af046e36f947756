//! Which route a request is for, and what that asks for.

use pingora::http::RequestHeader;

use super::{
    context::Context,
    cors,
    request::{check_expectation, host_of},
    snapshot::Snapshot,
};
use crate::domain::{Cors, Denial, KnownMethod, Methods, Permit, Policy, RequestPath, Routed};

/// What a route asks for before a request may pass.
pub enum Found<'a> {
    Public(Permit),
    Protected(&'a Policy),
    /// A browser asks first whether a page may send the request.
    Preflight(&'a Cors),
}

/// Finds the route, and enters it into the context with the path that goes on.
///
/// # Errors
/// The request is malformed, or no route is for it.
pub fn find_route<'s>(
    snapshot: &'s Snapshot,
    request: &RequestHeader,
    context: &mut Context,
) -> Result<Found<'s>, Denial> {
    context.method = KnownMethod::of(&request.method);
    if matches!(context.method, KnownMethod::Connect | KnownMethod::Trace) {
        // Nothing of them is looked at, not even a path, which `CONNECT` does not have.
        let allowed = Methods::ANY;
        return Err(Denial::MethodNotAllowed { allowed });
    }
    snapshot.limits.check_header(request)?;
    let host = host_of(request)?;
    if !request.raw_path_is_utf8() {
        return Err(Denial::MalformedRequest);
    }
    check_expectation(request)?;
    let path = RequestPath::parse(request.uri.path()).map_err(|_| Denial::MalformedRequest)?;
    let find = |method| {
        snapshot
            .routes
            .find(host, method, &path.matched, &request.headers)
    };
    if let Some(method) = cors::asked_method(request)
        && let Routed::To(position) = find(method)
        && let Some(cors) = &snapshot.route(position).cors
    {
        context.enter(position);
        return Ok(Found::Preflight(cors));
    }
    let position = match find(context.method) {
        Routed::To(position) => position,
        Routed::NotFound => return Err(Denial::RouteNotFound),
        Routed::MethodNotAllowed(allowed) => return Err(Denial::MethodNotAllowed { allowed }),
    };
    let is_origin_form = request.raw_path().first() == Some(&b'/');
    let rewrite = snapshot
        .route(position)
        .forward()
        .and_then(|forward| forward.rewrite.as_ref());
    context.normal_path = match rewrite {
        Some(rewrite) => Some(rewrite.apply(&path.sent)),
        None => {
            (path.sent != request.uri.path() || !is_origin_form).then(|| path.sent.into_owned())
        }
    };
    context.enter(position);
    match snapshot.route(position).access.without_token() {
        Ok(permit) => Ok(Found::Public(permit)),
        Err(policy) => Ok(Found::Protected(policy)),
    }
}
