//! What a request says before its route is known.

use http::{HeaderValue, Method, Version, header};
use pingora::http::RequestHeader;

use crate::domain::Denial;

/// The one host that a request is for: its authority in HTTP/2, else its one `Host` header (RFC 9112
/// §3.2). Pingora has refused an absolute-form target whose authority is not the header's.
///
/// # Errors
/// There is none, or two, or one that servers could read in two ways.
pub fn host_of(request: &RequestHeader) -> Result<&str, Denial> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Denial::Ambiguous);
    }
    let host = match (request.uri.authority(), host) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => host.to_str().map_err(|_| Denial::Ambiguous)?,
        (None, None) if request.version == Version::HTTP_10 => return Ok(""),
        (None, None) => return Err(Denial::Ambiguous),
    };
    let name = without_port(host);
    match is_host(name) {
        true => Ok(name),
        false => Err(Denial::Ambiguous),
    }
}

/// A name of the domain name system (with `_`, which some use), or an address: no list, no path, no
/// user, and not nothing.
fn is_host(name: &str) -> bool {
    let in_address = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    match name.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|address| !address.is_empty() && address.bytes().all(in_address)),
        None => !name.is_empty() && name.bytes().all(in_name),
    }
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

/// HTTP/1.0 knows no expectation (RFC 9110 §10.1.1): the upstream, asked in HTTP/1.1, would answer to
/// it, and the caller would not understand the answer.
pub fn forget_expectation(request: &mut RequestHeader) {
    if request.version == Version::HTTP_10 {
        request.remove_header(&header::EXPECT);
    }
}

/// HTTP/2 may send a cookie in crumbs, which HTTP/1.1 does not know (RFC 9113 §8.2.3): servers would
/// see the first or the last one only.
pub fn join_cookies(request: &mut RequestHeader) {
    let headers = &request.headers;
    // Most requests have no header twice, which is seen sooner.
    if headers.len() == headers.keys_len()
        || headers.get_all(header::COOKIE).iter().nth(1).is_none()
    {
        return;
    }
    let crumbs = request.headers.get_all(header::COOKIE).iter();
    let crumbs: Vec<&[u8]> = crumbs.map(HeaderValue::as_bytes).collect();
    // Of values one is made, so it is one, and what is not cannot be sent.
    match HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        Ok(whole) => _ = request.insert_header(header::COOKIE, whole),
        Err(_) => _ = request.remove_header(&header::COOKIE),
    }
}

/// An `Upgrade` that `Connection` does not name is about no connection of ours (RFC 9110 §7.8): whoever
/// is in front of us may have left it there, and does not expect that anything but HTTP follows. Of
/// what is upgraded here, WebSockets, the handshake is a GET without a body (RFC 6455 §4.1).
///
/// Says whether one is left.
pub fn keep_upgrade(request: &mut RequestHeader) -> bool {
    let headers = &request.headers;
    if !headers.contains_key(header::UPGRADE) {
        return false;
    }
    let names = headers.get_all(header::CONNECTION).iter();
    let mut names = names.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let is_named = names.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    let length = headers.get(header::CONTENT_LENGTH);
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || length.is_some_and(|length| length.as_bytes() != b"0");
    let stays = is_named && !has_body && request.method == Method::GET;
    if !stays {
        request.remove_header(&header::UPGRADE);
    }
    stays
}

/// `100-continue` is passed on, and the upstream's answer to it comes back; nothing else can be
/// expected (RFC 9110 §10.1.1). Servers differ in what they make of other spellings.
pub fn check_expectation(request: &RequestHeader) -> Result<(), Denial> {
    let mut expected = request.headers.get_all(header::EXPECT).iter();
    match (expected.next(), expected.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(()),
        _ => Err(Denial::UnknownExpectation),
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
            (&[], "/x", Version::HTTP_11, Err(Denial::Ambiguous)),
            (&[""], "/x", Version::HTTP_11, Err(Denial::Ambiguous)),
            (&["a, b"], "/x", Version::HTTP_11, Err(Denial::Ambiguous)),
            (&["a/x"], "/x", Version::HTTP_11, Err(Denial::Ambiguous)),
            (&["a:80x"], "/x", Version::HTTP_11, Err(Denial::Ambiguous)),
            (&["u@a"], "/x", Version::HTTP_11, Err(Denial::Ambiguous)),
            (&["[::1"], "/x", Version::HTTP_11, Err(Denial::Ambiguous)),
            (
                &["my_host.a-b:1"],
                "/x",
                Version::HTTP_11,
                Ok("my_host.a-b"),
            ),
            (&["a", "b"], "/x", Version::HTTP_11, Err(Denial::Ambiguous)),
            (&["a", "a"], "/x", Version::HTTP_10, Err(Denial::Ambiguous)),
        ];
        for (hosts, target, version, expected) in cases {
            let request = request(hosts, target, version);
            assert_eq!(host_of(&request), expected, "{hosts:?} {target}");
        }
    }

    #[test]
    fn crumbs_are_one_cookie() {
        for (crumbs, expected) in [
            (&[][..], &[][..]),
            (&["a=b"], &["a=b"]),
            (&["a=b", "c=d", ""], &["a=b; c=d; "]),
        ] {
            let mut request = request(&["h"], "/x", Version::HTTP_2);
            for crumb in crumbs {
                request.append_header("cookie", *crumb).unwrap();
            }
            join_cookies(&mut request);
            let joined = request.headers.get_all("cookie").iter();
            let joined: Vec<_> = joined.map(|value| value.to_str().unwrap()).collect();
            assert_eq!(joined, expected);
        }
    }

    #[test]
    fn an_upgrade_is_a_get_and_named_by_connection() {
        for (method, fields, expected) in [
            ("GET", &[("connection", "Upgrade")][..], true),
            ("GET", &[("connection", "keep-alive, upgrade")], true),
            (
                "GET",
                &[("connection", "x"), ("connection", "\tUPGRADE")],
                true,
            ),
            (
                "GET",
                &[("connection", "upgrade"), ("content-length", "0")],
                true,
            ),
            ("GET", &[], false),
            ("GET", &[("connection", "upgraded")], false),
            ("POST", &[("connection", "upgrade")], false),
            (
                "GET",
                &[("connection", "upgrade"), ("content-length", "1")],
                false,
            ),
            (
                "GET",
                &[("connection", "upgrade"), ("transfer-encoding", "chunked")],
                false,
            ),
        ] {
            let mut request = request(&["h"], "/x", Version::HTTP_11);
            request.set_method(method.parse().unwrap());
            request.append_header("upgrade", "websocket").unwrap();
            for (name, value) in fields {
                request.append_header(*name, *value).unwrap();
            }
            let stays = keep_upgrade(&mut request);
            let has_it = request.headers.contains_key("upgrade");
            assert_eq!((stays, has_it), (expected, expected), "{method} {fields:?}");
        }
    }

    #[test]
    fn only_100_continue_can_be_expected() {
        let cases: [(&[&str], bool); 8] = [
            (&[], true),
            (&["100-continue"], true),
            (&["100-Continue"], true),
            (&["100-continue, x"], false),
            (&["100-continue", "100-continue"], false),
            (&["\t100-continue;x"], false),
            (&["y 100-continue"], false),
            (&[""], false),
        ];
        for (values, may) in cases {
            let mut request = request(&["h"], "/x", Version::HTTP_11);
            for value in values {
                request.append_header("expect", *value).unwrap();
            }
            assert_eq!(check_expectation(&request).is_ok(), may, "{values:?}");
        }
    }
}
