//! How many connections each address has.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

/// Counts by address; only addresses with connections are there.
#[derive(Default)]
pub struct Census(Mutex<HashMap<u64, u32>>);

/// A connection's place in the census.
pub struct Seat {
    census: Arc<Census>,
    key: u64,
}

impl Census {
    /// A place for one more connection; `None`: the address has `limit` of them.
    pub fn enter(self: &Arc<Self>, address: IpAddr, limit: u32) -> Option<Seat> {
        let key = key(address);
        let mut counts = self.0.lock();
        let count = counts.entry(key).or_insert(0);
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Seat {
            census: Arc::clone(self),
            key,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.census.0.lock();
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// An IPv4 address, or the network part of an IPv6 address. The two do not meet: no network part
/// that is routed begins with 32 zeros.
fn key(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => {
            let [one, two, three, four, ..] = address.segments();
            let parts = [one, two, three, four].map(u64::from);
            parts.iter().fold(0, |key, part| key << 16 | part)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_few_and_given_back() {
        let census = Arc::new(Census::default());
        let enter = |address: &str| census.enter(address.parse().unwrap(), 2);
        let first = enter("192.0.2.7").unwrap();
        let second = enter("::ffff:192.0.2.7").unwrap();
        assert!(enter("192.0.2.7").is_none());
        let neighbours = [enter("2001:db8::1"), enter("2001:db8::ffff:1")];
        assert!(neighbours.iter().all(Option::is_some));
        assert!(enter("2001:db8::2").is_none());
        assert!(enter("2001:db8:0:1::2").is_some());
        drop(first);
        assert!(enter("192.0.2.7").is_some());
        drop((second, neighbours));
        assert!(census.0.lock().is_empty());
    }
}
