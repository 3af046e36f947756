//! The moment when the header of a request is there: who sent it, its trace, its timeouts.

use std::time::Duration;

use http::Version;
use pingora::proxy::Session;

use super::{
    Gateway,
    caller::{self, Caller},
    context::Context,
    request,
};
use crate::telemetry::{TRACEPARENT, TraceContext};

/// Longest silence of a client in the middle of a request or an answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

impl Gateway {
    /// Notes what does not depend on the route.
    pub fn arrive(&self, session: &mut Session, context: &mut Context) {
        let header = session.req_header_mut();
        request::join_cookies(header);
        // HTTP/2 knows no such header (RFC 9113 §8.2.2).
        context.is_upgrade = request::keep_upgrade(header) && header.version != Version::HTTP_2;
        context.caller = Caller::of(session);
        context.begin(caller::begin(session));
        let parent = session.req_header().headers.get(TRACEPARENT);
        context.trace = TraceContext::continue_from(parent);
        if let Some(tracer) = &self.recorder.tracer {
            tracer.decide(&mut context.trace);
        }
        request::forget_expectation(session.req_header_mut());
        session.set_read_timeout(Some(CLIENT_TIMEOUT));
        session.set_write_timeout(Some(CLIENT_TIMEOUT));
        session.set_total_drain_timeout(Some(CLIENT_TIMEOUT));
        if self.lifecycle.is_draining() || context.is_last_of_connection() {
            session.set_keepalive(None);
        }
    }
}
