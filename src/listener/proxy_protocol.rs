//! The header that a proxy in front sends before anything else, to say who connects: the PROXY
//! protocol, versions 1 and 2 (haproxy.org, `proxy-protocol.txt`).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header that is read, in bytes. Version 1 has 107 at the most; in version 2 addresses take
/// 52, and what may follow them is not looked at.
pub const MAX_LENGTH: usize = 1024;
const MAX_LENGTH_1: usize = 107;
const SIGNATURE_2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const HEADER_2: usize = 16;

/// What the beginning of a connection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// `source`: `None` when the proxy speaks for itself, or for something that has no address.
    Complete {
        source: Option<SocketAddr>,
        length: usize,
    },
    /// There is more to come.
    Partial,
    Malformed,
}

/// Looks at what came so far.
pub fn parse(bytes: &[u8]) -> Header {
    let common = bytes.len().min(SIGNATURE_2.len());
    if bytes[..common] == SIGNATURE_2[..common] {
        return parse_2(bytes);
    }
    parse_1(bytes)
}

fn parse_1(bytes: &[u8]) -> Header {
    const PREFIX: &[u8] = b"PROXY ";
    let common = bytes.len().min(PREFIX.len());
    if bytes[..common] != PREFIX[..common] {
        return Header::Malformed;
    }
    let window = &bytes[..bytes.len().min(MAX_LENGTH_1)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return match bytes.len() < MAX_LENGTH_1 {
            true => Header::Partial,
            false => Header::Malformed,
        };
    };
    let line = std::str::from_utf8(&window[..end]).unwrap_or_default();
    match source_of_line(line) {
        Some(source) => Header::Complete {
            source,
            length: end + 2,
        },
        None => Header::Malformed,
    }
}

/// `PROXY TCP4 source destination source-port destination-port`.
#[allow(clippy::option_option)] // malformed, or nobody's address
fn source_of_line(line: &str) -> Option<Option<SocketAddr>> {
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let [source, destination, port, other_port] =
        [(); 4].map(|()| words.next().unwrap_or_default());
    let (source, port) = match family {
        "TCP4" => (address::<Ipv4Addr>(source, destination)?.into(), port),
        "TCP6" => (address::<Ipv6Addr>(source, destination)?.into(), port),
        _ => return None,
    };
    let port = number(port)?;
    number(other_port)?;
    words
        .next()
        .is_none()
        .then_some(Some(SocketAddr::new(source, port)))
}

fn address<A: std::str::FromStr>(source: &str, destination: &str) -> Option<A> {
    destination.parse::<A>().ok()?;
    source.parse().ok()
}

fn number(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

fn parse_2(bytes: &[u8]) -> Header {
    const VERSION: u8 = 0x20;
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_2>() else {
        return Header::Partial;
    };
    let (command, family) = (header[12], header[13]);
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    if command & 0xf0 != VERSION || command & 0x0f > 1 || HEADER_2 + length > MAX_LENGTH {
        return Header::Malformed;
    }
    let Some(block) = rest.get(..length) else {
        return Header::Partial;
    };
    let is_local = command & 0x0f == 0;
    let source = match family {
        _ if is_local => None,
        0x11 => match source_4(block) {
            Some(source) => Some(source),
            None => return Header::Malformed,
        },
        0x21 => match source_6(block) {
            Some(source) => Some(source),
            None => return Header::Malformed,
        },
        // Datagrams, sockets of Unix, unknown: nobody whom we could name.
        _ => None,
    };
    Header::Complete {
        source,
        length: HEADER_2 + length,
    }
}

/// Source, destination, and their ports.
fn source_4(block: &[u8]) -> Option<SocketAddr> {
    let source: [u8; 4] = block.get(..4)?.try_into().ok()?;
    let port: [u8; 2] = block.get(8..10)?.try_into().ok()?;
    block.get(10..12)?;
    Some(SocketAddr::from((source, u16::from_be_bytes(port))))
}

fn source_6(block: &[u8]) -> Option<SocketAddr> {
    let source: [u8; 16] = block.get(..16)?.try_into().ok()?;
    let port: [u8; 2] = block.get(32..34)?.try_into().ok()?;
    block.get(34..36)?;
    Some(SocketAddr::from((source, u16::from_be_bytes(port))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version_2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [&SIGNATURE_2[..], &[command, family], &length, block].concat()
    }

    fn source(bytes: &[u8]) -> Option<SocketAddr> {
        match parse(bytes) {
            Header::Complete { source, length } => {
                assert_eq!(length, bytes.len());
                source
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sources_are_found() {
        let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
        assert_eq!(source(line), Some("192.0.2.7:56324".parse().unwrap()));
        let line = b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n";
        assert_eq!(source(line), Some("[2001:db8::7]:1".parse().unwrap()));
        assert_eq!(source(b"PROXY UNKNOWN\r\n"), None);
        assert_eq!(source(b"PROXY UNKNOWN whatever comes here\r\n"), None);
        let four = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 4, 1, 187];
        let expected = Some("192.0.2.7:56324".parse().unwrap());
        assert_eq!(source(&version_2(0x21, 0x11, &four)), expected);
        let with_more = [&four[..], &[1, 0, 2, b'h', b'2']].concat();
        assert_eq!(source(&version_2(0x21, 0x11, &with_more)), expected);
        assert_eq!(source(&version_2(0x20, 0x11, &four)), None, "for itself");
        assert_eq!(source(&version_2(0x21, 0x00, &[])), None, "no family");
        let mut six = [0; 36];
        (six[15], six[33]) = (1, 80);
        assert_eq!(
            source(&version_2(0x21, 0x21, &six)),
            Some("[::1]:80".parse().unwrap())
        );
    }

    #[test]
    fn each_beginning_is_partial_and_what_follows_is_left() {
        let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n".to_vec();
        let binary = version_2(0x21, 0x11, &[1; 20]);
        for header in [line, binary] {
            for end in 0..header.len() {
                assert_eq!(parse(&header[..end]), Header::Partial, "{end}");
            }
            let longer = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            let Header::Complete { length, .. } = parse(&longer) else {
                panic!("complete");
            };
            assert_eq!(length, header.len());
        }
    }

    #[test]
    fn what_is_no_header() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
        let lines = [
            "GET / HTTP/1.1\r\n",
            "PROXY\r\n",
            "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 ::1 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
            &long,
        ];
        for line in lines {
            assert_eq!(parse(line.as_bytes()), Header::Malformed, "{line}");
        }
        for (command, family, length) in [
            (0x11, 0x11, 12),
            (0x22, 0x11, 12),
            (0x21, 0x11, 11),
            (0x21, 0x21, 35),
            (0x21, 0x11, 2000),
        ] {
            let header = version_2(command, family, &vec![0; length]);
            assert_eq!(
                parse(&header),
                Header::Malformed,
                "{command} {family} {length}"
            );
        }
    }
}
