//! The list of clients and their APIs: any bytes, as JSON and as TOML. Whoever is in it has a name and
//! names what it may call; everything else is left out.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::feed::clients::{Document, Form};

fuzz_target!(|data: &[u8]| {
    for form in [Form::Json, Form::Toml] {
        match Document::parse(data, form) {
            Ok(document) => {
                assert!(document.len() + document.skipped.len() <= data.len());
                for (name, version) in document.apis() {
                    assert!(!name.is_empty() && !version.is_empty());
                }
            }
            Err(fault) => assert!(!fault.to_string().is_empty()),
        }
    }
});
