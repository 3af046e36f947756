//! `[keymanager.tls]`: certificates and keys from PEM files (RFC 7468) or key stores, read and parsed at load.

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{
    check::Context,
    keystore::{self, LOOSE_IDENTITY, LOOSE_TRUST},
    secret::{find, warn_if_readable},
    section::{Placed, Section},
    settings::TlsSettings,
};
use crate::domain::{Secret, SigningKey};

/// Reads the table; also says whether a client certificate is configured, even if it cannot be used.
/// What cannot be read is reported.
pub fn read(key_manager: &mut Section<'_>, context: &Context<'_>) -> (TlsSettings, bool) {
    let mut section = key_manager.section("tls");
    let authorities = keystore::authorities(&mut section, "caFile", LOOSE_TRUST, context);
    let files = ["certFile", "keyFile"];
    let client = keystore::client(&mut section, files, LOOSE_IDENTITY, context);
    section.finish();
    let shows_certificate = client.is_some();
    let settings = TlsSettings {
        authorities: authorities.flatten().map(|list| list.value),
        client: client.flatten(),
    };
    (settings, shows_certificate)
}

/// The key that a secret holds.
pub fn signing_key(section: &Section<'_>, pem: &Secret) -> Option<SigningKey> {
    let key = match PrivateKeyDer::from_pem_slice(pem.expose().as_bytes()) {
        Ok(PrivateKeyDer::Pkcs8(der)) => SigningKey::from_pkcs8(der.secret_pkcs8_der()),
        Ok(PrivateKeyDer::Pkcs1(der)) => SigningKey::from_pkcs1(der.secret_pkcs1_der()),
        _ => None,
    };
    if key.is_none() {
        section.error(
            &section.place,
            "the private key cannot be used",
            "PEM with BEGIN PRIVATE KEY (PKCS#8), not encrypted: RSA of 2048 bits or more, P-256 \
             or Ed25519; `openssl pkcs8 -topk8 -nocrypt` converts others",
        );
    }
    key
}

/// At least one certificate from a file; what cannot be read is reported.
pub fn certificates(
    section: &Section<'_>,
    file: &Placed<String>,
    context: &Context<'_>,
) -> Option<Vec<CertificateDer<'static>>> {
    let path = find(&file.value, context);
    let certificates = CertificateDer::pem_file_iter(&path).and_then(Iterator::collect);
    match certificates {
        Ok(certificates) if !Vec::is_empty(&certificates) => Some(certificates),
        Ok(_) => {
            let what = format!("there is no certificate in {}", path.display());
            section.error(&file.place, what, "PEM, with BEGIN CERTIFICATE");
            None
        }
        Err(fault) => {
            let what = format!(
                "no certificate can be read from {}: {fault}",
                path.display()
            );
            section.error(&file.place, what, "");
            None
        }
    }
}

/// The private key in a file.
pub fn private_key(
    section: &Section<'_>,
    file: &Placed<String>,
    context: &Context<'_>,
) -> Option<PrivateKeyDer<'static>> {
    let path = find(&file.value, context);
    match PrivateKeyDer::from_pem_file(&path) {
        Ok(key) => {
            warn_if_readable(section, &file.place, &path);
            Some(key)
        }
        Err(fault) => {
            let what = format!(
                "no private key can be read from {}: {fault}",
                path.display()
            );
            section.error(&file.place, what, "PEM, not encrypted");
            None
        }
    }
}
