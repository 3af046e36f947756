//! The bodies of answers that are compressed, piece by piece as they pass; and those for HTTP/1.0,
//! which go without chunks.
//!
//! Pingora has a compressor of its own. It reads no weights and no `no-transform`, and it does not end
//! Brotli's stream (0.9.1), so that strict readers refuse what it writes.

use std::{any::Any, io::Write};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Version, header};
use parking_lot::Mutex;
use pingora::{
    Error, ErrorType, OrErr,
    http::ResponseHeader,
    modules::http::{HttpModule, HttpModuleBuilder, Module},
    proxy::Session,
};

use super::answer::add_vary;
use crate::domain::{Coding, may_be_coded};

/// Levels that cost about as much as `gzip -5`: more would cost a multiple for a few per cent.
const GZIP_LEVEL: u32 = 5;
const BROTLI_LEVEL: u32 = 4;
const ZSTD_LEVEL: i32 = 3;

/// Brotli's window of 512 KiB, and its buffer.
const BROTLI_WINDOW: u32 = 19;
const BROTLI_BUFFER: usize = 4096;

/// Decides about an answer of a route that offers these codings.
pub fn choose(answer: &mut ResponseHeader, session: &mut Session, offered: &[Coding]) {
    if !may_be_coded(answer.status, &answer.headers) {
        return;
    }
    add_vary(answer, "accept-encoding");
    let request = session.req_header();
    // HTTP/1.0 knows no chunks, and the length is not known before the end.
    if request.version == Version::HTTP_10 {
        return;
    }
    let Some(coding) = Coding::choose(offered, &request.headers) else {
        return;
    };
    if let Some(compressor) = session.downstream_modules_ctx.get_mut::<Compressor>() {
        compressor.0 = State::Chosen(coding);
    }
}

/// HTTP/1.0 knows no chunks: an answer whose length nobody knows ends with the connection (RFC 9112
/// §6.1), even where Pingora has chosen chunks for it.
pub fn without_chunks(session: &mut Session) {
    session.set_keepalive(None);
    if let Some(compressor) = session.downstream_modules_ctx.get_mut::<Compressor>() {
        compressor.0 = State::WithoutChunks;
    }
}

/// One request's.
pub struct Compressor(State);

enum State {
    Idle,
    WithoutChunks,
    Chosen(Coding),
    Writing(Box<Encoder>),
}

enum Encoder {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    /// In a mutex because modules must be `Sync`, which this is not; nobody ever waits for it.
    Zstd(Mutex<zstd::Encoder<'static, Vec<u8>>>),
}

/// Makes one for each request.
pub struct Compressors;

impl HttpModuleBuilder for Compressors {
    /// After all others.
    fn order(&self) -> i16 {
        i16::MIN / 2
    }

    fn init(&self) -> Module {
        Box::new(Compressor(State::Idle))
    }
}

#[async_trait]
impl HttpModule for Compressor {
    async fn response_header_filter(
        &mut self,
        answer: &mut ResponseHeader,
        end: bool,
    ) -> pingora::Result<()> {
        let coding = match self.0 {
            State::Chosen(coding) => coding,
            State::WithoutChunks => {
                answer.remove_header(&header::TRANSFER_ENCODING);
                return Ok(());
            }
            State::Idle | State::Writing(_) => return Ok(()),
        };
        self.0 = State::Idle;
        if end {
            return Ok(());
        }
        self.0 = State::Writing(Box::new(Encoder::new(coding)?));
        announce(answer, coding)
    }

    fn response_body_filter(&mut self, body: &mut Option<Bytes>, end: bool) -> pingora::Result<()> {
        let State::Writing(encoder) = &mut self.0 else {
            return Ok(());
        };
        let mut written = encoder.write(body.as_deref().unwrap_or_default())?;
        if end {
            written = self.finish(written)?;
        }
        // Nothing has come out yet: nothing is sent.
        *body = (end || !written.is_empty()).then(|| written.into());
        Ok(())
    }

    /// The end of the body would be missing before them; trailers may be dropped (RFC 9110 §6.5.1).
    fn response_trailer_filter(
        &mut self,
        _: &mut Option<Box<HeaderMap>>,
    ) -> pingora::Result<Option<Bytes>> {
        self.response_done_filter()
    }

    fn response_done_filter(&mut self) -> pingora::Result<Option<Bytes>> {
        match self.0 {
            State::Writing(_) => Ok(Some(self.finish(Vec::new())?.into())),
            _ => Ok(None),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl Compressor {
    /// What was written before, and the end of the stream after it.
    fn finish(&mut self, mut written: Vec<u8>) -> pingora::Result<Vec<u8>> {
        if let State::Writing(encoder) = std::mem::replace(&mut self.0, State::Idle) {
            written.append(&mut encoder.finish()?);
        }
        Ok(written)
    }
}

impl Encoder {
    fn new(coding: Coding) -> pingora::Result<Self> {
        Ok(match coding {
            Coding::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), level))
            }
            Coding::Brotli => Self::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER,
                BROTLI_LEVEL,
                BROTLI_WINDOW,
            ))),
            Coding::Zstd => Self::Zstd(Mutex::new(
                zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)
                    .or_err(FAILED, "no compressor could be made")?,
            )),
        })
    }

    /// What comes out for these bytes now; more may come later.
    fn write(&mut self, bytes: &[u8]) -> pingora::Result<Vec<u8>> {
        let written = match self {
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Brotli(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.get_mut().write_all(bytes),
        };
        written.or_err(FAILED, "an answer could not be compressed")?;
        Ok(std::mem::take(match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut().get_mut(),
        }))
    }

    fn finish(self) -> pingora::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Zstd(encoder) => encoder.into_inner().finish(),
        }
        .map_err(|fault| Error::because(FAILED, "an answer could not be compressed", fault))
    }
}

const FAILED: ErrorType = ErrorType::InternalError;

/// What the header says of a body that becomes another one.
fn announce(answer: &mut ResponseHeader, coding: Coding) -> pingora::Result<()> {
    answer.remove_header(&header::CONTENT_LENGTH);
    answer.remove_header(&header::ACCEPT_RANGES);
    let name = HeaderValue::from_static(coding.name());
    answer.insert_header(header::CONTENT_ENCODING, name)?;
    let chunked = HeaderValue::from_static("chunked");
    answer.insert_header(header::TRANSFER_ENCODING, chunked)?;
    weaken(answer)
}

/// Other bytes with the same meaning (RFC 9110 §8.8.1). What is no validator is dropped.
fn weaken(answer: &mut ResponseHeader) -> pingora::Result<()> {
    let Some(validator) = answer.headers.get(header::ETAG) else {
        return Ok(());
    };
    let text = validator.as_bytes();
    if text.starts_with(b"W/") {
        return Ok(());
    }
    match HeaderValue::from_bytes(&[b"W/", text].concat()) {
        Ok(weak) if text.starts_with(b"\"") => answer.insert_header(header::ETAG, weak),
        _ => {
            answer.remove_header(&header::ETAG);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn decoded(coding: Coding, body: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(body).read_to_end(&mut plain),
            Coding::Brotli => brotli::Decompressor::new(body, 4096).read_to_end(&mut plain),
            Coding::Zstd => zstd::Decoder::new(body)?.read_to_end(&mut plain),
        }?;
        Ok(plain)
    }

    #[test]
    fn pieces_become_one_stream_however_it_ends() {
        let piece = Bytes::from_static(b"some text that comes again and again, ");
        for coding in Coding::ALL {
            for by_done in [false, true] {
                let encoder = Encoder::new(coding).unwrap();
                let mut compressor = Compressor(State::Writing(Box::new(encoder)));
                let mut coded = Vec::new();
                for number in 0..100 {
                    let mut body = Some(piece.clone());
                    let end = number == 99 && !by_done;
                    compressor.response_body_filter(&mut body, end).unwrap();
                    coded.extend(body.unwrap_or_default());
                }
                let rest = compressor.response_done_filter().unwrap();
                assert_eq!(rest.is_some(), by_done);
                coded.extend(rest.unwrap_or_default());
                let plain = decoded(coding, &coded).unwrap();
                assert_eq!(plain, piece.repeat(100), "{coding:?}");
                assert!(coded.len() < plain.len() / 5);
            }
        }
    }

    #[test]
    fn validators_become_weak() {
        for (before, after) in [
            ("\"a\"", Some("W/\"a\"")),
            ("W/\"a\"", Some("W/\"a\"")),
            ("a", None),
        ] {
            let mut answer = ResponseHeader::build(200, None).unwrap();
            answer.insert_header("etag", before).unwrap();
            weaken(&mut answer).unwrap();
            let etag = answer
                .headers
                .get("etag")
                .map(|value| value.to_str().unwrap());
            assert_eq!(etag, after);
        }
    }
}
