//! What a client has taken of what was sent to it, as the system knows it.
//!
//! A write tells only what the system took over, and of an answer to a client who reads nothing that
//! is a lot.

use std::os::fd::RawFd;

use pingora::protocols::l4::ext::get_tcp_info;

/// One direction of a connection, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing {
    /// Bytes that the client's system has acknowledged, TLS included, since the connection began.
    pub taken: u64,
    /// Something has not been sent, because the client has no room for it.
    pub waits: bool,
}

impl Outgoing {
    /// `None`: the system does not tell.
    pub fn of(socket: RawFd) -> Option<Self> {
        let info = get_tcp_info(socket).ok()?;
        // Where Pingora cannot ask, everything is zero.
        (info.tcpi_snd_mss > 0).then_some(Self {
            taken: info.tcpi_bytes_acked,
            waits: info.tcpi_notsent_bytes > 0,
        })
    }
}
