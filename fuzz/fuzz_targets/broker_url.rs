//! The address of a broker, as somebody wrote it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::domain::Broker;

fuzz_target!(|text: &str| {
    if let Ok(broker) = Broker::parse(text) {
        assert!((1..=16).contains(&broker.servers.len()));
        for server in &broker.servers {
            assert!(!server.host.is_empty() && server.port > 0);
        }
    }
});
