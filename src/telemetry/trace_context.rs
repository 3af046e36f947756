//! W3C trace context: continues the caller's trace, or begins one.

use http::{HeaderName, HeaderValue};

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `version "-" trace-id "-" parent-id "-" trace-flags`: 2 + 32 + 16 + 2 hex digits.
const LENGTH: usize = 55;
const TRACE_ID: std::ops::Range<usize> = 3..35;
const PARENT_ID: std::ops::Range<usize> = 36..52;

/// A span of ours in the caller's trace, or in one of our own, as a `traceparent` writes it.
#[derive(Clone, Debug)]
pub struct TraceContext {
    text: [u8; LENGTH],
    /// The span that this one belongs to: the caller's, or another of ours.
    parent: Option<SpanId>,
}

/// 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId([u8; 16]);

impl SpanId {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    fn of(text: &[u8]) -> Self {
        let mut id = Self([0; 16]);
        id.0.copy_from_slice(&text[PARENT_ID]);
        id
    }
}

impl TraceContext {
    /// Before the request's header was looked at.
    pub const NONE: Self = Self {
        text: *b"00-00000000000000000000000000000000-0000000000000000-00",
        parent: None,
    };

    /// A missing or malformed header begins a new trace (W3C Trace Context §3.2.2.3).
    pub fn continue_from(header: Option<&HeaderValue>) -> Self {
        let mut text = Self::NONE.text;
        let caller = header
            .map(HeaderValue::as_bytes)
            .filter(|text| is_valid(text));
        match caller {
            Some(caller) => {
                text[TRACE_ID].copy_from_slice(&caller[TRACE_ID]);
                text[LENGTH - 2..].copy_from_slice(&caller[LENGTH - 2..LENGTH]);
            }
            None => {
                hex(fastrand::u64(1..), &mut text[3..19]);
                hex(fastrand::u64(..), &mut text[19..35]);
            }
        }
        hex(fastrand::u64(1..), &mut text[PARENT_ID]);
        Self {
            text,
            parent: caller.map(SpanId::of),
        }
    }

    /// A span below this one, for what is asked of others.
    pub fn child(&self) -> Self {
        let mut text = self.text;
        hex(fastrand::u64(1..), &mut text[PARENT_ID]);
        Self {
            text,
            parent: Some(self.span_id()),
        }
    }

    /// Whether the caller's trace goes on; otherwise its `tracestate` belongs to nothing.
    pub fn is_continued(&self) -> bool {
        self.parent.is_some()
    }

    /// Whether whoever began the trace keeps its spans, as far as the flags tell.
    pub fn is_sampled(&self) -> bool {
        matches!(
            self.text[LENGTH - 1],
            b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f'
        )
    }

    /// Says in the flags of a trace that begins here that its spans are kept.
    pub fn set_sampled(&mut self) {
        self.text[LENGTH - 1] = b'1';
    }

    pub fn span_id(&self) -> SpanId {
        SpanId::of(&self.text)
    }

    pub fn parent(&self) -> Option<SpanId> {
        self.parent
    }

    /// 32 hex digits that find this request in logs and traces.
    pub fn trace_id(&self) -> &str {
        std::str::from_utf8(&self.text[TRACE_ID]).unwrap_or_default()
    }

    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// Version 00 exactly; later versions may go on after a dash.
fn is_valid(text: &[u8]) -> bool {
    let is_hex = |range: std::ops::Range<usize>| {
        text[range]
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_zero = |range: std::ops::Range<usize>| text[range].iter().all(|byte| *byte == b'0');
    text.len() >= LENGTH
        && (text.len() == LENGTH || (&text[..2] != b"00" && text[LENGTH] == b'-'))
        && [2, 35, 52].iter().all(|position| text[*position] == b'-')
        && is_hex(0..2)
        && &text[..2] != b"ff"
        && is_hex(TRACE_ID)
        && !is_zero(TRACE_ID)
        && is_hex(PARENT_ID)
        && !is_zero(PARENT_ID)
        && is_hex(53..LENGTH)
}

fn hex(number: u64, out: &mut [u8]) {
    for (pair, byte) in out.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair.copy_from_slice(&PAIRS[usize::from(byte)]);
    }
}

/// Each byte as two hex digits.
const PAIRS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn context(text: &str) -> TraceContext {
        TraceContext::continue_from(Some(&HeaderValue::from_str(text).unwrap()))
    }

    #[test]
    fn continues_the_trace_with_a_span_of_its_own() {
        let ours = context(CALLER);
        assert!(ours.is_continued());
        assert_eq!(ours.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let header = ours.header();
        let text = header.to_str().unwrap();
        assert!(text.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && text.ends_with("-01"));
        assert_ne!(text, CALLER);
        assert!(is_valid(text.as_bytes()));
        assert!(context(&CALLER.replacen("00", "cc", 1)).is_continued());
        assert!(context(&format!("cc{}-more", &CALLER[2..])).is_continued());
    }

    #[test]
    fn spans_of_ours_hang_together() {
        let ours = context(CALLER);
        assert_eq!(ours.parent().unwrap().as_str(), "00f067aa0ba902b7");
        assert!(ours.is_sampled());
        assert!(!context(&CALLER.replace("-01", "-00")).is_sampled());
        let below = ours.child();
        assert_eq!(below.parent(), Some(ours.span_id()));
        assert_ne!(below.span_id(), ours.span_id());
        assert_eq!(below.trace_id(), ours.trace_id());
        let header = below.header();
        assert!(header.to_str().unwrap().contains(below.span_id().as_str()));
        let mut new = TraceContext::continue_from(None);
        assert!(!new.is_sampled());
        new.set_sampled();
        assert!(new.is_sampled() && is_valid(&new.text));
    }

    #[test]
    fn begins_a_trace_where_there_is_none_to_continue() {
        for bad in [
            "",
            "nonsense",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        ] {
            let ours = context(bad);
            assert!(!ours.is_continued(), "{bad}");
            assert!(is_valid(&ours.text));
        }
        let (one, other) = (
            TraceContext::continue_from(None),
            TraceContext::continue_from(None),
        );
        assert_ne!(one.trace_id(), other.trace_id());
    }
}
