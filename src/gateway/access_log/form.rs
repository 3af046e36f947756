//! The forms of a line. Whatever a client sent is escaped, so that no line is more than one line.

use std::{
    cell::Cell,
    io::Write,
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{Entry, MAX_FIELD};
use crate::{domain::Subscriber, gateway::address::dotted};

thread_local! {
    /// The second that was formatted last, and its text.
    static CLOCK: Cell<(u64, [u8; 19])> = const { Cell::new((u64::MAX, [0; 19])) };
}

pub fn json(entry: &Entry<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"ts\":\"");
    timestamp(out);
    field(out, "http.request.method", entry.method.as_bytes());
    field(out, "url.path", entry.path.as_bytes());
    if let Some(route) = entry.route {
        field(out, "portcullis.route", route.as_bytes());
    }
    number_field(
        out,
        "http.response.status_code",
        entry.status.as_u16().into(),
    );
    // A quote is open again after each field, and closed by the next.
    out.extend_from_slice(b",\"client.address\":\"");
    if let Some(client) = entry.client {
        address(client, out);
    }
    field(out, "network.protocol.version", entry.version.as_bytes());
    field(out, "user_agent.original", entry.user_agent);
    field(out, "portcullis.decision", entry.decision.word().as_bytes());
    field(out, "portcullis.reason", entry.reason.as_bytes());
    if let Some(cache) = entry.cache {
        field(out, "portcullis.cache", cache.as_bytes());
    }
    if let Some(result) = entry.response_cache {
        field(out, "portcullis.response_cache", result.as_bytes());
    }
    if let Some(token) = entry.token {
        out.extend_from_slice(b"\",\"portcullis.token\":\"t:");
        hex(token, out);
    }
    if let Some(client_id) = entry.client_id {
        field(out, "portcullis.client_id", client_id.as_bytes());
    }
    for (name, value) in entry.subscriber.into_iter().flat_map(about) {
        field(out, name, value.as_bytes());
    }
    if let Some(upstream) = entry.upstream {
        field(out, "upstream.address", upstream.as_bytes());
    }
    field(out, "trace_id", entry.trace_id.as_bytes());
    out.push(b'"');
    for (name, value) in [("bytes_in", entry.bytes_in), ("bytes_out", entry.bytes_out)] {
        number_in_object(out, name, value as u128, false);
    }
    if entry.upstream.is_some() {
        let reused: &[u8] = match entry.upstream_reused {
            true => b",\"upstream.reused\":true",
            false => b",\"upstream.reused\":false",
        };
        out.extend_from_slice(reused);
    }
    out.extend_from_slice(b",\"dur_us\":{");
    number_in_object(out, "total", entry.total.as_micros(), true);
    number_in_object(out, "auth_wait", entry.auth_wait.as_micros(), false);
    if let Some(time) = entry.upstream_time {
        number_in_object(out, "upstream", time.as_micros(), false);
    }
    out.extend_from_slice(b"}}");
}

/// Ends the string before, and begins one more: `","name":"value`.
/// The application of a client, its tier, and the kind of its key, as far as they are known.
fn about(subscriber: &Subscriber) -> impl Iterator<Item = (&'static str, &str)> {
    let application = subscriber.application.as_ref();
    let subscription = subscriber.subscription.as_ref();
    [
        (
            "portcullis.application",
            application.map(|known| &*known.name),
        ),
        ("portcullis.tier", subscription.map(|known| known.policy)),
        (
            "portcullis.key_type",
            application.map(|_| subscriber.key_type.word()),
        ),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(b"\",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    escape(value, out);
}

/// Ends the string before, and adds a number: no string is open after it.
fn number_field(out: &mut Vec<u8>, name: &str, value: u128) {
    out.push(b'"');
    number_in_object(out, name, value, false);
}

fn number_in_object(out: &mut Vec<u8>, name: &str, value: u128, first: bool) {
    out.extend_from_slice(if first { b"\"" } else { b",\"" });
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    number(value, out);
}

pub fn text(entry: &Entry<'_>, out: &mut Vec<u8>) {
    timestamp(out);
    out.push(b' ');
    number(entry.status.as_u16().into(), out);
    for part in [entry.method.as_bytes(), entry.path.as_bytes()] {
        out.push(b' ');
        escape(part, out);
    }
    if let Some(route) = entry.route {
        word(out, "route", route.as_bytes());
    }
    word(out, "decision", entry.decision.word().as_bytes());
    word(out, "reason", entry.reason.as_bytes());
    if let Some(cache) = entry.cache {
        word(out, "cache", cache.as_bytes());
    }
    if let Some(result) = entry.response_cache {
        word(out, "response_cache", result.as_bytes());
    }
    if let Some(token) = entry.token {
        out.extend_from_slice(b" token=t:");
        hex(token, out);
    }
    if let Some(client_id) = entry.client_id {
        word(out, "client_id", client_id.as_bytes());
    }
    for (name, value) in entry.subscriber.into_iter().flat_map(about) {
        word(
            out,
            name.trim_start_matches("portcullis."),
            value.as_bytes(),
        );
    }
    if !entry.auth_wait.is_zero() {
        milliseconds(out, "introspect", entry.auth_wait);
    }
    if let Some(time) = entry.upstream_time {
        milliseconds(out, "upstream", time);
    }
    milliseconds(out, "total", entry.total);
    word(out, "trace", entry.trace_id.as_bytes());
}

/// `address - client [date] "request" status bytes "referrer" "user agent"`; the referrer, which may
/// carry anything, is left out.
pub fn combined(entry: &Entry<'_>, out: &mut Vec<u8>) {
    match entry.client {
        Some(client) => address(client, out),
        None => out.push(b'-'),
    }
    out.extend_from_slice(b" - ");
    match entry.client_id {
        // One word, whatever it is made of.
        Some(client_id) if !client_id.is_empty() => {
            escape(client_id.replace(' ', "_").as_bytes(), out);
        }
        _ => out.push(b'-'),
    }
    out.extend_from_slice(b" [");
    common_date(out);
    out.extend_from_slice(b"] \"");
    escape(entry.method.as_bytes(), out);
    out.push(b' ');
    escape(entry.path.as_bytes(), out);
    out.extend_from_slice(match entry.version {
        "2" => b" HTTP/2.0\" ",
        "1.0" => b" HTTP/1.0\" ",
        _ => b" HTTP/1.1\" ",
    });
    number(entry.status.as_u16().into(), out);
    out.push(b' ');
    number(entry.bytes_out as u128, out);
    out.extend_from_slice(b" \"-\" \"");
    match entry.user_agent {
        [] => out.push(b'-'),
        agent => escape(agent, out),
    }
    out.push(b'"');
}

fn word(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
    let quoted = value.contains(&b' ') || value.is_empty();
    if quoted {
        out.push(b'"');
    }
    escape(value, out);
    if quoted {
        out.push(b'"');
    }
}

/// ` name=12.3ms`.
fn milliseconds(out: &mut Vec<u8>, name: &str, time: Duration) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
    let tenths = time.as_micros() / 100;
    number(tenths / 10, out);
    out.push(b'.');
    number(tenths % 10, out);
    out.extend_from_slice(b"ms");
}

fn number(value: u128, out: &mut Vec<u8>) {
    let value = u64::try_from(value).unwrap_or(u64::MAX);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn hex(value: u32, out: &mut Vec<u8>) {
    for shift in (0..8).rev() {
        out.push(b"0123456789abcdef"[(value >> (4 * shift) & 15) as usize]);
    }
}

fn address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            let (text, length) = dotted(address);
            out.extend_from_slice(&text[..length]);
        }
        // Writing to memory cannot fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

/// What a string may hold, in JSON and on a terminal: printable ASCII as it is, the rest escaped.
fn escape(value: &[u8], out: &mut Vec<u8>) {
    let value = &value[..value.len().min(MAX_FIELD)];
    let plain = |byte: &u8| matches!(byte, 0x20..=0x7e) && *byte != b'"' && *byte != b'\\';
    if value.iter().all(plain) {
        out.extend_from_slice(value);
        return;
    }
    for byte in value {
        if plain(byte) {
            out.push(*byte);
        } else {
            out.extend_from_slice(b"\\u00");
            for half in [byte >> 4, byte & 15] {
                out.push(b"0123456789abcdef"[usize::from(half)]);
            }
        }
    }
}

/// `2026-11-23T12:00:03.123Z`.
fn timestamp(out: &mut Vec<u8>) {
    let (text, millis) = clock();
    out.extend_from_slice(&text);
    out.push(b'.');
    for divisor in [100, 10, 1] {
        out.push(b'0' + u8::try_from(millis / divisor % 10).unwrap_or(0));
    }
    out.push(b'Z');
}

/// `23/Nov/2026:12:00:03 +0000`.
fn common_date(out: &mut Vec<u8>) {
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let (text, _) = clock();
    let month = usize::from(text[5] - b'0') * 10 + usize::from(text[6] - b'0');
    out.extend_from_slice(&text[8..10]);
    out.push(b'/');
    out.extend_from_slice(&MONTHS[month * 3 - 3..month * 3]);
    out.push(b'/');
    out.extend_from_slice(&text[..4]);
    out.push(b':');
    out.extend_from_slice(&text[11..]);
    out.extend_from_slice(b" +0000");
}

/// Date and time to the second, worked out once in each, and the milliseconds.
fn clock() -> ([u8; 19], u32) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let (mut second, mut text) = CLOCK.get();
    if second != now.as_secs() {
        second = now.as_secs();
        let whole = UNIX_EPOCH + Duration::from_secs(second);
        let formatted = humantime::format_rfc3339_seconds(whole).to_string();
        text.copy_from_slice(&formatted.as_bytes()[..19]);
        CLOCK.set((second, text));
    }
    (text, now.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::{super::tests::entry, *};

    fn rendered(entry: &Entry<'_>, render: fn(&Entry<'_>, &mut Vec<u8>)) -> String {
        let mut line = Vec::new();
        render(entry, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_line_of_json_is_json() {
        let line: serde_json::Value = serde_json::from_str(&rendered(&entry(), json)).unwrap();
        assert_eq!(line["http.response.status_code"], 200);
        assert_eq!(line["portcullis.token"], "t:9f2c01ab");
        assert_eq!(line["client.address"], "203.0.113.9");
        assert_eq!(line["portcullis.response_cache"], "miss");
        assert_eq!(line["dur_us"]["upstream"], 640);
        assert_eq!(line["upstream.reused"], true);
        let bare = Entry {
            route: None,
            client: Some("::1".parse().unwrap()),
            cache: None,
            response_cache: None,
            token: None,
            client_id: None,
            subscriber: None,
            upstream_time: None,
            upstream: None,
            ..entry()
        };
        let line: serde_json::Value = serde_json::from_str(&rendered(&bare, json)).unwrap();
        assert_eq!(line["client.address"], "::1");
        assert!(line.get("portcullis.token").is_none());
    }

    #[test]
    fn nothing_breaks_out_of_its_field() {
        let nasty = "/a\r\n{\"x\":1}\u{1b}[31m\\\u{7f}é";
        let entry = Entry {
            path: nasty,
            user_agent: b"\xff\x00\"",
            ..entry()
        };
        let line = rendered(&entry, json);
        assert!(line.is_ascii() && !line.contains('\n') && !line.contains('\u{1b}'));
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
        for form in [text, combined] {
            let line = rendered(&entry, form);
            assert!(line.is_ascii() && !line.contains('\n') && !line.contains('\u{1b}'));
        }
        // The six quotes of the form, and none of the client's.
        assert_eq!(rendered(&entry, combined).matches('"').count(), 6);
    }

    #[test]
    fn a_line_of_text_reads_well() {
        let line = rendered(&entry(), text);
        assert_eq!(
            &line[24..],
            " 200 GET /orders/1 route=orders decision=allow reason=active cache=hit \
             response_cache=miss token=t:9f2c01ab client_id=web-shop upstream=0.6ms total=0.8ms \
             trace=4bf92f3577b34da6a3ce929d0e0e4736"
        );
        assert!(humantime::parse_rfc3339(&line[..24]).is_ok(), "{line}");
    }

    #[test]
    fn a_combined_line_is_what_other_programs_read() {
        let line = rendered(&entry(), combined);
        let (before, rest) = line.split_once(" [").unwrap();
        let (date, rest) = rest.split_once("] ").unwrap();
        assert_eq!(before, "203.0.113.9 - web-shop");
        assert_eq!(rest, "\"GET /orders/1 HTTP/1.1\" 200 512 \"-\" \"curl/8\"");
        assert_eq!(date.len(), "23/Nov/2026:12:00:03 +0000".len(), "{date}");
        let bare = Entry {
            client: None,
            client_id: Some("two words"),
            subscriber: None,
            user_agent: b"",
            version: "2",
            ..entry()
        };
        let line = rendered(&bare, combined);
        assert!(line.starts_with("- - two_words ["), "{line}");
        assert!(line.ends_with("HTTP/2.0\" 200 512 \"-\" \"-\""), "{line}");
    }
}
