//! `[[listen.tls]]`: a certificate chain with its key, fit to be shown.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    InconsistentKeys,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::{extensions::GeneralName, prelude::FromDer};

use crate::{
    config::{
        check::Context,
        keystore::{self, Keystore},
        problem::Place,
        secret::{find, warn_if_readable},
        section::{Placed, Section},
        settings::ClientCertificate,
    },
    domain::{Secret, UnixSeconds},
};

/// A certificate that a listener shows, and where it came from.
#[derive(Clone)]
pub struct ServerCertificate {
    origin: Origin,
    /// DNS names and addresses, as they stand in the certificate.
    pub names: Vec<String>,
    pub not_after: UnixSeconds,
    pub key: Arc<CertifiedKey>,
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerCertificate({})", self.file().display())
    }
}

/// Where a certificate comes from.
#[derive(Clone)]
enum Origin {
    Pem {
        cert_file: PathBuf,
        key_file: PathBuf,
    },
    Keystore {
        file: PathBuf,
        password: Secret,
        alias: Option<String>,
    },
}

/// Why a pair of files cannot be used.
#[derive(Debug)]
pub struct Unusable {
    pub what: String,
    pub hint: &'static str,
}

impl ServerCertificate {
    /// The file that has the certificate.
    pub fn file(&self) -> &Path {
        match &self.origin {
            Origin::Pem { cert_file, .. } => cert_file,
            Origin::Keystore { file, .. } => file,
        }
    }

    /// When the files were written last; `None` while they cannot be seen.
    pub fn written(&self) -> Option<[SystemTime; 2]> {
        let time = |path| fs::metadata(path).and_then(|file| file.modified()).ok();
        let key_file = match &self.origin {
            Origin::Pem { key_file, .. } => key_file,
            Origin::Keystore { file, .. } => file,
        };
        Some([time(self.file())?, time(key_file)?])
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn read_again(&self) -> Result<Self, Unusable> {
        Self::load(self.origin.clone())
    }

    fn load(origin: Origin) -> Result<Self, Unusable> {
        let pair = match &origin {
            Origin::Pem {
                cert_file,
                key_file,
            } => ClientCertificate {
                chain: read_chain(cert_file)?,
                key: read_key(key_file)?,
            },
            Origin::Keystore {
                file,
                password,
                alias,
            } => {
                Keystore::open(file, password.expose())?
                    .into_key(alias.as_deref())
                    .map_err(|what| Unusable {
                        what: format!("{} {what}", file.display()),
                        hint: "",
                    })?
                    .certificate
            }
        };
        Self::new(origin, pair)
    }

    fn new(origin: Origin, pair: ClientCertificate) -> Result<Self, Unusable> {
        let ClientCertificate { chain, key } = pair;
        let (cert_file, key_file) = match &origin {
            Origin::Pem {
                cert_file,
                key_file,
            } => (cert_file, key_file),
            Origin::Keystore { file, .. } => (file, file),
        };
        let (names, not_after) = facts(&chain[0], cert_file)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs().cast_signed());
        if not_after < now {
            return Err(Unusable {
                what: format!("the certificate in {} has expired", cert_file.display()),
                hint: "renew it; clients would refuse it",
            });
        }
        let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|_| Unusable {
            what: format!("the kind of key in {} is not supported", key_file.display()),
            hint: "RSA of 2048 bits or more, P-256, P-384 or Ed25519",
        })?;
        let key = CertifiedKey::new(chain, key);
        if let Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) =
            key.keys_match()
        {
            return Err(Unusable {
                what: format!(
                    "the key in {} is not the key of the certificate in {}",
                    key_file.display(),
                    cert_file.display()
                ),
                hint: "the server's own certificate comes first in `cert_file`, then its chain",
            });
        }
        Ok(Self {
            origin,
            names,
            not_after,
            key: Arc::new(key),
        })
    }
}

/// Reads one table; what cannot be used is reported.
pub fn read(mut section: Section<'_>, context: &Context<'_>) -> Option<ServerCertificate> {
    let cert_file = section.text("cert_file");
    let key_file = section.text("key_file");
    if let Some(identity) = keystore::identity(&mut section, keystore::IDENTITY, context) {
        if let Some(other) = cert_file.or(key_file) {
            section.error(
                &other.place,
                "PEM files and a key store both say which certificate",
                "keep `cert_file` and `key_file`, or `keystore_file`",
            );
        }
        let certificate = identity.and_then(|identity| from_keystore(&section, identity));
        section.finish();
        return certificate;
    }
    if cert_file.is_none() {
        section.missing(
            "cert_file",
            "the certificate and its chain, PEM; or `keystore_file`",
        );
    }
    if key_file.is_none() {
        section.missing("key_file", "the certificate's private key, PEM");
    }
    let certificate = cert_file
        .zip(key_file)
        .and_then(|(cert_file, key_file)| load(&section, &cert_file, &key_file, context));
    section.finish();
    certificate
}

fn load(
    section: &Section<'_>,
    cert_file: &Placed<String>,
    key_file: &Placed<String>,
    context: &Context<'_>,
) -> Option<ServerCertificate> {
    let key_path = find(&key_file.value, context);
    warn_if_readable(section, &key_file.place, &key_path);
    let loaded = ServerCertificate::load(Origin::Pem {
        cert_file: find(&cert_file.value, context),
        key_file: key_path,
    });
    told(section, &cert_file.place, loaded)
}

fn from_keystore(section: &Section<'_>, identity: keystore::Identity) -> Option<ServerCertificate> {
    let keystore::Identity {
        file,
        password,
        alias,
        certificate,
    } = identity;
    let origin = Origin::Keystore {
        file: file.value,
        password,
        alias,
    };
    let loaded = ServerCertificate::new(origin, certificate);
    told(section, &file.place, loaded)
}

fn told(
    section: &Section<'_>,
    place: &Place,
    loaded: Result<ServerCertificate, Unusable>,
) -> Option<ServerCertificate> {
    loaded
        .map_err(|Unusable { what, hint }| section.error(place, what, hint))
        .ok()
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let chain = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match chain {
        Ok(chain) if !Vec::is_empty(&chain) => Ok(chain),
        Ok(_) => Err(Unusable {
            what: format!("there is no certificate in {}", path.display()),
            hint: "PEM, with BEGIN CERTIFICATE",
        }),
        Err(fault) => Err(Unusable {
            what: format!(
                "no certificate can be read from {}: {fault}",
                path.display()
            ),
            hint: "PEM, with BEGIN CERTIFICATE",
        }),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Unusable> {
    PrivateKeyDer::from_pem_file(path).map_err(|fault| Unusable {
        what: format!(
            "no private key can be read from {}: {fault}",
            path.display()
        ),
        hint: "PEM, not encrypted",
    })
}

/// Names and end of a certificate.
fn facts(
    certificate: &CertificateDer<'_>,
    path: &Path,
) -> Result<(Vec<String>, UnixSeconds), Unusable> {
    let broken = || Unusable {
        what: format!("the certificate in {} cannot be understood", path.display()),
        hint: "X.509, version 3",
    };
    let (_, parsed) =
        x509_parser::certificate::X509Certificate::from_der(certificate).map_err(|_| broken())?;
    let names = parsed.subject_alternative_name().map_err(|_| broken())?;
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    let names = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    Ok((names.collect(), parsed.validity().not_after.timestamp()))
}
