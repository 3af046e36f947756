//! A description of an API, and with it the reading of YAML and JSON: whatever it says, what comes out can be used.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::{
    domain::PathPattern,
    openapi::{Access, Document, base_pattern},
};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(fault) => {
            assert!(!fault.what.is_empty());
            assert!(fault.at.start <= text.len(), "{fault:?}");
            return;
        }
    };
    for operation in &document.operations {
        let pattern = PathPattern::parse(&operation.path);
        assert!(pattern.is_ok(), "{:?}: {pattern:?}", operation.path);
        assert!(operation.at.start <= text.len());
        if let Access::Token(sets) = &operation.access {
            assert!(sets.iter().all(|set| !set.is_empty()), "{sets:?}");
        }
    }
    let endpoints = [&document.production, &document.sandbox];
    for endpoints in endpoints.into_iter().flatten() {
        assert!(!endpoints.servers.is_empty());
    }
    for base in [Some(&document.server.path), document.context.as_ref().map(|path| &path.value)] {
        let Some(Ok(pattern)) = base.map(|base| base_pattern(base)) else {
            continue;
        };
        let pattern = PathPattern::parse(&format!("{pattern}/x"));
        assert!(pattern.is_ok(), "{base:?}: {pattern:?}");
    }
    for note in &document.notes {
        assert!(!note.what.is_empty() && note.at.start <= text.len(), "{note:?}");
    }
});
