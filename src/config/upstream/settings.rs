//! What the operator said of an upstream: checked, typed, plain data.

use std::{fmt, net::IpAddr, time::Duration};

use http::HeaderName;
use rustls::pki_types::CertificateDer;

use crate::config::ClientCertificate;

/// Where requests go: servers that answer alike, and how to treat them.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// The `upstream` label: the name in `[upstreams.NAME]`, else `host:port`.
    pub name: String,
    /// At least one.
    pub servers: Vec<ServerSettings>,
    pub protocol: Protocol,
    pub balance: Balance,
    /// How often names are looked up again; `None`: once.
    pub resolve_interval: Option<Duration>,
    pub timeouts: TimeoutSettings,
    pub retries: RetrySettings,
    pub limits: BreakerSettings,
    pub ejection: EjectionSettings,
    pub health_check: Option<HealthCheckSettings>,
    pub tls: UpstreamTlsSettings,
}

impl UpstreamSettings {
    /// With what all upstreams have that do not say it themselves; those without TLS have no use for it.
    #[must_use]
    pub fn with_usual(mut self, usual: &UpstreamTlsSettings) -> Self {
        if self.servers.iter().any(|server| server.tls) {
            let UpstreamTlsSettings {
                authorities,
                client,
                ..
            } = usual;
            self.tls.authorities = self.tls.authorities.or_else(|| authorities.clone());
            self.tls.client = self.tls.client.or_else(|| client.clone());
        }
        self
    }

    /// With defaults for all but name and servers.
    pub fn new(name: String, servers: Vec<ServerSettings>) -> Self {
        Self {
            name,
            servers,
            protocol: Protocol::Http1,
            balance: Balance::RoundRobin,
            resolve_interval: Some(Duration::from_secs(30)),
            timeouts: TimeoutSettings::default(),
            retries: RetrySettings::default(),
            limits: BreakerSettings::default(),
            ejection: EjectionSettings::default(),
            health_check: None,
            tls: UpstreamTlsSettings::default(),
        }
    }
}

/// One of `servers`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerSettings {
    /// A name or an address, that of IPv6 without brackets.
    pub host: String,
    pub port: u16,
    pub tls: bool,
    /// Its share, against those of the others.
    pub weight: u32,
}

impl ServerSettings {
    /// Whether there is a name to be looked up.
    pub fn is_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }

    /// As in a `Host` header: the port only where it is not the scheme's own.
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        let default_port = if self.tls { 443 } else { 80 };
        match self.port == default_port {
            true => host,
            false => format!("{host}:{}", self.port),
        }
    }
}

/// `host:port`.
impl fmt::Display for ServerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// `protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    /// Without TLS: with prior knowledge (RFC 9113 §3.3).
    H2,
    /// What the server picks in the TLS handshake (RFC 7301); HTTP/1.1 without TLS.
    Auto,
}

/// `balance` and `hash_key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    RoundRobin,
    LeastConnections,
    ConsistentHash(HashKey),
}

/// What requests must have in common to go to the same server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    ClientAddress,
    /// The token's; the client's address where there is no token.
    ClientId,
    /// The client's address where it is missing.
    Header(HeaderName),
}

/// `[upstreams.NAME.timeouts]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeoutSettings {
    /// For a TCP connection, and once more for TLS on it.
    pub connect: Duration,
    /// Between two reads.
    pub read: Duration,
    /// Between two writes.
    pub write: Duration,
    /// Life of a connection that nobody uses.
    pub idle: Duration,
    /// From the choice of a server to the end of the answer, retries included; `None`: no limit.
    pub total: Option<Duration>,
}

impl Default for TimeoutSettings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(60),
            write: Duration::from_secs(60),
            // Common servers close theirs after 5 s to 75 s; ours go first.
            idle: Duration::from_secs(4),
            total: None,
        }
    }
}

/// `retries` and `retry_budget_percent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetrySettings {
    /// Tries after the first, for one request.
    pub most: u32,
    /// Largest share of the requests in flight that may be tries of what has been sent before.
    pub budget_percent: u32,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            most: 2,
            budget_percent: 20,
        }
    }
}

/// `max_requests` and `max_pending`, for each address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// In flight at once.
    pub max_requests: u32,
    /// Of them, without a connection yet.
    pub max_pending: u32,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            max_requests: 10_000,
            max_pending: 1_000,
        }
    }
}

/// `[upstreams.NAME.ejection]`: when an address is left out because requests to it fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EjectionSettings {
    pub consecutive_failures: u32,
    /// The first time; it doubles each time.
    pub base_time: Duration,
    pub max_time: Duration,
    /// Largest share of the addresses that may be out for it.
    pub max_percent: u32,
}

impl Default for EjectionSettings {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            base_time: Duration::from_secs(10),
            max_time: Duration::from_secs(300),
            max_percent: 50,
        }
    }
}

/// `[upstreams.NAME.health_check]`: asking each address now and then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheckSettings {
    /// What is asked for; `None`: a connection is enough.
    pub path: Option<String>,
    pub expected_status: ExpectedStatus,
    pub interval: Duration,
    pub timeout: Duration,
    /// Good results in a row that bring an address back.
    pub healthy_after: u32,
    /// Bad ones that take it out.
    pub unhealthy_after: u32,
}

impl Default for HealthCheckSettings {
    fn default() -> Self {
        Self {
            path: None,
            expected_status: ExpectedStatus::default(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            healthy_after: 2,
            unhealthy_after: 2,
        }
    }
}

/// Status codes, as first and last of each run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedStatus(Vec<(u16, u16)>);

impl Default for ExpectedStatus {
    fn default() -> Self {
        Self(vec![(200, 399)])
    }
}

impl ExpectedStatus {
    /// Each one a code, as in `204`, or a class, as in `2xx`. `Err`: the one that is neither.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let run = |word: &'a str| {
            let class = word
                .strip_suffix("xx")
                .and_then(|class| class.parse::<u16>().ok())
                .map(|class| (class * 100, class * 100 + 99));
            let code = || word.parse().ok().map(|code| (code, code));
            class
                .or_else(code)
                .filter(|(first, _)| (100..600).contains(first))
                .ok_or(word)
        };
        words
            .into_iter()
            .map(run)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub fn has(&self, code: u16) -> bool {
        self.0
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&code))
    }
}

/// `[upstreams.NAME.tls]`: for connections to servers with `https`.
#[derive(Clone, Debug, Default)]
pub struct UpstreamTlsSettings {
    /// Authorities to trust instead of the machine's.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// Shown to servers that ask for one.
    pub client: Option<ClientCertificate>,
    /// The name that the server's certificate must have, and that is sent to it (RFC 6066 §3);
    /// `None`: the host of its address.
    pub server_name: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_codes_and_classes() {
        let expected = ExpectedStatus::parse(["2xx", "304"]).unwrap();
        for (code, is_one) in [
            (200, true),
            (299, true),
            (304, true),
            (303, false),
            (404, false),
        ] {
            assert_eq!(expected.has(code), is_one, "{code}");
        }
        for wrong in ["", "2x", "xx", "99", "600", "9xx", "70000xx", "ok", "-1"] {
            assert_eq!(ExpectedStatus::parse(["200", wrong]), Err(wrong));
        }
    }

    #[test]
    fn hosts_are_written_as_headers_have_them() {
        let server = |host: &str, port, tls| ServerSettings {
            host: host.to_owned(),
            port,
            tls,
            weight: 1,
        };
        for (server, shown, authority, is_name) in [
            (
                server("a.example", 443, true),
                "a.example:443",
                "a.example",
                true,
            ),
            (
                server("a.example", 443, false),
                "a.example:443",
                "a.example:443",
                true,
            ),
            (server("::1", 80, false), "[::1]:80", "[::1]", false),
            (
                server("10.0.0.1", 81, false),
                "10.0.0.1:81",
                "10.0.0.1:81",
                false,
            ),
        ] {
            assert_eq!(server.to_string(), shown);
            assert_eq!(server.authority(), authority);
            assert_eq!(server.is_name(), is_name);
        }
    }
}
