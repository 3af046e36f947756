//! What a broker sends: any bytes, in either encoding, for both topics.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::feed::events::{MapMessage, Notification, Revoked};

/// A time at which everything that follows is decided.
const NOW: u64 = 1_700_000_000_000;

fuzz_target!(|data: &[u8]| {
    // Every end of a long one would take long.
    if data.len() <= 512 && MapMessage::parse(data).is_ok() {
        for end in 0..data.len() {
            assert!(MapMessage::parse(&data[..end]).is_err(), "a message has one end");
        }
    }
    if let Ok(revoked) = Revoked::parse(data) {
        assert!(!revoked.token.trim().is_empty());
    }
    if let Ok(notification) = Notification::parse(data) {
        let here = notification.effect("carbon.super", NOW);
        assert_eq!(here, notification.effect("CARBON.SUPER", NOW));
    }
});
