//! The caller's `Authorization` headers and query string: any bytes that HTTP lets through.
//!
//! Each line of the input is one header value; a line that begins with `?` is the query.

#![no_main]

use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use portcullis::domain::{Denial, MAX_TOKEN_BYTES, TokenDigester, extract};

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    let mut query = None;
    for line in data.split(|byte| *byte == b'\n').take(8) {
        match line.strip_prefix(b"?") {
            Some(text) => query = std::str::from_utf8(text).ok(),
            None => {
                if let Ok(value) = HeaderValue::from_bytes(line) {
                    headers.append(header::AUTHORIZATION, value);
                }
            }
        }
    }
    let count = headers.get_all(header::AUTHORIZATION).iter().count();
    match extract(&headers, query) {
        Ok(token) => {
            assert_eq!(count, 1, "one header, or none is taken");
            let text = token.expose();
            assert!(!text.is_empty() && text.len() <= MAX_TOKEN_BYTES);
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!(!text.starts_with('='));
            let value = headers[header::AUTHORIZATION].as_bytes();
            assert!(value.ends_with(text.as_bytes()));
            assert_eq!(format!("{token:?}"), "AccessToken([redacted])");
            let digester = TokenDigester::new(&[7; 32], &["https://key-manager", "gateway"]);
            assert!(digester.digest(token) == digester.digest(token));
        }
        Err(denial) => {
            assert!(matches!(denial.status().as_u16(), 400 | 401));
            if count > 1 {
                assert_eq!(denial, Denial::MultipleTokens);
            }
            if let Some(challenge) = denial.www_authenticate() {
                assert!(HeaderValue::from_str(&challenge).is_ok());
            }
        }
    }
});
