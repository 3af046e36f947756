//! The proxy: route → token → verdict → policy → permit → upstream.
//!
//! Each hook of Pingora's pipeline is a few lines here and says where the work is done. The order of
//! steps is the order of lines in `Gateway::authorize`.

mod access_log;
mod address;
mod context;
mod finish;
mod forward;
mod local;
mod recorder;
mod respond;
mod snapshot;

use std::{net::IpAddr, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::{HeaderValue, StatusCode, Version, header};
use pingora::{
    Error, ErrorType,
    http::{RequestHeader, ResponseHeader},
    protocols::Digest,
    proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session},
    upstreams::peer::HttpPeer,
};

pub use access_log::{AccessLog, Format};
pub use recorder::Recorder;
pub use snapshot::{Parts, Snapshot};

use crate::{
    auth::Verified,
    domain::{Denial, KnownMethod, Permit, Policy, RequestPath, Routed, extract},
    lifecycle::Lifecycle,
    telemetry::{TRACEPARENT, TraceContext},
};
use address::dotted;
use context::{Asked, Context};
use respond::Refusal;

/// Answers requests by the configuration that is in force.
pub struct Gateway {
    current: Arc<ArcSwap<Snapshot>>,
    recorder: Arc<Recorder>,
    lifecycle: Arc<Lifecycle>,
}

impl Gateway {
    /// `current` may be replaced at any time; requests under way keep what they began with.
    pub fn new(
        current: Arc<ArcSwap<Snapshot>>,
        recorder: Arc<Recorder>,
        lifecycle: Arc<Lifecycle>,
    ) -> Self {
        Self {
            current,
            recorder,
            lifecycle,
        }
    }

    /// Decides about a request. Everything before the permit happens here, in this order.
    async fn authorize(
        &self,
        session: &mut Session,
        context: &mut Context,
    ) -> Result<Permit, Refusal> {
        // Held apart from the context, which changes on the way.
        let snapshot = Arc::clone(&context.snapshot);
        let policy = match find_route(&snapshot, session.req_header(), context)? {
            Found::Public(permit) => return Ok(permit),
            Found::Protected(policy) => policy,
        };
        let verified = verify(&snapshot, session.req_header(), context).await?;
        let cached = verified.from == crate::auth::From::Hit;
        context.from = Some(verified.from);
        Ok(policy.check(&verified.verdict, context.started.unix, cached)?)
    }

    /// Writes a refusal and remembers it for the log.
    async fn refuse(
        &self,
        session: &mut Session,
        context: &mut Context,
        refusal: &Refusal,
    ) -> pingora::Result<()> {
        context.refuse(refusal);
        respond::refuse(session, refusal, context.trace.trace_id()).await
    }
}

fn find_route<'s>(
    snapshot: &'s Snapshot,
    request: &RequestHeader,
    context: &mut Context,
) -> Result<Found<'s>, Denial> {
    context.method = KnownMethod::of(&request.method);
    let host = host_of(request)?;
    if !request.raw_path_is_utf8() {
        return Err(Denial::MalformedRequest);
    }
    let path = RequestPath::parse(request.uri.path()).map_err(|_| Denial::MalformedRequest)?;
    let position = match snapshot.routes.find(host, context.method, &path.matched) {
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
    context.route = Some(position);
    context.fly(&snapshot.route_metrics(context.route).in_flight);
    match snapshot.route(position).access.without_token() {
        Ok(permit) => Ok(Found::Public(permit)),
        Err(policy) => Ok(Found::Protected(policy)),
    }
}

async fn verify(
    snapshot: &Snapshot,
    request: &RequestHeader,
    context: &mut Context,
) -> Result<Verified, Refusal> {
    let token = extract(&request.headers, request.uri.query())?;
    let Some(verifier) = &snapshot.verifier else {
        // The configuration has no protected route without a key manager.
        return Err(crate::auth::Unavailable::Lost.into());
    };
    let (key, known) = verifier.recall(token, context.started.instant);
    context.token = Some(key);
    if let Some(verified) = known {
        return Ok(verified);
    }
    let asked = context.asked.insert(Asked {
        since: Instant::now(),
        span: context.trace.child(),
    });
    let result = verifier.fetch(key, token, &asked.span).await;
    context.wait = asked.since.elapsed();
    Ok(result?)
}

/// A route's answer to the question whether a token is needed.
enum Found<'a> {
    Public(Permit),
    Protected(&'a Policy),
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::new(self.current.load_full())
    }

    async fn early_request_filter(
        &self,
        session: &mut Session,
        context: &mut Context,
    ) -> pingora::Result<()> {
        let caller = session.req_header().headers.get(TRACEPARENT);
        context.trace = TraceContext::continue_from(caller);
        if let Some(tracer) = &self.recorder.tracer {
            tracer.decide(&mut context.trace);
        }
        session.set_read_timeout(Some(CLIENT_TIMEOUT));
        session.set_write_timeout(Some(CLIENT_TIMEOUT));
        session.set_total_drain_timeout(Some(CLIENT_TIMEOUT));
        if self.lifecycle.is_draining() {
            session.set_keepalive(None);
        }
        Ok(())
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        context: &mut Context,
    ) -> pingora::Result<bool> {
        match self.authorize(session, context).await {
            Ok(permit) => {
                context.permit = Some(permit);
                local::answer(session, context).await
            }
            Err(refusal) => {
                self.refuse(session, context, &refusal).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(
        &self,
        _: &mut Session,
        context: &mut Context,
    ) -> pingora::Result<Box<HttpPeer>> {
        let known = context
            .route
            .and_then(|route| context.snapshot.upstream_of(route));
        let (Some(known), Some(_)) = (known, &context.permit) else {
            return Error::e_explain(ErrorType::InternalError, "no upstream without a permit");
        };
        context.upstream.started = Some(Instant::now());
        context.upstream.span = self.recorder.tracer.as_ref().map(|_| context.trace.child());
        Ok(known.upstream.peer())
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        reused: bool,
        _: &HttpPeer,
        _: std::os::unix::io::RawFd,
        _: Option<&Digest>,
        context: &mut Context,
    ) -> pingora::Result<()> {
        context.upstream.reused = reused;
        if !reused {
            context.upstream.connected = Some(Instant::now());
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        let Some(position) = context.route else {
            return Error::e_explain(ErrorType::InternalError, "no upstream without a route");
        };
        forward::prepare(request, position, client_address(session), context)
    }

    async fn upstream_response_filter(
        &self,
        _: &mut Session,
        answer: &mut ResponseHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        context.upstream.answered = Some(Instant::now());
        context.upstream.status = Some(answer.status);
        forward::strip_answer(answer);
        Ok(())
    }

    async fn response_filter(
        &self,
        _: &mut Session,
        answer: &mut ResponseHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        if self.recorder.server_timing && !answer.status.is_informational() {
            recorder::tell_times(answer, context)?;
        }
        Ok(())
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        failure: &Error,
        context: &mut Context,
    ) -> FailToProxy {
        let error_code = match Refusal::of_failure(failure) {
            Some(refusal) => {
                session.set_keepalive(None);
                context.refuse(&refusal);
                if session.response_written().is_none() {
                    // Who is gone cannot be told.
                    let id = context.trace.trace_id();
                    let _ = respond::refuse(session, &refusal, id).await;
                }
                refusal.status.as_u16()
            }
            None => {
                context.refused = Some((client_closed(), crate::domain::Reason::ClientClosed));
                0
            }
        };
        FailToProxy {
            error_code,
            can_reuse_downstream: false,
        }
    }

    /// The access log tells failures, with a reason and without what the request carried.
    fn suppress_error_log(&self, _: &Session, _: &Context, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Context,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, context: &mut Context) {
        self.finish(session, context);
    }
}

/// Longest silence of a client in the middle of a request or an answer.
const CLIENT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// The code that access logs use for a caller who went away (nginx's).
fn client_closed() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

/// The one host that a request is for: its authority in HTTP/2, else its one `Host` header (RFC 9112
/// §3.2). Pingora has refused an absolute-form target whose authority is not the header's.
fn host_of(request: &RequestHeader) -> Result<&str, Denial> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Denial::MalformedRequest);
    }
    if let Some(authority) = request.uri.authority() {
        return Ok(authority.host());
    }
    let host = match host {
        Some(host) => host.to_str().map_err(|_| Denial::MalformedRequest)?,
        None if request.version == Version::HTTP_10 => return Ok(""),
        None => return Err(Denial::MalformedRequest),
    };
    Ok(without_port(host))
}

/// A port has five digits at the most, so looking from the end is soon over.
fn without_port(host: &str) -> &str {
    let digits = host.bytes().rev().take_while(u8::is_ascii_digit).count();
    let end = host.len() - digits;
    match host.as_bytes()[..end].last() {
        Some(b':') => &host[..end - 1],
        _ => host,
    }
}

fn client_address(session: &Session) -> Option<HeaderValue> {
    match session.client_addr()?.as_inet()?.ip() {
        IpAddr::V4(address) => {
            let (text, length) = dotted(address);
            HeaderValue::from_bytes(&text[..length]).ok()
        }
        IpAddr::V6(address) => HeaderValue::from_str(&address.to_string()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(hosts: &[&str], target: &str, version: Version) -> RequestHeader {
        let mut request = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
        request.set_version(version);
        for host in hosts {
            request.append_header("host", *host).unwrap();
        }
        request
    }

    #[test]
    fn one_host_or_none() {
        let cases = [
            (&["a.example"][..], "/x", Version::HTTP_11, Ok("a.example")),
            (&["a.example:8080"], "/x", Version::HTTP_11, Ok("a.example")),
            (&["[::1]:8080"], "/x", Version::HTTP_11, Ok("[::1]")),
            (&["[::1]"], "/x", Version::HTTP_11, Ok("[::1]")),
            (&[], "/x", Version::HTTP_10, Ok("")),
            (&[], "/x", Version::HTTP_11, Err(Denial::MalformedRequest)),
            (
                &["a", "b"],
                "/x",
                Version::HTTP_11,
                Err(Denial::MalformedRequest),
            ),
            (
                &["a", "a"],
                "/x",
                Version::HTTP_10,
                Err(Denial::MalformedRequest),
            ),
        ];
        for (hosts, target, version, expected) in cases {
            let request = request(hosts, target, version);
            assert_eq!(host_of(&request), expected, "{hosts:?} {target}");
        }
    }
}
