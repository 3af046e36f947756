//! What a proxy in front sends before anything else: any bytes, in any pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::listener::proxy_protocol::{Header, MAX_LENGTH, parse};

fuzz_target!(|data: &[u8]| {
    let whole = parse(data);
    match whole {
        Header::Complete { length, .. } => {
            assert!(length <= data.len() && length <= MAX_LENGTH);
            assert_eq!(parse(&data[..length]), whole, "what follows does not matter");
            for end in 0..length {
                assert_eq!(parse(&data[..end]), Header::Partial);
            }
        }
        Header::Partial => assert!(data.len() < MAX_LENGTH),
        Header::Malformed => {}
    }
});
