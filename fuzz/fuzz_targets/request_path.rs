//! The path of a request. What is matched must be what is sent, and its normal form must be one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::domain::RequestPath;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(path) = RequestPath::parse(text) else {
        return;
    };
    assert!(path.sent.starts_with('/') && path.matched.starts_with('/'));
    assert!(path.sent.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!path.sent.contains(['?', '#', '\\', ';']));
    assert!(
        !path.matched.contains(['\\', ';'])
            && !path.matched.contains(|c: char| c.is_ascii_control())
    );

    let again = RequestPath::parse(&path.sent).expect("a normal form is well formed");
    assert_eq!(again, path, "a normal form is stable");
    assert_eq!(
        decode(&path.sent),
        path.matched.as_bytes(),
        "what is matched is what is sent"
    );

    let segments: Vec<&str> = path.matched.split('/').skip(1).collect();
    for (position, segment) in segments.iter().enumerate() {
        assert!(!matches!(*segment, "." | ".."), "dot segment in {path:?}");
        assert!(
            !segment.is_empty() || position == segments.len() - 1,
            "empty segment in {path:?}"
        );
    }
});

/// Percent-decoding by another hand than the gateway's.
fn decode(text: &str) -> Vec<u8> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).expect("two hex digits"));
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}
