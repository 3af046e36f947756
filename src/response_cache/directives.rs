//! `Cache-Control` (RFC 9111 §5.2) and `CDN-Cache-Control` (RFC 9213): what an answer says about
//! being kept.

use http::{HeaderMap, HeaderName, HeaderValue, header};

pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// Times beyond this mean "very long" (RFC 9111 §1.2.2).
pub const MAX_SECONDS: u64 = 1 << 31;

/// The directives that a shared cache acts upon. Directives of fields, as in
/// `private="set-cookie"`, count as if they were said of the whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is a word of the field, there or not
pub struct Directives {
    pub no_store: bool,
    pub no_cache: bool,
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub only_if_cached: bool,
    /// Seconds; a value that is no number of them is 0, so that the answer is stale (§4.2.1).
    pub max_age: Option<u64>,
    pub s_maxage: Option<u64>,
    pub stale_while_revalidate: Option<u64>,
    pub stale_if_error: Option<u64>,
}

impl Directives {
    /// What governs an answer here: the field for shared caches in front of a site, if it is there
    /// and well formed, else `Cache-Control` (RFC 9213 §2.2). Tells which one it was.
    pub fn of_answer(headers: &HeaderMap) -> (Self, bool) {
        match Self::targeted(headers) {
            Some(directives) => (directives, true),
            None => (Self::cache_control(headers), false),
        }
    }

    pub fn cache_control(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for line in headers.get_all(header::CACHE_CONTROL) {
            for (name, value) in Members(line.as_bytes()) {
                directives.take(&name.to_ascii_lowercase(), value.map(seconds));
            }
        }
        directives
    }

    fn targeted(headers: &HeaderMap) -> Option<Self> {
        let mut directives = Self::default();
        let mut any = false;
        for line in headers.get_all(CDN_CACHE_CONTROL) {
            any |= directives.take_dictionary(line)?;
        }
        any.then_some(directives)
    }

    /// One line of a dictionary (RFC 8941 §3.2), of which integers, tokens and booleans without
    /// parameters are understood: everything else makes the whole field void. Tells whether there
    /// was a member.
    fn take_dictionary(&mut self, line: &HeaderValue) -> Option<bool> {
        let line = line.to_str().ok()?.trim_matches(' ');
        if line.is_empty() {
            return Some(false);
        }
        for member in line.split(',') {
            let member = member.trim_matches([' ', '\t']);
            let (name, value) = match member.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (member, None),
            };
            if !is_dictionary_key(name) {
                return None;
            }
            let value = match value {
                None | Some("?1") => None,
                // A directive that is switched off is not there.
                Some("?0") => continue,
                Some(value) => Some(dictionary_value(value)?),
            };
            self.take(name.as_bytes(), value);
        }
        Some(true)
    }

    /// `value`: what stands behind `=`, as seconds.
    fn take(&mut self, name: &[u8], value: Option<u64>) {
        let flag = match name {
            b"no-store" => &mut self.no_store,
            b"no-cache" => &mut self.no_cache,
            b"private" => &mut self.private,
            b"public" => &mut self.public,
            b"must-revalidate" => &mut self.must_revalidate,
            b"proxy-revalidate" => &mut self.proxy_revalidate,
            b"must-understand" => &mut self.must_understand,
            b"only-if-cached" => &mut self.only_if_cached,
            _ => return self.take_time(name, value.unwrap_or(0)),
        };
        *flag = true;
    }

    /// Of two times for the same thing the shorter one counts.
    fn take_time(&mut self, name: &[u8], seconds: u64) {
        let time = match name {
            b"max-age" => &mut self.max_age,
            b"s-maxage" => &mut self.s_maxage,
            b"stale-while-revalidate" => &mut self.stale_while_revalidate,
            b"stale-if-error" => &mut self.stale_if_error,
            _ => return,
        };
        *time = Some(time.map_or(seconds, |other| other.min(seconds)));
    }
}

/// Seconds as RFC 9111 §1.2.2 has them; 0 for anything else.
fn seconds(value: &[u8]) -> u64 {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    value.iter().fold(0_u64, |sum, digit| {
        (sum * 10 + u64::from(digit - b'0')).min(MAX_SECONDS)
    })
}

/// RFC 8941 §3.1.2.
fn is_dictionary_key(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_lowercase() || first == b'*')
        && bytes.all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
        })
}

/// An integer, or a token, which is no time; `None` for what is neither.
fn dictionary_value(value: &str) -> Option<u64> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if !digits.is_empty() && digits.len() <= 15 && digits.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Some(seconds(value.as_bytes()));
    }
    let mut bytes = value.bytes();
    let is_token = bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'*')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte));
    is_token.then_some(0)
}

/// `name`, `name=token` and `name="quoted"`, separated by commas; quotes are taken off, and a comma
/// inside them separates nothing.
struct Members<'a>(&'a [u8]);

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let end = end_of_member(self.0);
        let member = &self.0[..end];
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        let equals = member.iter().position(|byte| *byte == b'=');
        Some(match equals {
            Some(equals) => {
                let value = member[equals + 1..].trim_ascii();
                let unquoted = value
                    .strip_prefix(b"\"")
                    .and_then(|value| value.strip_suffix(b"\""));
                let name = member[..equals].trim_ascii();
                (name, Some(unquoted.unwrap_or(value)))
            }
            None => (member.trim_ascii(), None),
        })
    }
}

/// Position of the comma that ends the first member, or the length.
fn end_of_member(text: &[u8]) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (position, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return position,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn parse(lines: &[&str]) -> Directives {
        let lines: Vec<_> = lines.iter().map(|line| ("cache-control", *line)).collect();
        Directives::cache_control(&headers(&lines))
    }

    #[test]
    fn words_and_times() {
        let directives = parse(&["Public, MAX-AGE=60", "s-maxage=\"30\" , no-cache=\"a, b\""]);
        assert!(directives.public && directives.no_cache && !directives.private);
        assert_eq!(directives.max_age, Some(60));
        assert_eq!(directives.s_maxage, Some(30));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for value in ["-1", "a1", "1a", "1.5", "'60'", "", "\"\""] {
            assert_eq!(parse(&[&format!("max-age={value}")]).max_age, Some(0));
        }
        assert_eq!(parse(&["max-age"]).max_age, Some(0));
        assert_eq!(parse(&["max-age=0060"]).max_age, Some(60));
        let huge = format!("max-age={}", "9".repeat(400));
        assert_eq!(parse(&[&huge]).max_age, Some(MAX_SECONDS));
        assert_eq!(parse(&["max-age=60, max-age=1"]).max_age, Some(1));
    }

    #[test]
    fn quotes_hide_directives() {
        let hidden = parse(&["x=\"max-age=3600, no-store\", y=\"\\\", private\""]);
        assert_eq!(hidden, Directives::default());
        // Never closed: the rest of the line is inside.
        assert_eq!(parse(&["x=\"no-store, private"]), Directives::default());
    }

    #[test]
    fn the_targeted_field_goes_first_if_it_is_well_formed() {
        for (field, expected) in [
            ("max-age=10", Some(Some(10))),
            ("foobar, max-age=10", Some(Some(10))),
            ("max-age=99999999999", Some(Some(MAX_SECONDS))),
            ("max-age=-1", Some(Some(0))),
            ("no-store", Some(None)),
            ("max-age=\"10\"", None),
            ("max-age=10, &&&&&", None),
            ("Max-Age=10", None),
            ("max-age= 10", None),
            ("max-age=10;x", None),
            ("", None),
        ] {
            let (directives, targeted) = Directives::of_answer(&headers(&[
                ("cdn-cache-control", field),
                ("cache-control", "max-age=7"),
            ]));
            assert_eq!(targeted, expected.is_some(), "{field}");
            assert_eq!(directives.max_age, expected.unwrap_or(Some(7)), "{field}");
        }
    }
}
