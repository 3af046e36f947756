//! The caller's token: taken from the request exactly once, and turned into a keyed digest before
//! anything keeps it.

use std::{fmt, hash};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, GetAll},
};
use ring::hmac;

use super::Denial;

/// Longest token that is looked at, in bytes. JWT-shaped opaque tokens of real servers stay well
/// below it; a longer one is refused before the key manager hears of it.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// A caller's access token, borrowed from the request. Prints nothing. It is passed to the key
/// manager and to nobody else (ARCHITECTURE.md, invariant 3).
#[derive(Clone, Copy)]
pub struct AccessToken<'a>(&'a [u8]);

impl<'a> AccessToken<'a> {
    /// Checks that `token` is a `b64token` (RFC 6750 §2.1) of bearable length.
    ///
    /// # Errors
    /// [`Denial::MalformedToken`] or [`Denial::TokenTooLong`].
    pub fn parse(token: &'a [u8]) -> Result<Self, Denial> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Denial::TokenTooLong);
        }
        let closing = token.iter().rev().take_while(|byte| **byte == b'=').count();
        let body = &token[..token.len() - closing];
        // Without a branch for each byte: some tokens are long.
        let is_plain = body
            .iter()
            .fold(true, |is_plain, byte| is_plain & B64TOKEN[*byte as usize]);
        match is_plain && !body.is_empty() {
            true => Ok(Self(token)),
            false => Err(Denial::MalformedToken),
        }
    }

    pub(super) fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The token itself, for the introspection request.
    pub fn expose(&self) -> &'a str {
        // All of it is ASCII. Most tokens are only digested, so nothing is looked at twice before.
        std::str::from_utf8(self.0).unwrap_or_default()
    }
}

impl fmt::Debug for AccessToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken([redacted])")
    }
}

/// Takes the bearer token from a request (RFC 6750 §2).
///
/// The scheme is matched without regard to case and followed by one or more spaces. Only the
/// `Authorization` header counts: a token in the query string is never accepted, and one that comes
/// beside a header token makes the request malformed, as do two `Authorization` headers, whichever
/// stands first (RFC 6750 §3.1, RFC 9110 §5.3).
///
/// # Errors
/// [`Denial::NoToken`] when there is no bearer credential at all; [`Denial::MultipleTokens`],
/// [`Denial::MalformedToken`] or [`Denial::TokenTooLong`] when there is one that cannot be taken.
pub fn extract<'a>(headers: &'a HeaderMap, query: Option<&str>) -> Result<AccessToken<'a>, Denial> {
    let value = only(headers.get_all(header::AUTHORIZATION))?;
    let Some(token) = bearer_credential(value.as_bytes()) else {
        return Err(Denial::NoToken);
    };
    check(token, query)
}

/// The same from another header, where the scheme may be left out.
///
/// # Errors
/// As those of [`extract`].
pub fn extract_from<'a>(
    name: &HeaderName,
    headers: &'a HeaderMap,
    query: Option<&str>,
) -> Result<AccessToken<'a>, Denial> {
    let value = only(headers.get_all(name))?.as_bytes();
    check(bearer_credential(value).unwrap_or(value), query)
}

fn only(values: GetAll<'_, HeaderValue>) -> Result<&HeaderValue, Denial> {
    let mut values = values.iter();
    let value = values.next().ok_or(Denial::NoToken)?;
    match values.next() {
        Some(_) => Err(Denial::MultipleTokens),
        None => Ok(value),
    }
}

fn check<'a>(token: &'a [u8], query: Option<&str>) -> Result<AccessToken<'a>, Denial> {
    if query.is_some_and(has_token_parameter) {
        return Err(Denial::MultipleTokens);
    }
    AccessToken::parse(token)
}

/// What follows the `Bearer` scheme; `None` when the scheme is another one.
fn bearer_credential(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer";
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    match rest.iter().position(|byte| *byte != b' ') {
        Some(0) => None,
        Some(spaces) => Some(&rest[spaces..]),
        None => Some(&[]),
    }
}

/// Whether the query string carries an `access_token` parameter (RFC 6750 §2.3), however encoded.
fn has_token_parameter(query: &str) -> bool {
    const NAME: &[u8] = b"access_token";
    let bytes = query.as_bytes();
    // Taking the query apart costs more than everything else here, and hardly one needs it. Looking
    // byte by byte is the shortest way through a short text.
    let may_have = bytes.len() >= NAME.len()
        && (bytes.contains(&b'%') || bytes.windows(NAME.len()).any(|part| part == NAME));
    if !may_have {
        return false;
    }
    form_urlencoded::parse(bytes).any(|(name, _)| name.as_bytes() == NAME)
}

/// `ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/"` of RFC 6750 §2.1; `=` may only close it.
const B64TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte: u8 = 0;
    while byte < 0x80 {
        table[byte as usize] =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
        byte += 1;
    }
    table
};

/// The keyed digest of a token: what caches, logs and metrics see in its stead. All 32 bytes are
/// compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenKey([u8; 32]);

impl TokenKey {
    #[cfg(test)]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The first eight bytes as a number: evenly spread, since the digest is.
    pub fn prefix(&self) -> u64 {
        u64::from_le_bytes([
            self.0[0], self.0[1], self.0[2], self.0[3], self.0[4], self.0[5], self.0[6], self.0[7],
        ])
    }

    /// All of it: for keys of what belongs to this token alone.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The first half as a number, for keys that hold no more.
    pub fn number(&self) -> u128 {
        let mut half = [0; 16];
        half.copy_from_slice(&self.0[..16]);
        u128::from_le_bytes(half)
    }

    /// Four bytes that tell tokens apart in a log and cannot be turned back into one.
    pub fn fingerprint(&self) -> u32 {
        u32::from_be_bytes([self.0[28], self.0[29], self.0[30], self.0[31]])
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t:{:08x}", self.fingerprint())
    }
}

impl hash::Hash for TokenKey {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        state.write_u64(self.prefix());
    }
}

/// Makes [`TokenKey`]s: HMAC-SHA-256 under a key that no other process has.
///
/// Who is asked, and as whom, is folded into the key, so that an answer given by one key manager to one
/// client can never be found under another (Oathkeeper GHSA-4mq7-pvjg-xp2r is what happens otherwise).
pub struct TokenDigester(hmac::Key);

impl TokenDigester {
    /// `seed` is random and secret; `answers` says whose answers are meant, part by part.
    pub fn new(seed: &[u8; 32], answers: &[&str]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, seed);
        let mut context = hmac::Context::with_key(&root);
        for part in answers {
            // The length frames each part: ("ab", "c") and ("a", "bc") must not meet.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        Self(hmac::Key::new(hmac::HMAC_SHA256, context.sign().as_ref()))
    }

    pub fn digest(&self, token: AccessToken<'_>) -> TokenKey {
        let tag = hmac::sign(&self.0, token.0);
        let mut key = [0; 32];
        key.copy_from_slice(tag.as_ref());
        TokenKey(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take<'a>(headers: &'a HeaderMap, query: Option<&str>) -> Result<&'a str, Denial> {
        extract(headers, query).map(|token| token.expose())
    }

    fn with(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(
                header::AUTHORIZATION,
                HeaderValue::from_bytes(value).unwrap(),
            );
        }
        headers
    }

    #[test]
    fn takes_the_token_whatever_the_case_and_the_spaces() {
        for value in ["Bearer abc", "bearer abc", "BEARER   abc", "bEaReR abc"] {
            assert_eq!(take(&with(&[value.as_bytes()]), None), Ok("abc"), "{value}");
        }
        assert_eq!(
            take(&with(&[b"Bearer aZ09-._~+/=="]), None),
            Ok("aZ09-._~+/==")
        );
    }

    #[test]
    fn refuses_what_is_not_a_bearer_token() {
        let no_token: [&[u8]; 5] = [b"Basic abc", b"", b"Bearerabc", b"Bear", b"DPoP abc"];
        for value in no_token {
            assert_eq!(take(&with(&[value]), None), Err(Denial::NoToken));
        }
        assert_eq!(take(&HeaderMap::new(), None), Err(Denial::NoToken));

        let malformed: [&[u8]; 9] = [
            b"Bearer",
            b"Bearer ",
            b"Bearer a b",
            b"Bearer a,Bearer b",
            b"Bearer =",
            b"Bearer a=b",
            b"Bearer \xff\xfe",
            b"Bearer a\tb",
            b"Bearer \"a\"",
        ];
        for value in malformed {
            assert_eq!(take(&with(&[value]), None), Err(Denial::MalformedToken));
        }
    }

    #[test]
    fn refuses_more_than_one_token_in_either_order() {
        let pairs: [[&[u8]; 2]; 3] = [
            [b"Bearer a", b"Bearer b"],
            [b"Basic a", b"Bearer b"],
            [b"Bearer a", b"Basic b"],
        ];
        for pair in pairs {
            assert_eq!(take(&with(&pair), None), Err(Denial::MultipleTokens));
        }
        let headers = with(&[b"Bearer a"]);
        for query in ["access_token=b", "x=1&access_token=b", "access%5Ftoken=b"] {
            assert_eq!(take(&headers, Some(query)), Err(Denial::MultipleTokens));
        }
        assert_eq!(take(&headers, Some("my_access_token=b")), Ok("a"));
    }

    #[test]
    fn a_query_token_alone_is_no_token() {
        assert_eq!(
            take(&HeaderMap::new(), Some("access_token=b")),
            Err(Denial::NoToken)
        );
    }

    #[test]
    fn another_header_may_leave_the_scheme_out() {
        let name = HeaderName::from_static("x-token");
        let take = |values: &[&str], query: Option<&str>| {
            let mut headers = with(&[b"Bearer other"]);
            for value in values {
                headers.append(&name, value.parse().unwrap());
            }
            extract_from(&name, &headers, query).map(|token| token.expose().to_owned())
        };
        assert_eq!(take(&["abc"], None), Ok("abc".to_owned()));
        assert_eq!(take(&["bearer abc"], None), Ok("abc".to_owned()));
        assert_eq!(take(&[], None), Err(Denial::NoToken));
        assert_eq!(take(&["a", "b"], None), Err(Denial::MultipleTokens));
        assert_eq!(take(&["Basic a"], None), Err(Denial::MalformedToken));
        assert_eq!(
            take(&["a"], Some("access_token=b")),
            Err(Denial::MultipleTokens)
        );
    }

    #[test]
    fn bounds_the_length() {
        let at_the_limit = format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES));
        assert!(take(&with(&[at_the_limit.as_bytes()]), None).is_ok());
        let over = format!("{at_the_limit}a");
        assert_eq!(
            take(&with(&[over.as_bytes()]), None),
            Err(Denial::TokenTooLong)
        );
    }

    #[test]
    fn the_key_depends_on_seed_who_answers_and_token() {
        let token = AccessToken::parse(b"abc").unwrap();
        let base = TokenDigester::new(&[1; 32], &["https://km", "gateway"]).digest(token);
        assert_eq!(
            base,
            TokenDigester::new(&[1; 32], &["https://km", "gateway"]).digest(token)
        );
        let others = [
            TokenDigester::new(&[2; 32], &["https://km", "gateway"]).digest(token),
            TokenDigester::new(&[1; 32], &["https://km2", "gateway"]).digest(token),
            TokenDigester::new(&[1; 32], &["https://km", "other"]).digest(token),
            TokenDigester::new(&[1; 32], &["https://kmg", "ateway"]).digest(token),
            TokenDigester::new(&[1; 32], &["https://km", "gateway"])
                .digest(AccessToken::parse(b"abC").unwrap()),
        ];
        for other in others {
            assert_ne!(base, other);
        }
        assert!(!format!("{token:?} {base:?}").contains("abc"));
    }
}
