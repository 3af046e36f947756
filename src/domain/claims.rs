//! What an answer says, member by member, ready to go into headers.

use std::{fmt, num::NonZeroU32, ops::Range};

use bytes::Bytes;
use http::HeaderValue;
use serde_json::Value;

/// Longest claim that is kept for identity headers, in bytes after encoding; longest name of one.
/// Servers commonly refuse header lines above 8 KiB.
pub const MAX_CLAIM_BYTES: usize = 8 * 1024;

/// The members of an answer in a form that can go into a header: strings as they are, everything
/// else as JSON; bytes that a header may not carry, and `%`, are percent-encoded. All of them share
/// one buffer, so a header value is a reference to it, not a copy.
///
/// The buffer: name, value, name, value …; what else was kept; for each claim the lengths of its name and
/// of its value, in two bytes each; the number of claims in two bytes.
pub struct Claims(Bytes);

/// The top bit of a value's length: it is JSON and no string.
const JSON: u16 = 1 << 15;
/// Bytes of a length.
const LENGTH: usize = size_of::<u16>();

/// A part of the claims' buffer.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    start: u32,
    /// One more than its end.
    beyond: NonZeroU32,
}

/// Claims, and what shall be kept with them.
pub struct Draft {
    text: Vec<u8>,
    /// Of each claim its name's and its value's.
    lengths: Vec<[u16; 2]>,
}

impl Draft {
    pub fn new(members: &[(String, Value)]) -> Self {
        let mut text = Vec::new();
        let mut lengths = Vec::with_capacity(members.len());
        for (name, value) in members {
            if value.is_null() {
                continue;
            }
            let start = text.len();
            text.extend_from_slice(name.as_bytes());
            let middle = text.len();
            let kind = match value {
                Value::String(string) => {
                    encode(string, &mut text);
                    0
                }
                other => {
                    encode(&other.to_string(), &mut text);
                    JSON
                }
            };
            match (length(middle - start), length(text.len() - middle)) {
                (Some(name), Some(value)) => lengths.push([name, value | kind]),
                _ => text.truncate(start),
            }
        }
        Self { text, lengths }
    }

    /// The place of `text`: in the value of this name, where it stands there as it is, or else among what
    /// is kept beside the claims.
    pub fn keep(&mut self, name: &str, text: &str) -> Span {
        let stands = find(&self.text, self.lengths.iter().copied(), name)
            .filter(|value| self.text[value.range()] == *text.as_bytes());
        stands.unwrap_or_else(|| self.keep_apart(text))
    }

    /// Keeps `text` beside the claims.
    pub fn keep_apart(&mut self, text: &str) -> Span {
        let start = offset(self.text.len());
        self.text.extend_from_slice(text.as_bytes());
        Span::new(start, offset(self.text.len()))
    }

    pub fn finish(self) -> Claims {
        let Self { mut text, lengths } = self;
        // As many as there are members, at the most.
        let count = u16::try_from(lengths.len()).unwrap_or_default();
        let numbers = lengths.as_flattened().iter().chain([&count]);
        text.extend(numbers.flat_map(|number| number.to_le_bytes()));
        // An exact allocation, shared from the start: slices of it cost a reference count.
        Claims(Bytes::from(text.into_boxed_slice()))
    }
}

impl Claims {
    /// The claim as it goes into a header.
    pub fn header(&self, name: &str) -> Option<HeaderValue> {
        let span = find(&self.0, self.lengths(), name)?;
        HeaderValue::from_maybe_shared(self.0.slice(span.range())).ok()
    }

    /// The claim as text, encoded as in [`Claims::header`].
    pub fn text(&self, name: &str) -> Option<&str> {
        self.read(find(&self.0, self.lengths(), name)?)
    }

    /// Names and encoded values, in the order of the answer.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        spans(self.lengths())
            .filter_map(|(name, value)| Some((self.read(name)?, self.read(value)?)))
    }

    /// Names and values as they were before they were encoded.
    pub fn values(&self) -> impl Iterator<Item = (&str, Value)> {
        let kinds = self.lengths().map(|[_, value]| value & JSON != 0);
        self.iter()
            .zip(kinds)
            .filter_map(|((name, text), is_json)| {
                let text = decode(text)?;
                let value = match is_json {
                    true => serde_json::from_str(&text).ok()?,
                    false => Value::String(text),
                };
                Some((name, value))
            })
    }

    pub fn read(&self, span: Span) -> Option<&str> {
        std::str::from_utf8(self.bytes(span)).ok()
    }

    pub fn bytes(&self, span: Span) -> &[u8] {
        &self.0[span.range()]
    }

    pub fn size(&self) -> usize {
        /// Bytes that the text's reference count takes.
        const SHARED: usize = 32;
        self.0.len() + SHARED
    }

    /// Of names and values.
    fn lengths(&self) -> impl Iterator<Item = [u16; 2]> {
        let (rest, count) = self.0.split_last_chunk().unwrap_or((&[], &[0; LENGTH]));
        let all = usize::from(u16::from_le_bytes(*count)) * 2 * LENGTH;
        let (lengths, _) = rest[rest.len() - all..].as_chunks::<LENGTH>();
        let (pairs, _) = lengths.as_chunks();
        pairs
            .iter()
            .map(|pair: &[_; 2]| pair.map(u16::from_le_bytes))
    }
}

/// The value of this name.
fn find(text: &[u8], lengths: impl Iterator<Item = [u16; 2]>, name: &str) -> Option<Span> {
    spans(lengths)
        .find(|(span, _)| text[span.range()] == *name.as_bytes())
        .map(|(_, value)| value)
}

/// Names and values.
fn spans(lengths: impl Iterator<Item = [u16; 2]>) -> impl Iterator<Item = (Span, Span)> {
    let mut start = 0;
    lengths.map(move |[name, value]| {
        let middle = start + u32::from(name);
        let end = middle + u32::from(value & !JSON);
        let both = (Span::new(start, middle), Span::new(middle, end));
        start = end;
        both
    })
}

impl Span {
    fn new(start: u32, end: u32) -> Self {
        Self {
            start,
            beyond: NonZeroU32::MIN.saturating_add(end),
        }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.beyond.get() as usize - 1
    }
}

impl fmt::Debug for Claims {
    /// Claims are personal data: only their names are printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(name, _)| name))
            .finish()
    }
}

/// `None`: it is longer than a claim may be.
fn length(bytes: usize) -> Option<u16> {
    let length = u16::try_from(bytes).ok();
    length.filter(|_| bytes <= MAX_CLAIM_BYTES)
}

fn offset(position: usize) -> u32 {
    // The key manager's answer is bounded far below 4 GiB before it comes here.
    u32::try_from(position).unwrap_or(u32::MAX)
}

/// Visible ASCII and inner spaces stay; everything else, and `%`, becomes `%XX` of its UTF-8 bytes.
pub(super) fn encode(value: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let last = value.len().saturating_sub(1);
    for (position, byte) in value.bytes().enumerate() {
        let inner_space = byte == b' ' && position != 0 && position != last;
        if (byte.is_ascii_graphic() && byte != b'%') || inner_space {
            out.push(byte);
        } else {
            out.extend([
                b'%',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
        }
    }
}

/// What [`encode`] was given.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{Grant, Verdict};

    fn grant_of(json: &str) -> Arc<Grant> {
        match Verdict::parse(json.as_bytes(), &Arc::default()) {
            Ok(Verdict::Active(grant)) => grant,
            other => panic!("{json}: {other:?}"),
        }
    }

    #[test]
    fn claims_cannot_break_out_of_a_header() {
        let grant = grant_of(
            r#"{"active":true,"sub":"x\r\nX-Admin: true","name":"Jürgen 100%","pad":" a ",
                "n":7,"roles":["a","b"],"nothing":null}"#,
        );
        let claims = grant.claims();
        assert_eq!(claims.header("sub").unwrap(), "x%0D%0AX-Admin: true");
        assert_eq!(claims.text("name"), Some("J%C3%BCrgen 100%25"));
        assert_eq!(claims.text("pad"), Some("%20a%20"));
        assert_eq!(claims.text("n"), Some("7"));
        assert_eq!(claims.text("roles"), Some(r#"["a","b"]"#));
        assert_eq!(claims.header("nothing"), None);
    }

    #[test]
    fn a_claim_too_long_for_a_header_is_left_out() {
        let long = "a".repeat(MAX_CLAIM_BYTES + 1);
        let grant = grant_of(&format!(
            r#"{{"active":true,"before":"1","long":"{long}","after":"2"}}"#
        ));
        assert_eq!(grant.claims().header("long"), None);
        assert_eq!(grant.claims().text("before"), Some("1"));
        assert_eq!(grant.claims().text("after"), Some("2"));
        assert!(grant.size() < 2_000);
        let longest = "a".repeat(MAX_CLAIM_BYTES);
        let json = |name: &str| {
            format!(r#"{{"active":true,"{name}":"{longest}","scope":"x","after":"2"}}"#)
        };
        for (name, kept) in [(longest.clone(), Some(&*longest)), (long, None)] {
            let known = grant_of(&json(&name));
            assert_eq!(known.claims().text(&name), kept);
            assert_eq!(known.claims().text("after"), Some("2"));
            assert!(known.has_scope("x"));
        }
    }

    #[test]
    fn printing_a_grant_shows_no_claim() {
        let grant = grant_of(r#"{"active":true,"sub":"secret-subject"}"#);
        assert!(!format!("{:?}", grant.claims()).contains("secret-subject"));
    }
}
