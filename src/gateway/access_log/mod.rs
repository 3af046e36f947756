//! One line for each request, by a writer that no request waits for.
//!
//! Requests append to a buffer in memory; a thread of its own writes it out. When the writer cannot
//! keep up, lines are dropped and counted. No token, no query string, no header but the user agent
//! goes in; control characters are escaped.

mod form;

use std::{
    cell::RefCell,
    io::Write,
    net::IpAddr,
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    time::Duration,
};

use http::StatusCode;
use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;

use crate::domain::{Decision, Subscriber};

/// Bytes that may wait for the writer.
const MAX_BACKLOG: usize = 4 << 20;
/// How long the writer collects after the first line, so that a busy gateway does not wake it for
/// each one.
const COLLECT: Duration = Duration::from_millis(10);
/// How long the end of the gateway waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Longest user agent and path that are written, in bytes.
const MAX_FIELD: usize = 1024;

/// The form of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
    /// The one of Apache and nginx, for programs that read theirs.
    Combined,
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
    /// How the response cache served it: `hit`, `miss`, `stale`, `revalidated` or `bypass`.
    pub response_cache: Option<&'static str>,
    /// The token's fingerprint.
    pub token: Option<u32>,
    pub client_id: Option<&'a str>,
    /// What is known of the client on a route of an API.
    pub subscriber: Option<&'a Subscriber>,
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
    /// Ends when the writer has.
    writer: Mutex<Option<Receiver<()>>>,
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
        let (writing, writer) = channel();
        {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("access-log".to_owned())
                .spawn(move || {
                    shared.write_to(&mut *sink);
                    drop(writing);
                })?;
        }
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
                Format::Json => form::json(entry, line),
                Format::Text => form::text(entry, line),
                Format::Combined => form::combined(entry, line),
            }
            line.push(b'\n');
            self.append(line);
        });
    }

    /// Writes out everything that was taken, unless nobody takes it from us. Lines that come after
    /// this are lost: nothing is left to write them.
    pub fn close(&self) {
        self.shared.backlog.lock().closed = true;
        self.shared.wake.notify_one();
        if let Some(writer) = self.writer.lock().take() {
            // Its end is all there is to hear of it.
            let _ = writer.recv_timeout(LAST_LINES);
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

#[cfg(test)]
mod tests {
    use super::*;

    pub fn entry<'a>() -> Entry<'a> {
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
            response_cache: Some("miss"),
            token: Some(0x9f2c_01ab),
            client_id: Some("web-shop"),
            subscriber: None,
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
        // Nor is the end stuck.
        drop(log);
        drop(release);
    }
}
