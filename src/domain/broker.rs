//! Where a message broker is: the address of an AMQP connection, as people write it.

use super::Secret;

/// Longest address that is read, in bytes.
pub const MAX_BROKER_URL_BYTES: usize = 4096;
/// Most brokers of one address.
const MAX_BROKERS: usize = 16;
const PORT: u16 = 5672;
const TLS_PORT: u16 = 5671;

/// A virtual host of a broker, and the servers that have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// `None`: the address names nobody.
    pub account: Option<BrokerAccount>,
    pub virtual_host: String,
    /// In the order in which they are tried; never empty.
    pub servers: Vec<BrokerServer>,
}

/// Who connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAccount {
    pub name: String,
    pub password: Secret,
}

/// One server of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BrokerServer {
    pub host: String,
    pub port: u16,
    pub tls: bool,
}

impl Broker {
    /// Reads an address in one of two forms: that of Andes and Qpid,
    /// `amqp://user:password@client/vhost?brokerlist='tcp://one:5672;tcp://other:5672'`, or the
    /// plain one, `amqp://user:password@host:5672/vhost`, with `amqps` for TLS. User, password and
    /// virtual host may be percent-encoded. Options beside the list are for clients that give up, or
    /// wait in their own way; they change nothing here.
    ///
    /// # Errors
    /// What is wrong with it, without repeating any of it.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        if url.len() > MAX_BROKER_URL_BYTES {
            return Err("the address is longer than 4096 bytes");
        }
        let (tls, rest) = scheme(url.trim())?;
        let (address, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match address.split_once('/') {
            Some((authority, path)) => (authority, Some(path)),
            None => (address, None),
        };
        let (account, host) = split_account(authority)?;
        let servers = match option(options, "brokerlist") {
            Some(list) => broker_list(list)?,
            None => vec![server(host, tls)?],
        };
        Ok(Self {
            account,
            virtual_host: virtual_host(path)?,
            servers,
        })
    }
}

impl BrokerServer {
    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host.eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|address| address.is_loopback())
    }
}

fn scheme(url: &str) -> Result<(bool, &str), &'static str> {
    for (scheme, tls) in [("amqp://", false), ("amqps://", true)] {
        if let Some((start, rest)) = url.split_at_checked(scheme.len())
            && start.eq_ignore_ascii_case(scheme)
        {
            return Ok((tls, rest));
        }
    }
    Err("an address of a broker begins with amqp:// or amqps://")
}

/// `user:password@host` taken apart. A password may have an `@`, a host may not.
fn split_account(authority: &str) -> Result<(Option<BrokerAccount>, &str), &'static str> {
    let Some((account, host)) = authority.rsplit_once('@') else {
        return Ok((None, authority));
    };
    let (name, password) = account.split_once(':').unwrap_or((account, ""));
    let account = BrokerAccount {
        name: decoded(name)?,
        password: Secret::new(decoded(password)?),
    };
    Ok((Some(account), host))
}

/// What is not written is `/`, as with every AMQP client.
fn virtual_host(path: Option<&str>) -> Result<String, &'static str> {
    match path {
        None | Some("") => Ok("/".to_owned()),
        Some(path) => decoded(path),
    }
}

/// The value of an option such as `name='value'`; others stand beside it, separated by `&`.
fn option<'a>(options: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = options;
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=')?;
        let (value, after) = quoted(value);
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = after;
    }
    None
}

/// A value, and what follows its `&`. Options of a broker in the list have quotes within the quotes,
/// so they are counted.
fn quoted(value: &str) -> (&str, &str) {
    let Some(inside) = value.strip_prefix('\'') else {
        return value.split_once('&').unwrap_or((value, ""));
    };
    let mut depth = 1_i32;
    let bytes = inside.as_bytes();
    for (position, byte) in bytes.iter().enumerate() {
        if *byte != b'\'' {
            continue;
        }
        // One that follows a `=` opens, every other one closes.
        let opens = position > 0 && bytes[position - 1] == b'=';
        depth += if opens { 1 } else { -1 };
        if depth == 0 {
            let after = &inside[position + 1..];
            return (
                &inside[..position],
                after.strip_prefix('&').unwrap_or(after),
            );
        }
    }
    (inside, "")
}

/// `tcp://host:port?options;tcp://host:port`.
fn broker_list(list: &str) -> Result<Vec<BrokerServer>, &'static str> {
    let mut servers = Vec::new();
    for broker in list.split(';').map(str::trim) {
        if broker.is_empty() {
            continue;
        }
        if servers.len() == MAX_BROKERS {
            return Err("there are more than 16 brokers in the list");
        }
        let (transport, rest) = broker
            .split_once("://")
            .ok_or("a broker of the list is tcp://host:port")?;
        let (address, options) = rest.split_once('?').unwrap_or((rest, ""));
        let by_option = option(options, "ssl").is_some_and(|ssl| ssl.eq_ignore_ascii_case("true"));
        let tls = match transport.to_ascii_lowercase().as_str() {
            "tcp" | "amqp" => by_option,
            "ssl" | "tls" | "amqps" => true,
            _ => return Err("a broker of the list is reached by tcp:// or ssl://"),
        };
        servers.push(server(address.trim_end_matches('/'), tls)?);
    }
    match servers.is_empty() {
        true => Err("the list of brokers is empty"),
        false => Ok(servers),
    }
}

/// `host`, `host:port`, `[::1]:port`.
fn server(address: &str, tls: bool) -> Result<BrokerServer, &'static str> {
    const NO_PORT: &str = "the port of the broker is no number from 1 to 65535";
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("a bracket is not closed")?;
            (host, after.strip_prefix(':'))
        }
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_host) {
        return Err("the broker has no host, or one that no host can have");
    }
    let port = match port {
        Some(port) => port.parse().map_err(|_| NO_PORT)?,
        None if tls => TLS_PORT,
        None => PORT,
    };
    if port == 0 {
        return Err(NO_PORT);
    }
    Ok(BrokerServer {
        host: host.to_owned(),
        port,
        tls,
    })
}

/// Without percent-encoding (RFC 3986 §2.1). A `%` that begins no code stands for itself: passwords
/// are often written as they are.
fn decoded(text: &str) -> Result<String, &'static str> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut position = 0;
    while let Some(byte) = bytes.get(position) {
        let code = (*byte == b'%')
            .then(|| digit(bytes.get(position + 1)).zip(digit(bytes.get(position + 2))))
            .flatten()
            .and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        plain.push(code.unwrap_or(*byte));
        position += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8(plain).map_err(|_| "a percent-encoded part is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(url: &str) -> Vec<(String, u16, bool)> {
        let broker = Broker::parse(url).unwrap_or_else(|fault| panic!("{url}: {fault}"));
        let plain = |server: BrokerServer| (server.host, server.port, server.tls);
        broker.servers.into_iter().map(plain).collect()
    }

    fn one(host: &str, port: u16, tls: bool) -> Vec<(String, u16, bool)> {
        vec![(host.to_owned(), port, tls)]
    }

    #[test]
    fn the_default_of_the_original() {
        let url = "amqp://admin:admin@carbon/carbon?brokerlist='tcp://localhost:5672'";
        let broker = Broker::parse(url).unwrap();
        let account = broker.account.unwrap();
        assert_eq!(
            (account.name.as_str(), account.password.expose()),
            ("admin", "admin")
        );
        assert_eq!(broker.virtual_host, "carbon");
        assert_eq!(servers(url), one("localhost", 5672, false));
    }

    #[test]
    fn several_brokers_with_options() {
        let url = "amqp://admin:admin@clientID/carbon?failover='roundrobin?cyclecount='2''\
                   &brokerlist='tcp://one:5675?retries='5'&connectdelay='50';\
                   tcp://two:5676?ssl='true'&trust_store='/x.jks';ssl://three'";
        assert_eq!(
            servers(url),
            [
                ("one".to_owned(), 5675, false),
                ("two".to_owned(), 5676, true),
                ("three".to_owned(), 5671, true),
            ]
        );
    }

    #[test]
    fn plain_addresses() {
        for (url, host, port, tls) in [
            ("amqp://u:p@h:1234/v", "h", 1234, false),
            ("amqp://h", "h", 5672, false),
            ("AMQPS://h/", "h", 5671, true),
            ("amqp://[::1]:99", "::1", 99, false),
            (
                "amqp://u:p@h:5672?retries='10'&connectdelay='30'",
                "h",
                5672,
                false,
            ),
        ] {
            assert_eq!(servers(url), one(host, port, tls), "{url}");
        }
        for (url, virtual_host) in [
            ("amqp://h", "/"),
            ("amqp://h/", "/"),
            ("amqp://h/%2f", "/"),
            ("amqp://h/a%20b", "a b"),
        ] {
            assert_eq!(Broker::parse(url).unwrap().virtual_host, virtual_host);
        }
    }

    #[test]
    fn accounts_are_decoded_and_may_be_odd() {
        for (url, name, password) in [
            (
                "amqp://admin%40carbon.super:p%3A%2F@h",
                "admin@carbon.super",
                "p:/",
            ),
            (
                "amqp://admin@carbon.super:p@ss@h",
                "admin@carbon.super",
                "p@ss",
            ),
            ("amqp://u:100%@h", "u", "100%"),
            ("amqp://u@h", "u", ""),
        ] {
            let account = Broker::parse(url).unwrap().account.unwrap();
            assert_eq!(
                (account.name.as_str(), account.password.expose()),
                (name, password)
            );
        }
        assert_eq!(Broker::parse("amqp://h").unwrap().account, None);
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        let long = format!("amqp://u:s3cret@{}", "h".repeat(MAX_BROKER_URL_BYTES));
        let many = format!("amqp://c/v?brokerlist='{}'", "tcp://h:1;".repeat(17));
        for url in [
            "",
            "http://u:s3cret@h",
            "amqp://",
            "amqp://u:s3cret@",
            "amqp://u:s3cret@h:0",
            "amqp://u:s3cret@h:65536",
            "amqp://u:s3cret@h:x",
            "amqp://u:s3cret@a b",
            "amqp://u:%ff@h",
            "amqp://u:s3cret@c/v?brokerlist=''",
            "amqp://u:s3cret@c/v?brokerlist='vm://:1'",
            "amqp://u:s3cret@c/v?brokerlist='localhost:5672'",
            "amqp://[::1",
            &long,
            &many,
        ] {
            let fault = Broker::parse(url).unwrap_err();
            assert!(!fault.contains("s3cret"), "{fault}");
        }
    }
}
