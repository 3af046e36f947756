//! Java writes private keys of elliptic curves without their public half (RFC 5915 §3 lets it), and
//! ring reads them only with it. The certificate has it.

use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// How a key looks before and after: all but the numbers is fixed for a curve.
struct Curve {
    /// Before the private number, in what Java writes.
    without: &'static [u8],
    /// Before the private number, in what ring reads.
    with: &'static [u8],
    /// Between the private number and the public point.
    between: &'static [u8],
    /// Bytes of the private number.
    length: usize,
}

const CURVES: [Curve; 2] = [
    // secp256r1
    Curve {
        without: b"\x30\x41\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\
                   \x04\x27\x30\x25\x02\x01\x01\x04\x20",
        with: b"\x30\x81\x87\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\
                \x04\x6d\x30\x6b\x02\x01\x01\x04\x20",
        between: b"\xa1\x44\x03\x42\x00",
        length: 32,
    },
    // secp384r1
    Curve {
        without: b"\x30\x4e\x02\x01\x00\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\
                   \x04\x37\x30\x35\x02\x01\x01\x04\x30",
        with: b"\x30\x81\xb6\x02\x01\x00\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\
                \x04\x81\x9e\x30\x81\x9b\x02\x01\x01\x04\x30",
        between: b"\xa1\x64\x03\x62\x00",
        length: 48,
    },
];

/// The key with the public half that stands in its certificate; `None` where nothing is missing.
/// Whether they belong together is found out by who uses them.
pub fn with_public_key(pkcs8: &[u8], certificate: &[u8]) -> Option<Vec<u8>> {
    let (curve, number) = CURVES.iter().find_map(|curve| {
        let number = pkcs8.strip_prefix(curve.without)?;
        (number.len() == curve.length).then_some((curve, number))
    })?;
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let point = &certificate.public_key().subject_public_key.data;
    // Two numbers, and a byte that says that both are there.
    if point.len() != 2 * curve.length + 1 || point.first() != Some(&4) {
        return None;
    }
    Some([curve.with, number, curve.between, point].concat())
}
