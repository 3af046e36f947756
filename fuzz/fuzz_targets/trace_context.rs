//! The `traceparent` of a caller. Whatever it is, ours is well formed; if it is well formed, the trace goes on.

#![no_main]

use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use portcullis::telemetry::TraceContext;

fuzz_target!(|data: &[u8]| {
    let Ok(caller) = HeaderValue::from_bytes(data) else {
        return;
    };
    let ours = TraceContext::continue_from(Some(&caller));
    let header = ours.header();
    let text = header.to_str().expect("ASCII");
    assert_eq!(text.len(), 55);
    assert!(
        TraceContext::continue_from(Some(&header)).is_continued(),
        "ours can be continued: {text}"
    );
    if let Some(parent) = ours.parent() {
        // Of a later version anything may follow what is known.
        let caller = caller.as_bytes();
        assert_eq!(&caller[3..35], ours.trace_id().as_bytes());
        assert_eq!(&caller[36..52], parent.as_str().as_bytes());
        assert_ne!(ours.span_id(), parent);
    }
});
