//! Whom the gateway trusts when it speaks to the key manager, and what it shows.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider, pki_types::CertificateDer};

use crate::config::TlsSettings;

/// The one implementation of cryptography in this program.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The configured authorities, else the machine's.
pub fn authorities(settings: &TlsSettings) -> Vec<CertificateDer<'static>> {
    match &settings.authorities {
        Some(authorities) => authorities.clone(),
        None => rustls_native_certs::load_native_certs().certs,
    }
}

/// TLS 1.2 and 1.3, certificates and names verified, with the client certificate if there is one.
///
/// # Errors
/// No authority is known and `needed`, or certificate and key do not fit together.
pub fn client_config(settings: &TlsSettings, needed: bool) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if needed {
        roots.add_parsable_certificates(authorities(settings));
        anyhow::ensure!(
            !roots.is_empty(),
            "no certificate authorities were found on this machine to verify the key manager with; \
             install them (package ca-certificates), or set `caFile` in [keymanager.tls]"
        );
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(match &settings.client {
        Some(client) => {
            builder.with_client_auth_cert(client.chain.clone(), client.key.clone_key())?
        }
        None => builder.with_no_client_auth(),
    })
}
