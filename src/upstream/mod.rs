//! Where requests go on to: pools of addresses, which one is next, and whether it is well.
//!
//! | file | what |
//! |---|---|
//! | `pool.rs` | an upstream: its addresses, the choice between them, the rules of trying again |
//! | `flight.rs` | a request on its way to an address |
//! | `address.rs` | what is known of one address: requests in flight, failures, ejection, checks |
//! | `balance.rs` | round robin, least connections, consistent hash, over positions |
//! | `peer.rs` | an address as Pingora wants it: protocol, TLS, time limits |
//! | `registry.rs` | what outlives a configuration: the addresses' states, and who is looked after |
//! | `upkeep.rs`, `check.rs` | in the background: names looked up again, addresses checked |
//!
//! A request reads one `ArcSwap` and a few atomic numbers on its way through; nothing here waits.

mod address;
mod balance;
mod check;
mod flight;
mod peer;
mod pool;
mod registry;
mod upkeep;

use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
};

pub use balance::hash;
pub use flight::{Flight, Retrying};
pub use pool::{Failure, Pool, Refused};
pub use registry::Registry;
pub use upkeep::Upkeep;

/// Looks a name up; none: it has no address. May block.
pub type Lookup = Arc<dyn Fn(&str, u16) -> Vec<SocketAddr> + Send + Sync>;

/// What this machine says: its hosts file, its name servers.
pub fn system_lookup() -> Lookup {
    Arc::new(|host, port| {
        (host, port)
            .to_socket_addrs()
            .map_or_else(|_| Vec::new(), Iterator::collect)
    })
}
