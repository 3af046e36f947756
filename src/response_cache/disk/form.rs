//! What stands in a file, as bytes: first a record of the name and the head of an answer, then its
//! body, in segments that are sealed one by one.
//!
//! The key of the seal is made at the start and never leaves the process (AES-256-GCM). So a file
//! that was damaged, cut off, exchanged for another or written by anybody else does not open, what
//! lies on the disk tells nobody anything, and nothing outlives the process. Numbers are big-endian.

use std::{
    io::{self, Read, Write},
    time::{Duration, SystemTime},
};

use http::{HeaderName, HeaderValue, StatusCode, Version};
use pingora::http::ResponseHeader;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};

use crate::response_cache::head::Head;

/// Bytes that are sealed at once.
const SEGMENT: usize = 64 * 1024;
/// What the seal of a segment takes.
const TAG: usize = 16;
/// Longest record, in bytes. Heads that come from upstreams are shorter.
const MAX_RECORD: usize = 1 << 20;
/// Most fields of a header, which the map of them can hold by far.
const MAX_FIELDS: usize = 4096;

/// How much stands in a file, in bytes before they are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    pub record: usize,
    pub body: usize,
}

impl Lengths {
    /// Of the file.
    pub fn file(self) -> usize {
        let seals = 1 + self.body.div_ceil(SEGMENT);
        self.record + self.body + seals * TAG
    }
}

/// Seals and opens files. A number is used for one file only.
pub struct Seal(LessSafeKey);

impl Seal {
    /// # Errors
    /// The system gives no random numbers.
    pub fn new() -> io::Result<Self> {
        let mut key = [0; 32];
        let key = SystemRandom::new()
            .fill(&mut key)
            .and_then(|()| UnboundKey::new(&AES_256_GCM, &key));
        key.map(|key| Self(LessSafeKey::new(key)))
            .map_err(|_| io::Error::other("this system gives no random numbers"))
    }

    /// # Errors
    /// Those of `file`.
    pub fn write(
        &self,
        number: u64,
        record: &[u8],
        body: &[u8],
        file: &mut impl Write,
    ) -> io::Result<()> {
        let lengths = Lengths {
            record: record.len(),
            body: body.len(),
        };
        let mut sealed = Vec::with_capacity(SEGMENT.max(record.len()) + TAG);
        for (segment, part) in (0..).zip(std::iter::once(record).chain(body.chunks(SEGMENT))) {
            sealed.clear();
            sealed.extend_from_slice(part);
            self.0
                .seal_in_place_append_tag(nonce(number, segment), bound_to(lengths), &mut sealed)
                .map_err(|_| io::Error::other("a segment cannot be sealed"))?;
            file.write_all(&sealed)?;
        }
        Ok(())
    }

    /// Record and body of a file that was written with this number and these lengths.
    ///
    /// # Errors
    /// Those of `file`; `InvalidData`: it is not that file.
    pub fn read(
        &self,
        number: u64,
        lengths: Lengths,
        file: &mut impl Read,
    ) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let mut open = |segment, length| -> io::Result<Vec<u8>> {
            let mut sealed = vec![0; length + TAG];
            file.read_exact(&mut sealed)?;
            let bound = bound_to(lengths);
            let plain = self
                .0
                .open_in_place(nonce(number, segment), bound, &mut sealed);
            let length = plain.map_err(|_| not_ours())?.len();
            sealed.truncate(length);
            Ok(sealed)
        };
        let record = open(0, lengths.record)?;
        let mut body = Vec::with_capacity(lengths.body);
        for segment in 1.. {
            let left = lengths.body - body.len();
            if left == 0 {
                break;
            }
            body.extend_from_slice(&open(segment, left.min(SEGMENT))?);
        }
        match file.read(&mut [0])? {
            0 => Ok((record, body)),
            _ => Err(not_ours()),
        }
    }
}

pub fn not_ours() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not what was written")
}

fn nonce(number: u64, segment: u32) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    let (front, back) = bytes.split_at_mut(8);
    front.copy_from_slice(&number.to_be_bytes());
    back.copy_from_slice(&segment.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn bound_to(lengths: Lengths) -> Aad<[u8; 16]> {
    let mut bytes = [0; 16];
    let (front, back) = bytes.split_at_mut(8);
    front.copy_from_slice(&(lengths.record as u64).to_be_bytes());
    back.copy_from_slice(&(lengths.body as u64).to_be_bytes());
    Aad::from(bytes)
}

/// The record of an answer; `None`: it is too long, or has a time that no file can have.
pub fn encode(name: &[u8], head: &Head) -> Option<Vec<u8>> {
    if head.header.headers.len() > MAX_FIELDS {
        return None;
    }
    let mut record = Vec::with_capacity(name.len() + head.size());
    long(&mut record, name)?;
    for time in [head.fresh_until, head.epoch, head.provenance] {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let nanoseconds = u64::try_from(since.as_nanos()).ok()?;
        record.extend_from_slice(&nanoseconds.to_be_bytes());
    }
    record.extend_from_slice(&head.stale_while_revalidate.to_be_bytes());
    record.extend_from_slice(&head.stale_if_error.to_be_bytes());
    record.push(u8::from(head.variance.is_some()));
    record.extend_from_slice(&head.variance.unwrap_or_default());
    record.extend_from_slice(&head.header.status.as_u16().to_be_bytes());
    record.push(match head.header.version {
        Version::HTTP_10 => 0,
        Version::HTTP_11 => 1,
        Version::HTTP_2 => 2,
        _ => return None,
    });
    for (name, value) in &head.header.headers {
        long(&mut record, name.as_str().as_bytes())?;
        long(&mut record, value.as_bytes())?;
    }
    (record.len() <= MAX_RECORD).then_some(record)
}

fn long(record: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    record.extend_from_slice(&u32::try_from(bytes.len()).ok()?.to_be_bytes());
    record.extend_from_slice(bytes);
    Some(())
}

/// What a record says; `None`: it is none.
pub fn decode(record: &[u8]) -> Option<(&[u8], Head)> {
    if record.len() > MAX_RECORD {
        return None;
    }
    let mut rest = Rest(record);
    let name = rest.long()?;
    let [fresh_until, epoch, provenance] = [rest.time()?, rest.time()?, rest.time()?];
    let stale_while_revalidate = u32::from_be_bytes(rest.some()?);
    let stale_if_error = u32::from_be_bytes(rest.some()?);
    let (has_variance, variance): ([u8; 1], [u8; 16]) = (rest.some()?, rest.some()?);
    let variance = match has_variance {
        [0] => None,
        [1] => Some(variance),
        _ => return None,
    };
    let status = StatusCode::from_u16(u16::from_be_bytes(rest.some()?)).ok()?;
    let mut header = ResponseHeader::build(status, None).ok()?;
    header.set_version(match rest.some()? {
        [0] => Version::HTTP_10,
        [1] => Version::HTTP_11,
        [2] => Version::HTTP_2,
        _ => return None,
    });
    while !rest.0.is_empty() {
        if header.headers.len() >= MAX_FIELDS {
            return None;
        }
        let name = HeaderName::from_bytes(rest.long()?).ok()?;
        let value = HeaderValue::from_bytes(rest.long()?).ok()?;
        header.append_header(name, value).ok()?;
    }
    let head = Head {
        fresh_until,
        epoch,
        provenance,
        stale_while_revalidate,
        stale_if_error,
        variance,
        header,
    };
    Some((name, head))
}

/// What of a record is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn some<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_be_bytes(self.some()?) as usize;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn time(&mut self) -> Option<SystemTime> {
        let nanoseconds = u64::from_be_bytes(self.some()?);
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds))
    }
}

#[cfg(test)]
mod tests {
    use pingora::cache::CacheMeta;

    use super::*;

    fn head() -> Head {
        let mut header = ResponseHeader::build(203, None).unwrap();
        header.append_header("x-twice", "1").unwrap();
        header.append_header("x-twice", "\u{e4}").unwrap();
        let now = SystemTime::now();
        let mut meta = CacheMeta::new(now + Duration::from_secs(60), now, 5, 7, header);
        meta.set_variance_key([3; 16]);
        Head::of(&meta)
    }

    #[test]
    fn a_record_says_all_of_a_head() {
        let record = encode(b"name", &head()).unwrap();
        let (name, again) = decode(&record).unwrap();
        assert_eq!(name, b"name");
        assert_eq!(encode(name, &again).unwrap(), record);
        let (old, new) = (head().meta(), again.meta());
        assert_eq!(new.variance(), Some([3; 16]));
        assert_eq!(new.headers(), old.headers());
        assert_eq!(new.stale_if_error_sec(), 7);
        let mut early = head();
        early.epoch = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert!(encode(b"name", &early).is_none());
        assert!(encode(&vec![0; MAX_RECORD], &head()).is_none());
        let mut wide = head();
        for number in 0..MAX_FIELDS {
            wide.header
                .append_header(format!("x-{number}"), "")
                .unwrap();
        }
        assert!(encode(b"name", &wide).is_none());
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let record = encode(b"name", &head()).unwrap();
        for end in 0..record.len() {
            // Cut between two fields it is one, of fewer fields: it is the seal that knows.
            if let Some((name, head)) = decode(&record[..end]) {
                assert_eq!(encode(name, &head).unwrap(), record[..end]);
            }
        }
        let mut chance = fastrand::Rng::with_seed(7);
        let mut read = 0;
        for _ in 0..20_000 {
            let mut other = record.clone();
            for _ in 0..chance.usize(1..4) {
                let place = chance.usize(..other.len());
                other[place] = chance.u8(..);
            }
            let Some((name, head)) = decode(&other) else {
                continue;
            };
            read += 1;
            let once = encode(name, &head).unwrap();
            let (name, head) = decode(&once).unwrap();
            assert_eq!(encode(name, &head).unwrap(), once);
        }
        assert!((1..20_000).contains(&read), "{read}");
        assert!(decode(&vec![0; MAX_RECORD + 1]).is_none());
    }

    #[test]
    fn only_what_was_written_opens() {
        let seal = Seal::new().unwrap();
        for body in [
            &b""[..],
            b"short",
            &vec![7; SEGMENT],
            &vec![7; 2 * SEGMENT + 9],
        ] {
            let mut file = Vec::new();
            seal.write(1, b"record", body, &mut file).unwrap();
            let lengths = Lengths {
                record: 6,
                body: body.len(),
            };
            assert_eq!(file.len(), lengths.file());
            let open = |seal: &Seal, number, lengths, file: &[u8]| {
                seal.read(number, lengths, &mut &*file).ok()
            };
            let whole = open(&seal, 1, lengths, &file).unwrap();
            assert_eq!(whole, (b"record".to_vec(), body.to_vec()));
            let step = 1 + file.len() / 50;
            for place in (0..file.len()).step_by(step) {
                let mut damaged = file.clone();
                damaged[place] ^= 1;
                assert!(open(&seal, 1, lengths, &damaged).is_none(), "{place}");
                assert!(open(&seal, 1, lengths, &file[..place]).is_none());
            }
            assert!(open(&seal, 2, lengths, &file).is_none());
            let other = Lengths {
                record: 5,
                ..lengths
            };
            assert!(open(&seal, 1, other, &file).is_none());
            assert!(open(&Seal::new().unwrap(), 1, lengths, &file).is_none());
            file.push(0);
            assert!(open(&seal, 1, lengths, &file).is_none());
        }
    }

    #[test]
    fn segments_do_not_change_places() {
        let seal = Seal::new().unwrap();
        let body = [vec![1; SEGMENT], vec![2; SEGMENT]].concat();
        let mut file = Vec::new();
        seal.write(1, b"", &body, &mut file).unwrap();
        let (first, rest) = file.split_at(TAG);
        let (one, two) = rest.split_at(SEGMENT + TAG);
        let swapped = [first, two, one].concat();
        let lengths = Lengths {
            record: 0,
            body: body.len(),
        };
        assert!(seal.read(1, lengths, &mut &*swapped).is_err());
    }
}
