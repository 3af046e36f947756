//! Who called, and how: the connection's own word, and that of proxies which are trusted.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::{http::RequestHeader, proxy::Session};

use super::{address::dotted, host_of};
use crate::domain::{Denial, Door, Grpc, Network, Passage, Peer, any_contains};

pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Where a request came from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caller {
    /// At the other end of the connection.
    pub direct: Option<IpAddr>,
    /// The client: behind proxies that are trusted, else the same.
    pub client: Option<IpAddr>,
    /// Whether the client came by TLS.
    pub is_https: bool,
    /// Whether `direct` is a proxy that is trusted.
    pub is_trusted: bool,
}

impl Caller {
    pub fn of(session: &Session) -> Self {
        let address = session.client_addr().and_then(|address| address.as_inet());
        let direct = address.map(|address| address.ip().to_canonical());
        let Some(peer) = peer(session) else {
            return Self {
                direct,
                client: direct,
                ..Self::default()
            };
        };
        let trusted = &peer.trusted_proxies;
        let is_trusted = direct.is_some_and(|direct| any_contains(trusted, direct));
        let headers = &session.req_header().headers;
        let told = is_trusted.then(|| headers.get(X_FORWARDED_PROTO)).flatten();
        let is_https = match told {
            Some(proto) => proto.as_bytes().eq_ignore_ascii_case(b"https"),
            None => peer.is_tls(),
        };
        Self {
            direct,
            client: match direct.filter(|_| is_trusted) {
                Some(proxy) => Some(behind(proxy, headers, trusted)),
                None => direct,
            },
            is_https,
            is_trusted,
        }
    }
}

/// Begins the request on its connection; also says whether there are too many. A body is waited for,
/// except where both sides may be silent as long as they like.
pub fn begin(session: &mut Session) -> Option<(Passage, bool)> {
    let (mut passage, is_shed) = peer(session)?.begin();
    if !session.is_body_done()
        && !session.is_upgrade_req()
        && Grpc::of(&session.req_header().headers).is_none()
    {
        passage.expect_body();
    }
    Some((passage, is_shed))
}

/// Whether the request came in by the right door.
///
/// # Errors
/// It belongs to another certificate (421), or should come by TLS (308).
pub fn check_door(session: &Session, caller: &Caller) -> Result<(), Denial> {
    let Some(peer) = peer(session) else {
        return Ok(());
    };
    let request = session.req_header();
    match &peer.door {
        Door::Plain => Ok(()),
        Door::RedirectTo(_) if caller.is_https => Ok(()),
        Door::RedirectTo(port) => Err(to_https(request, *port)?),
        Door::Tls(tls) if tls.names.are_of_one() => Ok(()),
        Door::Tls(_) => match peer.is_misdirected(host_of(request)?) {
            true => Err(Denial::Misdirected),
            false => Ok(()),
        },
    }
}

fn peer(session: &Session) -> Option<&Peer> {
    let connection = session.digest()?.proxy_digest.as_ref()?;
    connection.user_data.as_ref()?.downcast_ref()
}

/// The same target with TLS. A host that may not be one leads nowhere.
fn to_https(request: &RequestHeader, port: u16) -> Result<Denial, Denial> {
    let host = host_of(request)?;
    let is_name = |host: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        !host.is_empty() && host.bytes().all(allowed)
    };
    let is_address = |host: &str| {
        let inside = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        inside.is_some_and(|inside| inside.parse::<std::net::Ipv6Addr>().is_ok())
    };
    if !(is_name(host) || is_address(host)) || !request.raw_path_is_utf8() {
        return Err(Denial::MalformedRequest);
    }
    let target = request
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let target = if target.starts_with('/') { target } else { "/" };
    let port = match port {
        443 => String::new(),
        port => format!(":{port}"),
    };
    Ok(Denial::TlsNeeded {
        location: format!("https://{host}{port}{target}").into(),
    })
}

/// The address that the chain of trusted proxies begins with: from right to left, the first one that
/// is not trusted, or the last that can be read.
fn behind(proxy: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let mut client = proxy;
    let lists = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let words = lists.flat_map(|list| list.as_bytes().rsplit(|byte| *byte == b','));
    for word in words {
        let Some(address) = address_of(word) else {
            break;
        };
        client = address;
        if !any_contains(trusted, address) {
            break;
        }
    }
    client
}

/// An address, perhaps with a port, as some proxies write it.
fn address_of(word: &[u8]) -> Option<IpAddr> {
    let word = std::str::from_utf8(word).ok()?.trim();
    let address = match word.parse() {
        Ok(address) => address,
        Err(_) => match word.parse::<std::net::SocketAddr>() {
            Ok(address) => address.ip(),
            Err(_) => word.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?,
        },
    };
    Some(address.to_canonical())
}

/// What the upstream is told of the way to here.
pub struct Way {
    client: Option<HeaderValue>,
    host: Option<HeaderValue>,
    is_https: bool,
}

impl Way {
    /// Before the headers of callers are removed: a trusted proxy's are continued.
    pub fn new(headers: &HeaderMap, caller: &Caller) -> Self {
        let direct = caller.direct.and_then(text_of);
        let trusted = |name| match caller.is_trusted {
            true => headers.get(name),
            false => None,
        };
        let client = match (trusted(X_FORWARDED_FOR), direct) {
            (Some(_), Some(direct)) => continued(headers, &direct).or(Some(direct)),
            (_, direct) => direct,
        };
        Self {
            client,
            host: trusted(X_FORWARDED_HOST).cloned(),
            is_https: caller.is_https,
        }
    }

    /// `host`: the request's own.
    pub fn tell(self, headers: &mut HeaderMap, host: Option<HeaderValue>) {
        if let Some(host) = self.host.or(host) {
            headers.insert(X_FORWARDED_HOST, host);
        }
        if let Some(client) = self.client {
            headers.insert(X_FORWARDED_FOR, client);
        }
        let scheme = if self.is_https { "https" } else { "http" };
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
}

fn continued(headers: &HeaderMap, direct: &HeaderValue) -> Option<HeaderValue> {
    let lists = headers.get_all(X_FORWARDED_FOR).iter().chain([direct]);
    let lists: Vec<&[u8]> = lists.map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&lists.join(&b", "[..])).ok()
}

fn text_of(address: IpAddr) -> Option<HeaderValue> {
    match address {
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

    fn headers(lists: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for list in lists {
            headers.append(X_FORWARDED_FOR, list.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_client_is_the_first_that_is_not_trusted() {
        let trusted = [Network::parse("10.0.0.0/8").unwrap()];
        for (lists, client) in [
            (&[][..], "10.0.0.1"),
            (&["192.0.2.7"], "192.0.2.7"),
            (&["6.6.6.6, 192.0.2.7"], "192.0.2.7"),
            (&["6.6.6.6, 192.0.2.7, 10.9.9.9"], "192.0.2.7"),
            (&["6.6.6.6", "192.0.2.7 ,10.9.9.9"], "192.0.2.7"),
            (&["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
            (&["192.0.2.7:4711"], "192.0.2.7"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["::ffff:192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7, unknown"], "10.0.0.1"),
            (&["192.0.2.7, unknown, 10.9.9.9"], "10.9.9.9"),
            (&[""], "10.0.0.1"),
        ] {
            let proxy = "10.0.0.1".parse().unwrap();
            let found = behind(proxy, &headers(lists), &trusted);
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{lists:?}");
        }
    }

    #[test]
    fn only_a_host_that_may_be_one_is_sent_on() {
        let request = |host: &str, target: &str| {
            let mut request = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
            request.append_header("host", host).unwrap();
            to_https(&request, 8443)
        };
        let location = |location: &str| {
            Ok(Denial::TlsNeeded {
                location: location.into(),
            })
        };
        let expected = location("https://api.example:8443/a%20b?c=d");
        assert_eq!(request("api.example:80", "/a%20b?c=d"), expected);
        assert_eq!(
            request("[::1]:80", "//x"),
            location("https://[::1]:8443//x")
        );
        for host in [
            "", ":80", "a b", "a/b", "a@b", "a\\b", "[::1", "[x]", "a?b", "a#b",
        ] {
            assert_eq!(request(host, "/"), Err(Denial::Ambiguous), "{host}");
        }
    }
}
