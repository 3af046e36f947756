//! A PKCS#12 store, with the password that the seeds have.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::config::Keystore;

fuzz_target!(|data: &[u8]| {
    match Keystore::parse(data, "changeit") {
        Ok(store) => {
            let _ = store.into_key(None);
        }
        Err((what, _)) => assert!(!what.is_empty(), "refused without a reason"),
    }
});
