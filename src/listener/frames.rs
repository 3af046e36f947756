//! Watches the frames that an HTTP/2 client sends (RFC 9113 §4.1), for floods of such as cost us and
//! bring nothing: PING, SETTINGS, PRIORITY, empty DATA (CVE-2019-9512, -9513, -9515, -9518), and
//! requests that are taken back at once (CVE-2023-44487).
//!
//! The h2 library bounds what it keeps, but answers for ever.

const HEADER: usize = 9;
const PREFACE: usize = 24;
/// Bytes of frames that bring nothing which every connection may send.
const NOISE: u64 = 256 * 1024;
/// Requests that may be taken back on any connection.
const RESETS: u64 = 200;

/// What a client has sent so far.
#[derive(Debug)]
pub struct Frames {
    /// Bytes that are passed over before the next header.
    skip: usize,
    header: [u8; HEADER],
    known: usize,
    useful: u64,
    noise: u64,
    requests: u64,
    resets: u64,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            skip: PREFACE,
            header: [0; HEADER],
            known: 0,
            useful: 0,
            noise: 0,
            requests: 0,
            resets: 0,
        }
    }
}

impl Frames {
    /// Takes what was read; false: this is a flood. `written`: bytes that were sent, for which the
    /// client may open windows.
    pub fn see(&mut self, mut bytes: &[u8], written: u64) -> bool {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = (HEADER - self.known).min(bytes.len());
            self.header[self.known..self.known + taken].copy_from_slice(&bytes[..taken]);
            self.known += taken;
            bytes = &bytes[taken..];
            if self.known == HEADER {
                self.known = 0;
                self.count();
            }
        }
        self.noise <= NOISE + self.useful + written / 8
            && (self.resets <= RESETS || self.resets <= self.requests / 2)
    }

    fn count(&mut self) {
        const DATA: u8 = 0;
        const HEADERS: u8 = 1;
        const RST_STREAM: u8 = 3;
        let [high, middle, low, kind, ..] = self.header;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.skip = usize::try_from(length).unwrap_or(usize::MAX);
        match kind {
            DATA if length > 0 => self.useful += u64::from(length),
            HEADERS => {
                self.requests += 1;
                self.useful += u64::from(length);
            }
            RST_STREAM => self.resets += 1,
            _ => self.noise += HEADER as u64 + u64::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, 0, 0, 0, 0, 1];
        frame.resize(HEADER + usize::from(length), 0);
        frame
    }

    /// How many of these go through, a few bytes at a time; 20,000 at the most.
    fn before_the_end(pattern: &[Vec<u8>], written: u64) -> usize {
        let mut frames = Frames::default();
        assert!(frames.see(&[0; PREFACE], 0));
        (0..20_000)
            .take_while(|_| {
                let bytes = pattern.concat();
                bytes.chunks(5).all(|chunk| frames.see(chunk, written))
            })
            .count()
    }

    #[test]
    fn floods_end() {
        for (what, pattern) in [
            ("ping", vec![frame(6, 8)]),
            ("settings", vec![frame(4, 12)]),
            ("priority", vec![frame(2, 5)]),
            ("rapid reset", vec![frame(1, 20), frame(3, 4)]),
        ] {
            let passed = before_the_end(&pattern, 0);
            assert!((200..20_000).contains(&passed), "{what}: {passed}");
        }
        assert_eq!(
            before_the_end(&vec![frame(0, 0); 10], 0),
            2912,
            "empty data"
        );
    }

    #[test]
    fn what_clients_do_goes_on() {
        for pattern in [
            vec![frame(1, 20), frame(8, 4)],
            vec![frame(1, 50), frame(0, 200), frame(6, 8)],
            vec![frame(1, 20), frame(1, 20), frame(3, 4)],
        ] {
            assert_eq!(before_the_end(&pattern, 0), 20_000);
        }
        let windows = vec![frame(8, 4)];
        assert_eq!(
            before_the_end(&windows, 1 << 30),
            20_000,
            "a large download"
        );
    }
}
