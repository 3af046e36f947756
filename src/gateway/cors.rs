//! CORS: preflights are answered here, and answers say which pages may read them (Fetch §3.2).

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use pingora::http::{RequestHeader, ResponseHeader};

use super::answer::add_vary;
use crate::domain::{AskedHeaders, Cors, Denial, KnownMethod};

const ASKED_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");
const PREFIX: &str = "access-control-";

/// The method that a preflight asks about; `None`: the request is none.
pub fn asked_method(request: &RequestHeader) -> Option<KnownMethod> {
    if request.method != Method::OPTIONS || !request.headers.contains_key(header::ORIGIN) {
        return None;
    }
    let asked = request.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    Some(match Method::from_bytes(asked.as_bytes()) {
        Ok(method) => KnownMethod::of(&method),
        Err(_) => KnownMethod::Other,
    })
}

/// The answer to a preflight, without what every answer of the route gets. What the page asks for
/// beside its origin is for the browser to compare; it then tells the page's author what is missing.
///
/// # Errors
/// The page's origin may not use the route.
pub fn preflight(cors: &Cors, request: &RequestHeader) -> Result<ResponseHeader, Denial> {
    let asked = &request.headers;
    let origin = asked.get(header::ORIGIN);
    if origin
        .and_then(|origin| cors.allow_origin(origin))
        .is_none()
    {
        return Err(Denial::OriginNotAllowed);
    }
    let mut answer = ResponseHeader::build(StatusCode::NO_CONTENT, Some(8))
        .map_err(|_| Denial::MalformedRequest)?;
    let mut set = |name: HeaderName, value: HeaderValue| answer.insert_header(name, value);
    let headers = match &cors.headers {
        AskedHeaders::These(names) => Some(names.clone()),
        AskedHeaders::Any => asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned(),
    };
    let written = [
        set(header::ACCESS_CONTROL_ALLOW_METHODS, cors.methods.clone()),
        set(header::ACCESS_CONTROL_MAX_AGE, cors.max_age.clone()),
        headers.map_or(Ok(()), |names| {
            set(header::ACCESS_CONTROL_ALLOW_HEADERS, names)
        }),
        match cors.private_network && asked.contains_key(ASKED_PRIVATE_NETWORK) {
            true => set(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true")),
            false => Ok(()),
        },
    ];
    debug_assert!(written.iter().all(Result::is_ok));
    add_vary(&mut answer, "access-control-request-method");
    add_vary(&mut answer, "access-control-request-headers");
    Ok(answer)
}

/// Says which page may read an answer, in place of what the upstream said of it.
pub fn allow(cors: &Cors, request: &RequestHeader, answer: &mut ResponseHeader) {
    let preflight = answer.status == StatusCode::NO_CONTENT && asked_method(request).is_some();
    if !preflight {
        remove_foreign(answer);
    }
    if cors.varies() {
        add_vary(answer, "origin");
    }
    let Some(origin) = request.headers.get(header::ORIGIN) else {
        return;
    };
    let Some(allowed) = cors.allow_origin(origin) else {
        return;
    };
    let _ = answer.insert_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if cors.credentials {
        let yes = HeaderValue::from_static("true");
        let _ = answer.insert_header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
    }
    if let (false, Some(names)) = (preflight, &cors.expose) {
        let _ = answer.insert_header(header::ACCESS_CONTROL_EXPOSE_HEADERS, names.clone());
    }
}

/// Two servers' words on the same question would not be understood.
fn remove_foreign(answer: &mut ResponseHeader) {
    let is_cors = |name: &&HeaderName| name.as_str().starts_with(PREFIX);
    let foreign: Vec<HeaderName> = answer.headers.keys().filter(is_cors).cloned().collect();
    for name in &foreign {
        answer.remove_header(name);
    }
}
