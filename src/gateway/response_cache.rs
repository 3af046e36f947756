//! Where a request meets the response cache: after its permit, before its upstream.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use pingora::{
    Error, ErrorSource, ErrorType, Result,
    cache::{CacheKey, CacheMeta, CachePhase, NoCacheReason, RespCacheable, key::HashBinary},
    http::{RequestHeader, ResponseHeader},
    proxy::Session,
};

use super::{caller::X_FORWARDED_HOST, context::Context, forward, snapshot::Snapshot};
use crate::{
    domain::{Access, CachePolicy, Grant, RequestPath, Route},
    metrics::CacheResult,
    response_cache::{
        Caller, Circumstances, Directives, FieldUpdate, Resource, ResponseCache, Unfit, key,
        stored, variance,
    },
};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What a request on a route whose answers are kept knows about that.
pub struct Cached {
    resource: Resource,
    /// Nothing of it may be kept (RFC 9111 §5.2.1.5).
    no_store: bool,
    /// The upstream's word that what is kept is still good.
    update: Option<FieldUpdate>,
    /// The request says HTTP/1.1 for a moment, and came by HTTP/2.
    is_http2: bool,
}

/// Lets a request use the cache if its route and its kind are made for it. Called after the permit
/// was given, and of no effect without it.
pub fn enable(cache: ResponseCache, session: &mut Session, context: &mut Context) {
    let Some((_, policy)) = cached_route(&context.snapshot, context.route) else {
        return;
    };
    if context.permit.is_none() {
        return;
    }
    let request = session.req_header();
    let cached = Cached {
        resource: resource(session, context),
        no_store: Directives::cache_control(&request.headers).no_store,
        update: None,
        is_http2: false,
    };
    let says_more = context.caller.is_trusted && forward::says_more(&request.headers);
    if is_usable(request) && !says_more {
        cache.enable(&mut session.cache, policy);
    }
    context.cached = Some(Box::new(cached));
}

/// What the answer is kept under.
///
/// # Errors
/// Never in practice: the cache is enabled for routes that have one.
pub fn cache_key(session: &Session, context: &Context) -> Result<CacheKey> {
    let route = cached_route(&context.snapshot, context.route);
    let (Some((route, policy)), Some(cached), Some(upstream)) =
        (route, &context.cached, context.pool())
    else {
        return Error::e_explain(ErrorType::InternalError, "no key without a cached route");
    };
    let headers = &session.req_header().headers;
    let caller = Caller {
        grant: context.grant().map(AsRef::<Grant>::as_ref),
        token: context.token,
        subscriber: context.subscriber.as_ref(),
        forwarded_host: headers
            .get(X_FORWARDED_HOST)
            .filter(|_| context.caller.is_trusted),
    };
    let key = key(
        &cached.resource,
        route,
        upstream.name(),
        policy.scope,
        caller,
    );
    Ok(CacheKey::new(key, ""))
}

/// What tells variants of an answer apart.
pub fn vary(meta: &CacheMeta, request: &RequestHeader, context: &Context) -> Option<HashBinary> {
    let (route, _) = cached_route(&context.snapshot, context.route)?;
    variance(meta.headers(), &request.headers, &route.identity_headers)
}

/// Looks at an upstream's answer before anything is done with it: a change makes what is kept
/// invalid (RFC 9111 §4.4), and a 304 brings new fields for it.
pub fn observe(
    cache: ResponseCache,
    session: &Session,
    answer: &ResponseHeader,
    context: &mut Context,
) {
    let request = session.req_header();
    if context.snapshot.keeps_answers && !is_safe(&request.method) && is_success(answer.status) {
        let resource = resource(session, context);
        cache.purge(&resource);
        for name in [header::LOCATION, header::CONTENT_LOCATION] {
            let other = answer.headers.get(name);
            if let Some(other) = other.and_then(|other| resource.join(other)) {
                cache.purge(&other);
            }
        }
    }
    if let Some(cached) = &mut context.cached {
        let confirms =
            answer.status == StatusCode::NOT_MODIFIED && session.cache.phase() == CachePhase::Stale;
        cached.update = confirms.then(|| FieldUpdate::of(answer));
    }
}

/// Whether an answer may be kept, and how.
///
/// # Errors
/// Never in practice: see [`stored`].
pub fn keep(
    cache: ResponseCache,
    session: &Session,
    answer: &ResponseHeader,
    context: &Context,
) -> Result<RespCacheable> {
    let route = cached_route(&context.snapshot, context.route);
    let (Some((route, policy)), Some(cached)) = (route, &context.cached) else {
        return Ok(uncacheable(Unfit::Request));
    };
    if cached.no_store || cache.changed_since(&cached.resource, context.started.instant) {
        return Ok(uncacheable(Unfit::Request));
    }
    let now = SystemTime::now();
    let updated = match &cached.update {
        Some(update) => Some(update.apply(session.cache.cache_meta().response_header(), now)?),
        None => None,
    };
    let circumstances = Circumstances {
        policy,
        authorized: matches!(route.access, Access::Token(_))
            || session
                .req_header()
                .headers
                .contains_key(header::AUTHORIZATION),
        now,
        delay: context
            .upstream
            .started
            .map_or_else(Default::default, |asked| asked.elapsed()),
    };
    Ok(
        match stored(updated.as_ref().unwrap_or(answer), &circumstances)? {
            Ok(meta) => RespCacheable::Cacheable(meta),
            Err(unfit) => {
                if unfit == Unfit::Answer && session.cache.phase() == CachePhase::Stale {
                    // What is kept was not to be kept any longer.
                    cache.forget(session.cache.cache_key());
                }
                uncacheable(unfit)
            }
        },
    )
}

/// Whether an answer past its end may be given, within the time for it: while a fresh one is fetched
/// (no `error`), or because of what went wrong at the upstream.
pub fn may_be_stale(session: &mut Session, context: &mut Context, error: Option<&Error>) -> bool {
    match error {
        Some(error) => *error.esource() != ErrorSource::Downstream,
        None => can_be_sent_again(session, context),
    }
}

/// Pingora fetches the fresh answer with a copy of the request that goes through the text of
/// HTTP/1, which that of HTTP/2 is not: it has no `Host`, and a version that nobody reads. So it gets
/// both, and `sign` takes the version back. False: there is no such text for it.
fn can_be_sent_again(session: &mut Session, context: &mut Context) -> bool {
    let request = session.req_header_mut();
    if request.version != Version::HTTP_2 {
        return true;
    }
    let host = match request.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()),
        None => return false,
    };
    let (Ok(host), Some(cached)) = (host, &mut context.cached) else {
        return false;
    };
    let told = request.insert_header(header::HOST, host).is_ok();
    if told {
        request.set_version(Version::HTTP_11);
        cached.is_http2 = true;
    }
    told
}

/// Tells the caller what the cache had to do with the answer (RFC 9211).
///
/// # Errors
/// Never in practice: the fields are well formed.
pub fn sign(session: &mut Session, answer: &mut ResponseHeader, context: &Context) -> Result<()> {
    let Some(cached) = &context.cached else {
        return Ok(());
    };
    if answer.status.is_informational() {
        return Ok(());
    }
    if cached.is_http2 {
        session.req_header_mut().set_version(Version::HTTP_2);
    }
    let status = match session.cache.phase() {
        CachePhase::Hit => "portcullis; hit",
        CachePhase::Stale | CachePhase::StaleUpdating => "portcullis; hit; detail=stale",
        CachePhase::Revalidated | CachePhase::RevalidatedNoCache(_) => {
            "portcullis; fwd=stale; fwd-status=304"
        }
        CachePhase::Miss => "portcullis; fwd=miss; stored",
        CachePhase::Expired => "portcullis; fwd=stale; stored",
        _ if result(session) == CacheResult::Bypass => "portcullis; fwd=bypass",
        _ => "portcullis; fwd=miss",
    };
    answer.append_header(CACHE_STATUS, HeaderValue::from_static(status))?;
    Ok(())
}

/// Whether this is no caller's request: the cache fetches a fresh answer in the background, with a
/// copy of the request that met the old one.
pub fn is_refresh(session: &Session) -> bool {
    session.subrequest_ctx.is_some()
}

/// How the cache served a request of a route whose answers are kept.
pub fn result(session: &Session) -> CacheResult {
    match session.cache.phase() {
        CachePhase::Hit => CacheResult::Hit,
        CachePhase::Stale | CachePhase::StaleUpdating => CacheResult::Stale,
        CachePhase::Revalidated | CachePhase::RevalidatedNoCache(_) => CacheResult::Revalidated,
        CachePhase::Bypass | CachePhase::Disabled(NoCacheReason::NeverEnabled) => {
            CacheResult::Bypass
        }
        CachePhase::Disabled(_) if session.cache.predicted_uncacheable_reason().is_some() => {
            CacheResult::Bypass
        }
        _ => CacheResult::Miss,
    }
}

fn cached_route(snapshot: &Snapshot, route: Option<usize>) -> Option<(&Route, &CachePolicy)> {
    let route = snapshot.route(route?);
    Some((route, route.response_cache.as_deref()?))
}

/// The address of the request, as it was routed.
fn resource(session: &Session, context: &Context) -> Resource {
    let request = session.req_header();
    let host = request.headers.get(header::HOST);
    let authority = match request.uri.authority() {
        Some(authority) => authority.as_str(),
        None => host.and_then(|host| host.to_str().ok()).unwrap_or_default(),
    };
    let path = request.uri.path();
    // As the caller sent it, in its normal form: how it is rewritten is the upstream's business.
    let path = RequestPath::parse(path).map_or(path.into(), |path| path.sent);
    let query = request.uri.query();
    Resource::new(context.caller.is_https, authority, &path, query)
}

/// Requests of which all that may shape the answer is in the key or in `Vary`: a body is not, nor
/// what `Connection` takes away on the way. The upstream itself must judge `If-Match` and
/// `If-Unmodified-Since` (RFC 9110 §13.1).
fn is_usable(request: &RequestHeader) -> bool {
    let headers = &request.headers;
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers
            .get(header::CONTENT_LENGTH)
            .is_some_and(|length| length.as_bytes() != b"0");
    matches!(request.method, Method::GET | Method::HEAD)
        && !has_body
        && !takes_fields_away(headers)
        && [
            header::UPGRADE,
            header::IF_MATCH,
            header::IF_UNMODIFIED_SINCE,
        ]
        .iter()
        .all(|name| !headers.contains_key(name))
}

fn takes_fields_away(headers: &HeaderMap) -> bool {
    let harmless = |name: &[u8]| {
        [&b"close"[..], b"keep-alive", b"te", b""]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    };
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|name| !harmless(name.trim_ascii()))
}

fn is_safe(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    )
}

fn is_success(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

fn uncacheable(unfit: Unfit) -> RespCacheable {
    RespCacheable::Uncacheable(unfit.into())
}
