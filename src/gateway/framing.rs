//! Where a request ends: what two servers could read in two ways is read by nobody (RFC 9112 §6,
//! §11.2). Pingora has refused the rest: broken lines, names and versions, a `Transfer-Encoding`
//! that does not end with `chunked`, hosts that disagree.

use http::{HeaderMap, HeaderValue, header};
use pingora::{protocols::http::ServerSession, proxy::Session};

use crate::domain::Denial;

/// The length that the request says its body has.
///
/// # Errors
/// The request has no one length.
pub fn check(session: &Session) -> Result<Option<u64>, Denial> {
    let request = session.req_header();
    let headers = &request.headers;
    // Something before the target, a space for instance, is made part of it by Pingora.
    let start = request.raw_path().first();
    if !start.is_some_and(|start| start.is_ascii_alphabetic() || b"/*".contains(start)) {
        return Err(Denial::Ambiguous);
    }
    let length = length_of(headers)?;
    if let Some(coding) = headers.get(header::TRANSFER_ENCODING) {
        check_coding(coding, headers)?;
        // Pingora takes the length out of such a request (RFC 9112 §6.3 allows that); a server in
        // front of us may have gone by it.
        if let ServerSession::H1(request) = session.as_downstream()
            && has_length(&request.get_headers_raw_bytes())
        {
            return Err(Denial::Ambiguous);
        }
    }
    Ok(length)
}

/// One value, of digits only.
fn length_of(headers: &HeaderMap) -> Result<Option<u64>, Denial> {
    let Some(length) = headers.get(header::CONTENT_LENGTH) else {
        return Ok(None);
    };
    let digits = length.as_bytes();
    let is_number = matches!(digits.len(), 1..=18) && digits.iter().all(u8::is_ascii_digit);
    let is_one = headers
        .get_all(header::CONTENT_LENGTH)
        .iter()
        .nth(1)
        .is_none();
    let number = length.to_str().ok().and_then(|length| length.parse().ok());
    match (number, is_number && is_one) {
        (Some(number), true) => Ok(Some(number)),
        _ => Err(Denial::Ambiguous),
    }
}

/// `chunked` and nothing else: it is the one coding that every server behind us knows.
fn check_coding(coding: &HeaderValue, headers: &HeaderMap) -> Result<(), Denial> {
    let is_one = headers
        .get_all(header::TRANSFER_ENCODING)
        .iter()
        .nth(1)
        .is_none();
    match is_one && coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        true => Ok(()),
        false => Err(Denial::Ambiguous),
    }
}

/// Whether a header as it came has a `Content-Length` line.
fn has_length(raw: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length";
    raw.split(|byte| *byte == b'\n').any(|line| {
        let name = line.get(..NAME.len());
        name.is_some_and(|name| name.eq_ignore_ascii_case(NAME))
            && line.get(NAME.len()) == Some(&b':')
    })
}
