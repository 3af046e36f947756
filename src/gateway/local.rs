//! Routes that go nowhere: redirects and static answers. The permit is there before they are given.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora::{Error, ErrorType, OrErr, http::ResponseHeader, proxy::Session};

use super::{answer, context::Context, respond};
use crate::domain::{Action, Redirect, RequestPath, StaticAnswer};

/// Gives the answer of the request's route, if the route itself has one; false: the request goes
/// on.
///
/// # Errors
/// The caller went away.
pub async fn give(session: &mut Session, context: &Context) -> pingora::Result<bool> {
    let Some(position) = context.route else {
        return Ok(false);
    };
    let (mut header, body) = match &context.snapshot.route(position).action {
        Action::Forward(_) => return Ok(false),
        Action::Redirect(to) => (redirect(to, session)?, Bytes::new()),
        Action::Respond(answer) => (static_answer(answer)?, answer.body.clone()),
    };
    answer::dress(&mut header, session, context);
    respond::write(session, header, body).await?;
    Ok(true)
}

fn redirect(to: &Redirect, session: &Session) -> pingora::Result<ResponseHeader> {
    let uri = &session.req_header().uri;
    // It has been parsed before, when the route was looked for.
    let Ok(path) = RequestPath::parse(uri.path()) else {
        return Error::e_explain(ErrorType::InternalError, "no redirect without a path");
    };
    let location = to.location(&path.sent, uri.query());
    let location = HeaderValue::from_bytes(location.as_bytes())
        .or_err(ErrorType::InternalError, "a location that is no header")?;
    let mut header = ResponseHeader::build(to.status, Some(2))?;
    header.insert_header(header::LOCATION, location)?;
    header.insert_header(header::CONTENT_LENGTH, HeaderValue::from(0))?;
    Ok(header)
}

/// The header of an answer that is always the same.
///
/// # Errors
/// Never in practice: it has been read before.
pub fn static_answer(answer: &StaticAnswer) -> pingora::Result<ResponseHeader> {
    let mut header = ResponseHeader::build(answer.status, Some(answer.headers.len() + 1))?;
    for (name, value) in &answer.headers {
        header.append_header(name.clone(), value.clone())?;
    }
    // RFC 9110 §8.6: 204 has no length; that of 205 is nought.
    if answer.status != StatusCode::NO_CONTENT {
        header.insert_header(header::CONTENT_LENGTH, HeaderValue::from(answer.body.len()))?;
    }
    Ok(header)
}
