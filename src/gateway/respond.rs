//! Answers of the gateway's own on their way to the caller, and what becomes of the connection.

use bytes::Bytes;
use http::{Method, header};
use pingora::{http::ResponseHeader, protocols::http::ServerSession, proxy::Session};

use super::{answer, context::Context, local, refusal::Refusal};
use crate::domain::Grpc;

/// Bodies up to here are read to their end, so that the connection can be kept; longer ones close
/// it. Either way the next request cannot be mistaken for the rest of this one.
const DRAINED_BODY: u64 = 64 * 1024;

/// Writes a refusal to the caller.
///
/// # Errors
/// The caller went away.
pub async fn refuse(
    session: &mut Session,
    refusal: &Refusal,
    context: &Context,
) -> pingora::Result<()> {
    let call = Grpc::of(&session.req_header().headers);
    let (mut header, body) = match context.answer_to(refusal).filter(|_| call.is_none()) {
        Some(own) => (local::static_answer(own)?, own.body.clone()),
        None => refusal.answer(context.snapshot.errors, call, context.trace.trace_id())?,
    };
    answer::dress_own(&mut header, session, context);
    if refusal.closes {
        session.set_keepalive(None);
    }
    write(session, header, body).await
}

/// Writes an answer of the gateway's own to the caller; the body is left out where the method wants
/// it so.
///
/// # Errors
/// The caller went away.
pub async fn write(
    session: &mut Session,
    header: ResponseHeader,
    body: Bytes,
) -> pingora::Result<()> {
    if may_keep_connection(session) {
        // What is left of the body is read away after the answer.
        session.set_close_on_response_before_downstream_finish(false);
    } else {
        session.set_keepalive(None);
    }
    let ends = body.is_empty() || session.req_header().method == Method::HEAD;
    // In one frame: gRPC takes a status from the header only if nothing can follow.
    if let (true, ServerSession::H2(stream)) = (ends, session.as_downstream_mut()) {
        return stream.write_response_header(Box::new(header), true);
    }
    session
        .write_response_header(Box::new(header), ends)
        .await?;
    if !ends {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// Whether what is left of the request can be read away. A caller that waits for `100 Continue`
/// will never send it.
fn may_keep_connection(session: &mut Session) -> bool {
    if session.req_header().method == Method::CONNECT {
        // What comes next may be meant for the tunnel that there is not.
        return false;
    }
    if session.is_body_done() {
        return true;
    }
    let headers = &session.req_header().headers;
    if headers.contains_key(header::EXPECT) {
        return false;
    }
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.is_some_and(|length: u64| length <= DRAINED_BODY)
}
