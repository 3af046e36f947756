//! The path that is matched is the path that is sent.
//!
//! A gateway that matches `/public/../orders` as public while the upstream serves `/orders` lets
//! anybody in (Oathkeeper GHSA-p224-6x5r-fjpm is one of many). So a path has one normal form here,
//! or the request is refused: what stands percent-encoded without need is decoded (RFC 3986
//! §6.2.2), and what means different things to different servers is an error.

use std::borrow::Cow;

/// A path in its normal form.
#[derive(Debug, PartialEq, Eq)]
pub struct RequestPath<'a> {
    /// Fully decoded: what route patterns are compared with.
    pub matched: Cow<'a, str>,
    /// What goes to the upstream; decodes to `matched`.
    pub sent: Cow<'a, str>,
}

/// The path means different things to different servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedPath;

impl<'a> RequestPath<'a> {
    /// # Errors
    /// [`MalformedPath`] for a path that is not absolute, has an empty or a dot segment, a
    /// backslash, a `;`, a control or non-ASCII byte, an encoded `/`, `\`, `;` or control byte, a
    /// broken escape, or that does not decode to UTF-8.
    pub fn parse(path: &'a str) -> Result<Self, MalformedPath> {
        let bytes = path.as_bytes();
        if bytes.first() != Some(&b'/') || !bytes.iter().all(|byte| PLAIN[usize::from(*byte)]) {
            return Err(MalformedPath);
        }
        if !bytes.contains(&b'%') {
            check_segments(path)?;
            return Ok(Self {
                matched: Cow::Borrowed(path),
                sent: Cow::Borrowed(path),
            });
        }
        let (matched, sent) = decode(bytes)?;
        check_segments(&matched)?;
        Ok(Self {
            matched: Cow::Owned(matched),
            sent: Cow::Owned(sent),
        })
    }
}

/// Bytes that may stand in a path as they are: visible ASCII without `\`, `;`, `?` and `#`.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte: u8 = 0x21;
    while byte < 0x7f {
        table[byte as usize] = !matches!(byte, b'\\' | b';' | b'?' | b'#');
        byte += 1;
    }
    table
};

/// No empty segment but the last, no `.`, no `..`.
fn check_segments(path: &str) -> Result<(), MalformedPath> {
    let mut previous = 0_u8;
    let bytes = path.as_bytes();
    for (position, byte) in bytes.iter().enumerate() {
        // A segment can only go wrong where it begins: after a slash.
        if previous == b'/' {
            let rest = &bytes[position..];
            let dots = rest.iter().take_while(|byte| **byte == b'.').count();
            let ends = matches!(rest.get(dots), None | Some(b'/'));
            if *byte == b'/' || ((1..=2).contains(&dots) && ends) {
                return Err(MalformedPath);
            }
        }
        previous = *byte;
    }
    Ok(())
}

/// The decoded path, and the path with only those escapes left that it needs, in upper case.
fn decode(bytes: &[u8]) -> Result<(String, String), MalformedPath> {
    let mut matched = Vec::with_capacity(bytes.len());
    let mut sent = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            matched.push(byte);
            sent.push(char::from(byte));
            rest = tail;
            continue;
        }
        let (high, low) = match tail {
            [high, low, ..] => (hex(*high)?, hex(*low)?),
            _ => return Err(MalformedPath),
        };
        let decoded = high << 4 | low;
        if matches!(decoded, b'/' | b'\\' | b';' | 0..=0x1f | 0x7f) {
            return Err(MalformedPath);
        }
        matched.push(decoded);
        if decoded.is_ascii_alphanumeric() || matches!(decoded, b'-' | b'.' | b'_' | b'~') {
            sent.push(char::from(decoded));
        } else {
            escape(decoded, &mut sent);
        }
        rest = &tail[2..];
    }
    let matched = String::from_utf8(matched).map_err(|_| MalformedPath)?;
    Ok((matched, sent))
}

/// The normal form of a decoded piece of a path: escaped is only what has to be.
pub(super) fn encode(text: &str) -> String {
    let mut sent = String::with_capacity(text.len());
    for byte in text.bytes() {
        match PLAIN[usize::from(byte)] && byte != b'%' {
            true => sent.push(char::from(byte)),
            false => escape(byte, &mut sent),
        }
    }
    sent
}

fn escape(byte: u8, sent: &mut String) {
    sent.push('%');
    for half in [byte >> 4, byte & 15] {
        sent.push(char::from(b"0123456789ABCDEF"[usize::from(half)]));
    }
}

fn hex(digit: u8) -> Result<u8, MalformedPath> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(MalformedPath),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Option<(String, String)> {
        RequestPath::parse(path)
            .ok()
            .map(|path| (path.matched.into_owned(), path.sent.into_owned()))
    }

    #[test]
    fn plain_paths_stay_as_they_are() {
        for path in [
            "/",
            "/orders",
            "/orders/",
            "/a/b.c/..d/e../...",
            "/.well-known/x",
            "/a:b@c!$&'()*+,=",
            "/%25",
        ] {
            let (matched, sent) = parse(path).unwrap();
            assert_eq!(sent, path);
            assert_eq!(matched, path.replace("%25", "%"));
        }
    }

    #[test]
    fn needless_escapes_are_decoded_and_needed_ones_kept() {
        for (path, matched, sent) in [
            ("/%6frders/%7Ea", "/orders/~a", "/orders/~a"),
            ("/a%20b", "/a b", "/a%20b"),
            ("/caf%c3%a9", "/café", "/caf%C3%A9"),
            ("/v1/x%3Abatch", "/v1/x:batch", "/v1/x%3Abatch"),
            ("/a%252e", "/a%2e", "/a%252e"),
        ] {
            assert_eq!(
                parse(path),
                Some((matched.to_owned(), sent.to_owned())),
                "{path}"
            );
        }
    }

    #[test]
    fn what_servers_disagree_about_is_refused() {
        for path in [
            "",
            "orders",
            "*",
            "//",
            "//orders",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/a/.",
            "/a/..",
            "/a/./b",
            "/a/../b",
            "/a/%2e%2e/b",
            "/a/%2E./b",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/a;x=1",
            "/..;/a",
            "/a%3bb",
            "/a%00",
            "/a%0d%0a",
            "/a%7f",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%ff",
            "/a b",
            "/é",
            "/a#b",
            "/a\u{1}",
        ] {
            assert_eq!(parse(path), None, "{path:?}");
        }
    }

    #[test]
    fn the_normal_form_is_stable() {
        for path in ["/%6frders/%7Ea%20b", "/caf%c3%a9/x%3Ay", "/a/b"] {
            let once = parse(path).unwrap();
            let twice = parse(&once.1).unwrap();
            assert_eq!(once, twice);
        }
    }
}
