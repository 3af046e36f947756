//! Where requests go on to: addresses, resolved, with their limits.

use std::{net::ToSocketAddrs, time::Duration};

use anyhow::Context as _;
use http::HeaderValue;
use pingora::upstreams::peer::HttpPeer;

use crate::config::UpstreamSettings;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// With TLS.
const TOTAL_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two reads, and between two writes.
const IO_TIMEOUT: Duration = Duration::from_secs(60);
/// Common servers close theirs after 5 s to 75 s; ours go first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// One upstream, ready for use.
pub struct Upstream {
    peer: HttpPeer,
    /// For the `Host` header.
    pub host: HeaderValue,
}

impl Upstream {
    /// Looks the name up.
    ///
    /// # Errors
    /// The name has no address.
    pub fn resolve(settings: &UpstreamSettings) -> anyhow::Result<Self> {
        let name = settings.name();
        let address = (settings.host.as_str(), settings.port)
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next())
            .with_context(|| format!("the upstream {name} has no address: check its name"))?;
        let mut peer = HttpPeer::new(address, settings.tls, settings.host.clone());
        peer.options.connection_timeout = Some(CONNECT_TIMEOUT);
        peer.options.total_connection_timeout = Some(TOTAL_CONNECT_TIMEOUT);
        peer.options.read_timeout = Some(IO_TIMEOUT);
        peer.options.write_timeout = Some(IO_TIMEOUT);
        peer.options.idle_timeout = Some(IDLE_TIMEOUT);
        let default_port = if settings.tls { 443 } else { 80 };
        let host = match settings.port == default_port {
            true => settings.host.clone(),
            false => name,
        };
        Ok(Self {
            peer,
            host: HeaderValue::from_str(&host)?,
        })
    }

    pub fn peer(&self) -> Box<HttpPeer> {
        Box::new(self.peer.clone())
    }
}
