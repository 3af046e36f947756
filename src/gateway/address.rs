//! Addresses as text, for the upstream's header and for the access log.

use std::net::Ipv4Addr;

/// An address as text, without the machinery of formatting, which costs more than the look-up of a
/// token.
pub fn dotted(address: Ipv4Addr) -> ([u8; 15], usize) {
    let mut text = [0; 15];
    let mut length = 0;
    for (position, octet) in address.octets().into_iter().enumerate() {
        if position > 0 {
            text[length] = b'.';
            length += 1;
        }
        for divisor in [100, 10, 1] {
            if octet >= divisor || divisor == 1 {
                text[length] = b'0' + octet / divisor % 10;
                length += 1;
            }
        }
    }
    (text, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_everywhere() {
        for text in [
            "0.0.0.0",
            "127.0.0.1",
            "10.20.30.40",
            "255.255.255.255",
            "1.100.9.99",
        ] {
            let (written, length) = dotted(text.parse().unwrap());
            assert_eq!(&written[..length], text.as_bytes());
        }
    }
}
