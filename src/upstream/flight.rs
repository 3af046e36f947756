//! A request on its way: counted at its address, and against the budget of tries, until it is over.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use http::HeaderValue;
use pingora::upstreams::peer::HttpPeer;

use super::{Pool, peer::Member};

/// A request on its way to an address; counted there until this goes, however it goes.
pub struct Flight {
    member: Arc<Member>,
    connected: bool,
}

impl Flight {
    pub(super) fn begin(member: &Arc<Member>) -> Self {
        member.state.enter();
        Self {
            member: Arc::clone(member),
            connected: false,
        }
    }

    pub(super) fn member(&self) -> &Member {
        &self.member
    }

    pub fn address(&self) -> SocketAddr {
        self.member.address
    }

    /// For the `Host` header.
    pub fn host(&self) -> &HeaderValue {
        &self.member.host
    }

    /// For Pingora. `left`: time until the request's end.
    pub fn peer(&self, left: Option<Duration>) -> Box<HttpPeer> {
        let mut peer = Box::new(self.member.peer.clone());
        if let Some(left) = left {
            let options = &mut peer.options;
            for limit in [
                &mut options.connection_timeout,
                &mut options.total_connection_timeout,
                &mut options.read_timeout,
                &mut options.write_timeout,
            ] {
                *limit = limit.map(|limit| limit.min(left));
            }
        }
        peer
    }

    /// It has a connection now.
    pub fn connected(&mut self) {
        if !self.connected {
            self.connected = true;
            self.member.state.connected();
        }
    }

    /// Its answer began.
    pub fn answered(&self) {
        self.member.state.succeeded();
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.member.state.leave(self.connected);
    }
}

/// Another try, counted against the budget until this goes.
pub struct Retrying(Option<Arc<Pool>>);

impl Retrying {
    pub(super) fn begin(pool: Option<Arc<Pool>>) -> Self {
        if let Some(pool) = &pool {
            pool.retrying.fetch_add(1, Relaxed);
        }
        Self(pool)
    }
}

impl Drop for Retrying {
    fn drop(&mut self) {
        if let Some(pool) = &self.0 {
            pool.retrying.fetch_sub(1, Relaxed);
        }
    }
}
