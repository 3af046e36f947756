//! One line for each request, by a writer that no request waits for.
//!
//! Requests append to a buffer in memory; a thread of its own writes it out. When the writer cannot
//! keep up, lines are dropped and counted. No token, no query string, no header but the user agent
//! goes in; control characters are escaped.

use std::{
    cell::{Cell, RefCell},
    io::Write,
    net::IpAddr,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::StatusCode;
use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;

use super::address::dotted;
use crate::domain::Decision;

/// Bytes that may wait for the writer.
const MAX_BACKLOG: usize = 4 << 20;
/// How long the writer collects after the first line, so that a busy gateway does not wake it for
/// each one.
const COLLECT: Duration = Duration::from_millis(10);
/// Longest user agent and path that are written, in bytes.
const MAX_FIELD: usize = 1024;

/// The form of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// What a line says.
pub struct Entry<'a> {
    pub method: &'a str,
    /// Without query.
    pub path: &'a str,
    pub version: &'static str,
    pub route: Option<&'a str>,
    pub status: StatusCode,
    pub client: Option<IpAddr>,
    pub user_agent: &'a [u8],
    pub decision: Decision,
    pub reason: &'static str,
    /// `hit`, `miss` or `joined`.
    pub cache: Option<&'static str>,
    /// The token's fingerprint.
    pub token: Option<u32>,
    pub client_id: Option<&'a str>,
    pub total: Duration,
    /// Waiting for the key manager.
    pub auth_wait: Duration,
    /// From the choice of the upstream to the end.
    pub upstream_time: Option<Duration>,
    pub upstream: Option<&'a str>,
    pub upstream_reused: bool,
    pub bytes_in: usize,
    pub bytes_out: usize,
    pub trace_id: &'a str,
}

/// Takes lines and has them written.
pub struct AccessLog {
    format: Format,
    shared: Arc<Shared>,
    dropped: IntCounter,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    backlog: Mutex<Backlog>,
    wake: Condvar,
}

#[derive(Default)]
struct Backlog {
    lines: Vec<u8>,
    closed: bool,
}

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The second that was formatted last, and its text.
    static CLOCK: Cell<(u64, [u8; 19])> = const { Cell::new((u64::MAX, [0; 19])) };
}

impl AccessLog {
    /// Starts the writer.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new(
        format: Format,
        mut sink: Box<dyn Write + Send>,
        dropped: IntCounter,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writer = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("access-log".to_owned())
                .spawn(move || shared.write_to(&mut *sink))?
        };
        Ok(Self {
            format,
            shared,
            dropped,
            writer: Mutex::new(Some(writer)),
        })
    }

    pub fn write(&self, entry: &Entry<'_>) {
        LINE.with_borrow_mut(|line| {
            line.clear();
            match self.format {
                Format::Json => json(entry, line),
                Format::Text => text(entry, line),
            }
            line.push(b'\n');
            self.append(line);
        });
    }

    /// Writes out everything that was taken. Lines that come after this are lost: nothing is left
    /// to write them.
    pub fn close(&self) {
        self.shared.backlog.lock().closed = true;
        self.shared.wake.notify_one();
        if let Some(writer) = self.writer.lock().take() {
            // A writer that panicked has nothing more to say.
            let _ = writer.join();
        }
    }

    fn append(&self, line: &[u8]) {
        let mut backlog = self.shared.backlog.lock();
        if backlog.lines.len() + line.len() > MAX_BACKLOG {
            self.dropped.inc();
            return;
        }
        let writer_sleeps = backlog.lines.is_empty();
        backlog.lines.extend_from_slice(line);
        drop(backlog);
        if writer_sleeps {
            self.shared.wake.notify_one();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn write_to(&self, sink: &mut dyn Write) {
        let mut lines = Vec::new();
        loop {
            let closed = {
                let mut backlog = self.backlog.lock();
                while backlog.lines.is_empty() && !backlog.closed {
                    self.wake.wait(&mut backlog);
                }
                backlog.closed
            };
            if !closed {
                std::thread::sleep(COLLECT);
            }
            std::mem::swap(&mut lines, &mut self.backlog.lock().lines);
            // Nobody is left to tell that standard output is gone.
            let _ = sink.write_all(&lines).and_then(|()| sink.flush());
            lines.clear();
            if closed && self.backlog.lock().lines.is_empty() {
                return;
            }
        }
    }
}

fn json(entry: &Entry<'_>, out: &mut Vec<u8>) {
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
    if let Some(token) = entry.token {
        out.extend_from_slice(b"\",\"portcullis.token\":\"t:");
        hex(token, out);
    }
    if let Some(client_id) = entry.client_id {
        field(out, "portcullis.client_id", client_id.as_bytes());
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

fn text(entry: &Entry<'_>, out: &mut Vec<u8>) {
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
    if let Some(token) = entry.token {
        out.extend_from_slice(b" token=t:");
        hex(token, out);
    }
    if let Some(client_id) = entry.client_id {
        word(out, "client_id", client_id.as_bytes());
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

/// `2026-11-23T12:00:03.123Z`. The date is worked out once a second.
fn timestamp(out: &mut Vec<u8>) {
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
    out.extend_from_slice(&text);
    let millis = now.subsec_millis();
    out.push(b'.');
    for divisor in [100, 10, 1] {
        out.push(b'0' + u8::try_from(millis / divisor % 10).unwrap_or(0));
    }
    out.push(b'Z');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>() -> Entry<'a> {
        Entry {
            method: "GET",
            path: "/orders/1",
            version: "1.1",
            route: Some("orders"),
            status: StatusCode::OK,
            client: Some("203.0.113.9".parse().unwrap()),
            user_agent: b"curl/8",
            decision: Decision::Allow,
            reason: "active",
            cache: Some("hit"),
            token: Some(0x9f2c_01ab),
            client_id: Some("web-shop"),
            total: Duration::from_micros(812),
            auth_wait: Duration::ZERO,
            upstream_time: Some(Duration::from_micros(640)),
            upstream: Some("10.0.0.7:8080"),
            upstream_reused: true,
            bytes_in: 0,
            bytes_out: 512,
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
        }
    }

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
        assert_eq!(line["dur_us"]["upstream"], 640);
        assert_eq!(line["upstream.reused"], true);
        let bare = Entry {
            route: None,
            client: Some("::1".parse().unwrap()),
            cache: None,
            token: None,
            client_id: None,
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
        let line = rendered(&entry, text);
        assert!(line.is_ascii() && !line.contains('\n') && !line.contains('\u{1b}'));
    }

    #[test]
    fn a_line_of_text_reads_well() {
        let line = rendered(&entry(), text);
        assert_eq!(
            &line[24..],
            " 200 GET /orders/1 route=orders decision=allow reason=active cache=hit \
             token=t:9f2c01ab client_id=web-shop upstream=0.6ms total=0.8ms \
             trace=4bf92f3577b34da6a3ce929d0e0e4736"
        );
        assert!(humantime::parse_rfc3339(&line[..24]).is_ok(), "{line}");
    }

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_before_the_end() {
        let sink = Sink::default();
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let log = AccessLog::new(Format::Json, Box::new(sink.clone()), dropped.clone()).unwrap();
        for _ in 0..500 {
            log.write(&entry());
        }
        drop(log);
        let written = String::from_utf8(sink.0.lock().clone()).unwrap();
        assert_eq!(written.lines().count(), 500);
        assert_eq!(dropped.get(), 0);
    }

    #[test]
    fn a_writer_that_is_stuck_costs_lines_not_requests() {
        struct Stuck(std::sync::mpsc::Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                // Until the test lets go.
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (release, stuck) = std::sync::mpsc::channel();
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let log = AccessLog::new(Format::Json, Box::new(Stuck(stuck)), dropped.clone()).unwrap();
        for _ in 0..40_000 {
            log.write(&entry());
        }
        assert!(dropped.get() > 0);
        drop(release);
    }
}
