//! Whether an answer may be kept, and how long it is good: RFC 9111 §3, §4.2 and §5, RFC 5861.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::directives::{Directives, MAX_SECONDS};
use crate::domain::{CachePolicy, CacheScope};

/// Longest life that is guessed from `Last-Modified`.
const MAX_GUESS: u64 = 24 * 3600;

/// How an answer may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it ceases to be fresh; may be past.
    pub fresh_until: SystemTime,
    /// Its age when it came, in seconds (RFC 9111 §4.2.3).
    pub age: u64,
    /// Seconds after `fresh_until`.
    pub stale_while_revalidate: u32,
    /// Seconds after `fresh_until`.
    pub stale_if_error: u32,
}

/// Why an answer may not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It, or its kind, says so: the next one most likely does too.
    Answer,
    /// Of this request only.
    Request,
}

/// What there is to know beside the answer.
pub struct Circumstances<'a> {
    pub policy: &'a CachePolicy,
    /// The request carried `Authorization`, or its route asks for a token.
    pub authorized: bool,
    pub now: SystemTime,
    /// From asking the upstream until its answer came.
    pub delay: Duration,
}

/// Decides about an answer.
///
/// # Errors
/// [`Unfit`]: it may not be kept, or keeping it would be of no use.
pub fn assess(
    status: StatusCode,
    headers: &HeaderMap,
    circumstances: &Circumstances<'_>,
) -> Result<Life, Unfit> {
    let (directives, targeted) = Directives::of_answer(headers);
    may_store(status, headers, &directives, circumstances)?;
    let lifetime = lifetime(status, headers, &directives, targeted, circumstances);
    let age = age(headers, circumstances);
    let windows = windows(&directives, circumstances.policy);
    let is_fresh = lifetime > age;
    let is_of_use = is_fresh || windows != (0, 0) || has_validator(headers);
    if !is_of_use {
        return Err(unfit(status));
    }
    let now = circumstances.now;
    let fresh_until = match lifetime.checked_sub(age) {
        // Pingora asks whether the end is past, so what is stale from the start ended before.
        Some(0) => now.checked_sub(Duration::from_secs(1)),
        Some(left) => now.checked_add(Duration::from_secs(left)),
        None => now.checked_sub(Duration::from_secs(age - lifetime)),
    };
    Ok(Life {
        fresh_until: fresh_until.unwrap_or(SystemTime::UNIX_EPOCH),
        age,
        stale_while_revalidate: windows.0,
        stale_if_error: windows.1,
    })
}

/// RFC 9111 §3.
fn may_store(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &Directives,
    circumstances: &Circumstances<'_>,
) -> Result<(), Unfit> {
    let is_private_to_client = circumstances.policy.scope == CacheScope::PerClient;
    let understood = is_understood(status);
    let forbidden = match directives.must_understand {
        true => !understood,
        false => directives.no_store,
    };
    if !is_final(status)
        || forbidden
        || headers.contains_key(header::SET_COOKIE)
        || (directives.private && !is_private_to_client)
    {
        return Err(unfit(status));
    }
    let allowed_with_token =
        directives.public || directives.s_maxage.is_some() || directives.must_revalidate;
    if circumstances.authorized && !is_private_to_client && !allowed_with_token {
        return Err(unfit(status));
    }
    Ok(())
}

/// What concerns an error says nothing about the next answer.
fn unfit(status: StatusCode) -> Unfit {
    match status.as_u16() {
        200..400 => Unfit::Answer,
        _ => Unfit::Request,
    }
}

/// Answers that are whole and say nothing about who was asking: a part is no answer, and 401 and
/// 407 are about the caller, whatever they say of themselves.
fn is_final(status: StatusCode) -> bool {
    !matches!(status.as_u16(), 0..200 | 206 | 304 | 401 | 407)
}

/// Status codes of RFC 9110.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..206 | 300..304 | 307 | 308 | 400..418 | 421 | 422 | 426 | 500..506
    )
}

/// Seconds for which the answer is good from its making on (RFC 9111 §4.2.1).
fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &Directives,
    targeted: bool,
    circumstances: &Circumstances<'_>,
) -> u64 {
    if directives.no_cache {
        return 0;
    }
    if let Some(seconds) = directives.s_maxage.or(directives.max_age) {
        return seconds;
    }
    let made = date(headers, header::DATE).unwrap_or(circumstances.now);
    // A targeted field stands for `Expires` too (RFC 9213 §2.2).
    if !targeted && headers.contains_key(header::EXPIRES) {
        return expires(headers, made);
    }
    let may_be_guessed = is_heuristic(status) || directives.public;
    if !may_be_guessed {
        return 0;
    }
    match circumstances.policy.default_ttl.as_secs() {
        0 => date(headers, header::LAST_MODIFIED).map_or(0, |modified| {
            let unchanged_for = made.duration_since(modified).unwrap_or_default();
            (unchanged_for.as_secs() / 10).min(MAX_GUESS)
        }),
        seconds => seconds,
    }
}

/// `Expires` less `Date`; what is no date, or stands there twice, is past (RFC 9111 §5.3).
fn expires(headers: &HeaderMap, made: SystemTime) -> u64 {
    let mut lines = headers.get_all(header::EXPIRES).iter();
    let end = match (lines.next(), lines.next()) {
        (Some(line), None) => line.to_str().ok().and_then(parse_date),
        _ => None,
    };
    let left = end.and_then(|end| end.duration_since(made).ok());
    left.map_or(0, |left| left.as_secs().min(MAX_SECONDS))
}

/// Status codes whose life may be guessed (RFC 9110 §15.1), without 206.
fn is_heuristic(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// RFC 9111 §4.2.3, in seconds.
fn age(headers: &HeaderMap, circumstances: &Circumstances<'_>) -> u64 {
    let apparent = date(headers, header::DATE)
        .and_then(|made| circumstances.now.duration_since(made).ok())
        .map_or(0, |age| age.as_secs());
    let told = headers
        .get(header::AGE)
        .and_then(|age| age.to_str().ok())
        .and_then(told_age);
    let corrected = told.map_or(0, |age| age + circumstances.delay.as_secs());
    apparent.max(corrected).min(MAX_SECONDS)
}

/// The first member of the first line counts; what is no number is ignored (RFC 9111 §5.1).
fn told_age(line: &str) -> Option<u64> {
    let first = line.split([',', ';']).next()?.trim();
    let is_number = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| first.parse().unwrap_or(MAX_SECONDS).min(MAX_SECONDS))
}

/// Seconds of `stale-while-revalidate` and `stale-if-error`; none where the answer must be
/// validated before it is used again (RFC 9111 §4.2.4).
fn windows(directives: &Directives, policy: &CachePolicy) -> (u32, u32) {
    let must_ask = directives.no_cache
        || directives.must_revalidate
        || directives.proxy_revalidate
        || directives.s_maxage.is_some();
    if must_ask {
        return (0, 0);
    }
    let window = |told: Option<u64>, otherwise: Duration| {
        let seconds = told.unwrap_or(otherwise.as_secs()).min(MAX_SECONDS);
        u32::try_from(seconds).unwrap_or(u32::MAX)
    };
    (
        window(
            directives.stale_while_revalidate,
            policy.stale_while_revalidate,
        ),
        window(directives.stale_if_error, policy.stale_if_error),
    )
}

fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED)
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    parse_date(headers.get(name)?.to_str().ok()?)
}

fn parse_date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn policy(scope: CacheScope) -> CachePolicy {
        CachePolicy {
            scope,
            default_ttl: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            max_object_bytes: 1 << 20,
        }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn judge(
        status: u16,
        lines: &[(&'static str, &str)],
        scope: CacheScope,
        authorized: bool,
    ) -> Result<Life, Unfit> {
        let status = StatusCode::from_u16(status).unwrap();
        assess(
            status,
            &headers(lines),
            &Circumstances {
                policy: &policy(scope),
                authorized,
                now: parse_date(NOW).unwrap(),
                delay: Duration::ZERO,
            },
        )
    }

    /// Seconds of freshness left; negative when it is past.
    fn left(status: u16, lines: &[(&'static str, &str)]) -> Option<i64> {
        let life = judge(status, lines, CacheScope::Shared, false).ok()?;
        let now = parse_date(NOW).unwrap();
        Some(match life.fresh_until.duration_since(now) {
            Ok(left) => i64::try_from(left.as_secs()).unwrap(),
            Err(past) => -i64::try_from(past.duration().as_secs()).unwrap(),
        })
    }

    #[test]
    fn nothing_of_a_request_with_a_token_unless_the_answer_allows_it() {
        // RFC 9111 §3.5.
        for (control, shared, per_client) in [
            ("max-age=60", false, true),
            ("public, max-age=60", true, true),
            ("s-maxage=60", true, true),
            ("must-revalidate, max-age=60", true, true),
            ("private, max-age=60", false, true),
            ("public, private, max-age=60", false, true),
            ("public, no-store, max-age=60", false, false),
        ] {
            let lines = [("cache-control", control)];
            let kept = |scope| judge(200, &lines, scope, true).is_ok();
            assert_eq!(kept(CacheScope::Shared), shared, "{control}");
            assert_eq!(kept(CacheScope::PerClient), per_client, "{control}");
        }
    }

    #[test]
    fn lives() {
        let past = "Sun, 06 Nov 1994 08:49:27 GMT";
        let future = "Sun, 06 Nov 1994 08:50:37 GMT";
        let long_ago = "Sun, 06 Nov 1994 08:33:07 GMT";
        for (lines, expected) in [
            (&[("cache-control", "max-age=60")][..], Some(60)),
            (&[("cache-control", "max-age=60, s-maxage=5")], Some(5)),
            (&[("cache-control", "max-age=60"), ("age", "20")], Some(40)),
            (&[("cache-control", "max-age=60"), ("date", past)], Some(50)),
            (
                &[("cache-control", "max-age=60"), ("age", "20.0")],
                Some(60),
            ),
            (&[("cache-control", "max-age=60"), ("age", "-7")], Some(60)),
            (
                &[("cache-control", "max-age=60"), ("age", "0, 9")],
                Some(60),
            ),
            (&[("cache-control", "max-age=60"), ("age", "70")], None),
            (
                &[
                    ("cache-control", "max-age=60"),
                    ("age", "70"),
                    ("etag", "x"),
                ],
                Some(-10),
            ),
            (&[("expires", future)], Some(60)),
            (&[("expires", future), ("date", past)], Some(60)),
            (&[("expires", future), ("expires", future)], None),
            (&[("expires", "0"), ("last-modified", long_ago)], Some(-1)),
            (
                &[("expires", future), ("cache-control", "max-age=5")],
                Some(5),
            ),
            (&[("last-modified", long_ago)], Some(99)),
            (&[("last-modified", future)], Some(-1)),
            (&[("etag", "x")], Some(-1)),
            (&[], None),
            (&[("cache-control", "no-cache, max-age=60")], None),
            (
                &[("cache-control", "max-age=60"), ("set-cookie", "a=b")],
                None,
            ),
            (
                &[
                    ("cdn-cache-control", "max-age=9"),
                    ("cache-control", "no-store"),
                ],
                Some(9),
            ),
        ] {
            assert_eq!(left(200, lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn kinds_of_answers() {
        let fresh = [("cache-control", "max-age=60")];
        let guess = [("last-modified", "Sun, 06 Nov 1994 08:33:07 GMT")];
        for (status, explicit, guessed) in [
            (200, true, true),
            (201, true, false),
            (206, false, false),
            (404, true, true),
            (401, false, false),
            (403, true, false),
            (407, false, false),
            (500, true, false),
            (501, true, true),
            (599, true, false),
        ] {
            assert_eq!(left(status, &fresh).is_some(), explicit, "{status}");
            let kept = left(status, &guess).is_some_and(|left| left > 0);
            assert_eq!(kept, guessed, "{status}");
        }
        let understand = [("cache-control", "max-age=60, no-store, must-understand")];
        assert!(left(200, &understand).is_some());
        assert!(left(599, &understand).is_none());
    }

    #[test]
    fn windows_close_where_the_answer_must_be_validated() {
        for (control, expected) in [
            (
                "max-age=1, stale-while-revalidate=5, stale-if-error=7",
                (5, 7),
            ),
            (
                "max-age=1, must-revalidate, stale-while-revalidate=5, stale-if-error=7",
                (0, 0),
            ),
            ("s-maxage=1, stale-if-error=7", (0, 0)),
            (
                "max-age=1, proxy-revalidate, stale-while-revalidate=5",
                (0, 0),
            ),
        ] {
            let lines = [("cache-control", control)];
            let life = judge(200, &lines, CacheScope::Shared, false).unwrap();
            let windows = (life.stale_while_revalidate, life.stale_if_error);
            assert_eq!(windows, expected, "{control}");
        }
    }
}
