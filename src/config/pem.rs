//! `[keymanager.tls]`: certificates and keys from PEM files (RFC 7468), read and parsed at load.

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{
    check::Context,
    secret::{find, warn_if_readable},
    section::{Placed, Section},
    settings::{ClientCertificate, TlsSettings},
};
use crate::domain::{Secret, SigningKey};

/// Reads the table; also says whether a client certificate is configured, even if it cannot be used.
/// What cannot be read is reported.
pub fn read(key_manager: &mut Section<'_>, context: &Context<'_>) -> (TlsSettings, bool) {
    let mut section = key_manager.section("tls");
    let ca_file = section.text("caFile");
    let cert_file = section.text("certFile");
    let key_file = section.text("keyFile");
    let shows_certificate = cert_file.is_some() || key_file.is_some();
    let authorities = ca_file.and_then(|file| certificates(&section, &file, context));
    let client = match (cert_file, key_file) {
        (Some(cert_file), Some(key_file)) => {
            let chain = certificates(&section, &cert_file, context);
            let key = private_key(&section, &key_file, context);
            chain
                .zip(key)
                .map(|(chain, key)| ClientCertificate { chain, key })
        }
        (None, None) => None,
        (Some(lonely), None) | (None, Some(lonely)) => {
            section.error(
                &lonely.place,
                "a client certificate needs its key, and a key its certificate",
                "set both `certFile` and `keyFile`",
            );
            None
        }
    };
    section.finish();
    let settings = TlsSettings {
        authorities,
        client,
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
