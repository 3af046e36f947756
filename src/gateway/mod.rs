//! The proxy: route → token → verdict → policy → permit → upstream.
//!
//! Each hook of Pingora's pipeline is a few lines here and says where the work is done. The order of
//! steps is the order of lines in `authorize.rs`.

mod access_log;
mod address;
mod answer;
mod arrival;
mod attempt;
mod authorize;
mod backend_jwt;
mod caller;
mod compression;
mod context;
mod cors;
mod finish;
mod forward;
mod framing;
mod grpc;
mod limits;
mod local;
mod recorder;
mod refusal;
mod request;
mod respond;
mod response_cache;
mod routing;
mod snapshot;
mod subscription;
mod tiers;
mod token_end;
mod unparsed;
mod upgrade;
mod verify;
mod wording;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use pingora::{
    Error, ErrorType,
    cache::{CacheKey, CacheMeta, RespCacheable, key::HashBinary},
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    protocols::Digest,
    proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session},
    upstreams::peer::HttpPeer,
};

pub use access_log::{AccessLog, Format};
pub use limits::Limits;
pub use recorder::Recorder;
pub use snapshot::{Parts, Snapshot};
pub use unparsed::Unparsed;

use crate::{domain::Reason, lifecycle::Lifecycle, response_cache::ResponseCache};
use authorize::{Decided, authorize};
use context::Context;
use refusal::Refusal;
use request::host_of;

/// Answers requests by the configuration that is in force.
pub struct Gateway {
    current: Arc<ArcSwap<Snapshot>>,
    recorder: Arc<Recorder>,
    lifecycle: Arc<Lifecycle>,
    response_cache: ResponseCache,
}

impl Gateway {
    /// `current` may be replaced at any time; requests under way keep what they began with.
    pub fn new(
        current: Arc<ArcSwap<Snapshot>>,
        recorder: Arc<Recorder>,
        lifecycle: Arc<Lifecycle>,
        response_cache: ResponseCache,
    ) -> Self {
        Self {
            current,
            recorder,
            lifecycle,
            response_cache,
        }
    }

    /// Writes a refusal and remembers it for the log.
    async fn refuse(
        &self,
        session: &mut Session,
        context: &mut Context,
        refusal: &Refusal,
    ) -> pingora::Result<()> {
        context.refuse(refusal);
        respond::refuse(session, refusal, context).await
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// In a box, because Pingora moves it from future to future.
    type CTX = Box<Context>;

    fn new_ctx(&self) -> Self::CTX {
        Box::new(Context::new(self.current.load_full()))
    }

    fn init_downstream_modules(&self, modules: &mut HttpModules) {
        modules.add_module(Box::new(compression::Compressors));
    }

    async fn early_request_filter(
        &self,
        session: &mut Session,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        self.arrive(session, context);
        Ok(())
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        context: &mut Self::CTX,
    ) -> pingora::Result<bool> {
        match authorize(session, context).await {
            Ok(Decided::Pass(permit)) => {
                context.permit = Some(permit);
                local::give(session, context).await
            }
            Ok(Decided::Answer(mut answer, reason)) => {
                context.refused = Some((answer.status, reason));
                answer::dress_own(&mut answer, session, context);
                respond::write(session, *answer, Bytes::new()).await?;
                Ok(true)
            }
            Err(refusal) => {
                self.refuse(session, context, &refusal).await?;
                Ok(true)
            }
        }
    }

    fn request_cache_filter(
        &self,
        session: &mut Session,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        response_cache::enable(self.response_cache, session, context);
        Ok(())
    }

    fn cache_key_callback(
        &self,
        session: &Session,
        context: &mut Self::CTX,
    ) -> pingora::Result<CacheKey> {
        response_cache::cache_key(session, context)
    }

    fn cache_vary_filter(
        &self,
        meta: &CacheMeta,
        context: &mut Self::CTX,
        request: &RequestHeader,
    ) -> Option<HashBinary> {
        response_cache::vary(meta, request, context)
    }

    fn response_cache_filter(
        &self,
        session: &Session,
        answer: &ResponseHeader,
        context: &mut Self::CTX,
    ) -> pingora::Result<RespCacheable> {
        response_cache::keep(self.response_cache, session, answer, context)
    }

    fn should_serve_stale(
        &self,
        session: &mut Session,
        context: &mut Self::CTX,
        error: Option<&Error>,
    ) -> bool {
        response_cache::may_be_stale(session, context, error)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        _: &mut Option<Bytes>,
        end_of_stream: bool,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        context.see_body(end_of_stream);
        // What follows a switch of protocols is no body.
        let switched = context.upstream.status == Some(StatusCode::SWITCHING_PROTOCOLS);
        match switched {
            true => Ok(()),
            false => limits::check_body(session.body_bytes_read(), context),
        }
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        context: &mut Self::CTX,
    ) -> pingora::Result<Box<HttpPeer>> {
        let (Some(route), Some(_)) = (context.route, &context.permit) else {
            return Error::e_explain(ErrorType::InternalError, "no upstream without a permit");
        };
        let now = Instant::now();
        context.upstream.started = Some(now);
        context.upstream.span = self.recorder.tracer.as_ref().map(|_| context.trace.child());
        let mut peer = attempt::choose(session, context, route, now)?;
        grpc::limit_wait(&mut peer, session.req_header());
        token_end::watch(&mut peer, session, context, &self.current)?;
        upgrade::attach(&mut peer, context);
        Ok(peer)
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        context: &mut Self::CTX,
        failure: Box<Error>,
    ) -> Box<Error> {
        attempt::fail_to_connect(context, failure)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        failure: Box<Error>,
        context: &mut Self::CTX,
        reused: bool,
    ) -> Box<Error> {
        attempt::break_off(session, context, failure, reused)
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        reused: bool,
        _: &HttpPeer,
        _: std::os::unix::io::RawFd,
        _: Option<&Digest>,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        context.attempt.connected();
        context.upstream.reused = reused;
        if !reused {
            context.upstream.connected = Some(Instant::now());
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let Some(position) = context.route else {
            return Error::e_explain(ErrorType::InternalError, "no upstream without a route");
        };
        forward::prepare(request, position, context)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        context.upstream.answered = Some(Instant::now());
        context.upstream.status = Some(answer.status);
        forward::check_answer(session.req_header(), answer)?;
        context.attempt.answered(answer.status);
        forward::strip_answer(answer);
        response_cache::observe(self.response_cache, session, answer, context);
        Ok(())
    }

    /// Trailers are never merged into the header (RFC 9110 §6.5.1).
    fn upstream_response_trailer_filter(
        &self,
        _: &mut Session,
        trailers: &mut HeaderMap,
        _: &mut Self::CTX,
    ) -> pingora::Result<()> {
        forward::strip_trailers(trailers);
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        context: &mut Self::CTX,
    ) -> pingora::Result<()> {
        answer::dress(answer, session, context);
        if self.recorder.server_timing && !answer.status.is_informational() {
            recorder::tell_times(answer, context)?;
        }
        response_cache::sign(session, answer, context)
    }

    fn upstream_response_body_filter(
        &self,
        _: &mut Session,
        _: &mut Option<Bytes>,
        _: bool,
        context: &mut Self::CTX,
    ) -> pingora::Result<Option<Duration>> {
        context.attempt.check_deadline()?;
        Ok(None)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        failure: &Error,
        context: &mut Self::CTX,
    ) -> FailToProxy {
        let cut = context.cut();
        let error_code = match cut.or_else(|| Refusal::of_failure(failure)) {
            Some(refusal) => {
                session.set_keepalive(None);
                let status = context.refuse(&refusal);
                if session.response_written().is_none() {
                    // Who is gone cannot be told.
                    let _ = respond::refuse(session, &refusal, context).await;
                }
                status.as_u16()
            }
            None => {
                context.refused = Some((client_closed(), Reason::ClientClosed));
                0
            }
        };
        FailToProxy {
            error_code,
            can_reuse_downstream: false,
        }
    }

    /// The access log tells failures, with a reason and without what the request carried.
    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Self::CTX,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, context: &mut Self::CTX) {
        if let Some(cut) = context.cut() {
            context.refuse(&cut);
        }
        self.finish(session, context);
    }
}

/// The code that access logs use for a caller who went away (nginx's).
fn client_closed() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}
