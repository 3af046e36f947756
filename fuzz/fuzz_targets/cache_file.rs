//! The record of a kept answer on the disk: what is read says the same when it is written again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::response_cache::rewritten;

fuzz_target!(|data: &[u8]| {
    if let Some(once) = rewritten(data) {
        assert!(once.len() <= data.len());
        assert_eq!(rewritten(&once).as_ref(), Some(&once));
    }
});
