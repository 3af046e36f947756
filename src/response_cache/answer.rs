//! The header of an answer as it is kept.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, StatusCode, header};
use pingora::{Result, cache::CacheMeta, http::ResponseHeader};

use super::{
    freshness::{Circumstances, Life, Unfit, assess},
    vary,
};

/// Fields about one connection or one hop (RFC 9110 §7.6.1, RFC 9111 §3.1). Those that `Connection`
/// names have gone before.
const OF_ONE_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Fields that describe the body that is kept, and `Vary`, by which it was found: a 304 does not
/// change them (RFC 9111 §3.2).
const OF_THE_BODY: [HeaderName; 5] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::VARY,
];

/// The header of a 304, which goes over what is kept (RFC 9111 §4.3.4).
pub struct FieldUpdate(HeaderMap);

/// An answer that may be kept, or why not.
pub type Stored = std::result::Result<CacheMeta, Unfit>;

impl FieldUpdate {
    pub fn of(answer: &ResponseHeader) -> Self {
        Self(answer.headers.clone())
    }

    /// The header `kept`, brought up to date.
    ///
    /// # Errors
    /// Never in practice: the fields have been in a header before.
    pub fn apply(&self, kept: &ResponseHeader, now: SystemTime) -> Result<ResponseHeader> {
        let mut header = kept.clone();
        // Age and date of the old answer say nothing about the new one.
        header.remove_header(&header::AGE);
        header.insert_header(header::DATE, httpdate::fmt_http_date(now))?;
        for name in self.0.keys() {
            if OF_ONE_HOP.contains(name) || OF_THE_BODY.contains(name) {
                continue;
            }
            header.remove_header(name);
            for value in self.0.get_all(name) {
                header.append_header(name.clone(), value.clone())?;
            }
        }
        Ok(header)
    }
}

/// The answer as it is kept, with the times for Pingora.
///
/// # Errors
/// Never in practice: the fields that are set are well formed.
pub fn stored(answer: &ResponseHeader, circumstances: &Circumstances<'_>) -> Result<Stored> {
    if !vary::can_match(&answer.headers) {
        return Ok(Err(Unfit::Answer));
    }
    if told_length(answer).is_some_and(|length| length > circumstances.policy.max_object_bytes) {
        return Ok(Err(Unfit::Answer));
    }
    match assess(answer.status, &answer.headers, circumstances) {
        Ok(life) => Ok(Ok(meta(answer, life, circumstances)?)),
        Err(unfit) => Ok(Err(unfit)),
    }
}

fn meta(
    answer: &ResponseHeader,
    life: Life,
    circumstances: &Circumstances<'_>,
) -> Result<CacheMeta> {
    let mut header = answer.clone();
    for name in &OF_ONE_HOP {
        if header.headers.contains_key(name) {
            header.remove_header(name);
        }
    }
    header.remove_header(&header::AGE);
    if !header.headers.contains_key(header::DATE) {
        header.insert_header(header::DATE, httpdate::fmt_http_date(circumstances.now))?;
    }
    if header.status == StatusCode::NO_CONTENT {
        header.remove_header(&header::CONTENT_LENGTH);
    }
    let mut meta = CacheMeta::new(
        life.fresh_until,
        circumstances.now,
        life.stale_while_revalidate,
        life.stale_if_error,
        header,
    );
    // Pingora counts `Age` from here on.
    let epoch = circumstances.now.checked_sub(Duration::from_secs(life.age));
    meta.set_epoch_override(epoch.unwrap_or(circumstances.now));
    Ok(meta)
}

fn told_length(answer: &ResponseHeader) -> Option<usize> {
    let length = answer.headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CachePolicy, CacheScope};

    fn header(status: u16, fields: &[(&'static str, &str)]) -> ResponseHeader {
        let mut header = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            header.append_header(*name, *value).unwrap();
        }
        header
    }

    fn keep(answer: &ResponseHeader) -> Stored {
        let policy = CachePolicy {
            scope: CacheScope::Shared,
            default_ttl: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            max_object_bytes: 1000,
        };
        let circumstances = Circumstances {
            policy: &policy,
            authorized: false,
            now: SystemTime::now(),
            delay: Duration::ZERO,
        };
        stored(answer, &circumstances).unwrap()
    }

    #[test]
    fn fields_of_one_hop_are_not_kept_and_a_date_is() {
        let answer = header(
            200,
            &[
                ("cache-control", "max-age=60"),
                ("transfer-encoding", "chunked"),
                ("keep-alive", "timeout=5"),
                ("proxy-authenticate", "Basic"),
                ("te", "trailers"),
                ("age", "7"),
                ("x-kept", "1"),
            ],
        );
        let meta = keep(&answer).unwrap();
        let mut names: Vec<_> = meta.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cache-control", "date", "x-kept"]);
        assert_eq!(meta.age().as_secs(), 7);
    }

    #[test]
    fn what_is_too_long_or_varies_by_everything_is_not_kept() {
        for field in [("content-length", "1001"), ("vary", "a, *")] {
            let answer = header(200, &[("cache-control", "max-age=60"), field]);
            assert!(keep(&answer).is_err(), "{field:?}");
        }
    }

    #[test]
    fn a_304_changes_fields_but_not_those_of_the_body() {
        let kept = header(
            200,
            &[
                ("etag", "\"1\""),
                ("content-length", "4"),
                ("content-type", "text/plain"),
                ("vary", "accept"),
                ("x-list", "a"),
                ("x-list", "b"),
                ("x-other", "1"),
                ("age", "100"),
            ],
        );
        let update = header(
            304,
            &[
                ("etag", "\"2\""),
                ("content-length", "0"),
                ("content-type", "text/html"),
                ("vary", "*"),
                ("x-list", "c"),
                ("connection", "close"),
                ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ],
        );
        let new = FieldUpdate::of(&update)
            .apply(&kept, SystemTime::now())
            .unwrap();
        assert_eq!(new.status, 200);
        for (name, expected) in [
            ("etag", &["\"2\""][..]),
            ("content-length", &["4"]),
            ("content-type", &["text/plain"]),
            ("vary", &["accept"]),
            ("x-list", &["c"]),
            ("x-other", &["1"]),
            ("connection", &[]),
            ("age", &[]),
            ("date", &["Sun, 06 Nov 1994 08:49:37 GMT"]),
        ] {
            let values = new.headers.get_all(name).iter();
            let values: Vec<_> = values.map(|value| value.to_str().unwrap()).collect();
            assert_eq!(values, expected, "{name}");
        }
    }
}
