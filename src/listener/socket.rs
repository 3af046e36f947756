//! Listening sockets: bound anew, or taken over from the process before.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Connections that may wait to be accepted; the system has a limit of its own (`somaxconn`).
const BACKLOG: i32 = 65_535;
/// What the system holds for a client who has no room for it; without a bound it is megabytes.
const UNSENT_BYTES: u32 = 128 * 1024;
/// How long the system holds on to bytes that a client does not take, also when we are done with it.
const SILENCE: Duration = Duration::from_secs(60);

/// Listening sockets that another process has left us, by the address that they are bound to.
#[derive(Default)]
pub struct Inherited(Vec<(SocketAddr, TcpListener)>);

impl Inherited {
    /// # Errors
    /// One of them is no listening socket for TCP.
    pub fn new(sockets: impl IntoIterator<Item = OwnedFd>) -> io::Result<Self> {
        let sockets: io::Result<_> = sockets
            .into_iter()
            .map(|socket| {
                let socket = TcpListener::from(socket);
                Ok((socket.local_addr()?, socket))
            })
            .collect();
        Ok(Self(sockets?))
    }

    fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let position = self.0.iter().position(|(other, _)| *other == address)?;
        Some(self.0.swap_remove(position).1)
    }
}

/// A listening socket for `address`, inherited where there is one. Port 0: any that is free.
///
/// # Errors
/// Somebody else has the port, or this machine has no such address.
pub fn bind(address: SocketAddr, inherited: &mut Inherited) -> io::Result<TcpListener> {
    let listener = match inherited.take(address) {
        Some(listener) => listener,
        None => bind_anew(address)?,
    };
    listener.set_nonblocking(true)?;
    bound_sending(&listener)?;
    Ok(listener)
}

/// Connections have it from the socket that they come from.
fn bound_sending(listener: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(listener);
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    socket.set_tcp_user_timeout(Some(SILENCE))
}

fn bind_anew(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Connections of a process that has ended hold its port for a minute otherwise.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_taken_over_or_bound() {
        let any = "127.0.0.1:0".parse().unwrap();
        let first = bind(any, &mut Inherited::default()).unwrap();
        let address = first.local_addr().unwrap();
        assert!(bind(address, &mut Inherited::default()).is_err());
        let mut inherited = Inherited::new([first.try_clone().unwrap().into()]).unwrap();
        drop(first);
        let second = bind(address, &mut inherited).unwrap();
        assert_eq!(second.local_addr().unwrap(), address);
        assert!(bind(address, &mut inherited).is_err());
    }
}
