//! Two headers, of a request and of an answer to it, with an empty line between: whether the answer
//! may be kept, how long, and under what. Lines are `name: value`; the first line of the answer is
//! its status.

#![no_main]

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;
use portcullis::{
    domain::{CachePolicy, CacheScope},
    response_cache::{Circumstances, Directives, Resource, assess, variance},
};

fuzz_target!(|data: &[u8]| {
    let Some(middle) = data.windows(2).position(|two| two == b"\n\n") else {
        return;
    };
    let request = headers(&data[..middle]);
    let mut rest = data[middle + 2..].splitn(2, |byte| *byte == b'\n');
    let status = rest
        .next()
        .and_then(|line| StatusCode::from_bytes(line).ok());
    let status = status.unwrap_or(StatusCode::OK);
    let answer = headers(rest.next().unwrap_or_default());
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    for scope in [CacheScope::Shared, CacheScope::PerClient] {
        let policy = CachePolicy {
            scope,
            default_ttl: Duration::from_secs(10),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            max_object_bytes: 1000,
        };
        let circumstances = Circumstances {
            policy: &policy,
            authorized: true,
            now,
            delay: Duration::ZERO,
        };
        let (said, _) = Directives::of_answer(&answer);
        let Ok(life) = assess(status, &answer, &circumstances) else {
            continue;
        };
        assert!(said.must_understand || !said.no_store);
        assert!(!answer.contains_key("set-cookie") && status != StatusCode::UNAUTHORIZED);
        assert!(life.fresh_until <= now + Duration::from_secs(1 << 31));
        if scope == CacheScope::Shared {
            assert!(!said.private);
            assert!(said.public || said.s_maxage.is_some() || said.must_revalidate);
        }
        if said.no_cache {
            assert!(life.fresh_until < now);
            assert_eq!((life.stale_while_revalidate, life.stale_if_error), (0, 0));
        }
    }
    assert_eq!(
        variance(&answer, &request, &[]),
        variance(&answer, &request, &[])
    );
    let here = Resource::parse("http://a.example/x").expect("an address");
    for value in answer.get_all("location") {
        if let Some(there) = here.join(value) {
            assert!(there.as_bytes().starts_with(b"http://a.example/"));
        }
    }
});

fn headers(text: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        if let (Some(name), Some(value)) = (parts.next(), parts.next())
            && let Ok(name) = HeaderName::from_bytes(name)
            && let Ok(value) = HeaderValue::from_bytes(value.trim_ascii())
        {
            headers.append(name, value);
        }
    }
    headers
}
