//! Key stores and trust stores: PKCS#12 (RFC 7292), as Java's `keytool` and `openssl` write it.

mod ec_key;
mod tables;

use std::{fs::File, io::Read, path::Path};

use p12_keystore::{CertificateBag, Pkcs12Archive, PrivateKeyBag, error::Error};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{listen::Unusable, settings::ClientCertificate};

pub use tables::{
    IDENTITY, Identity, IssuerTrust, LOOSE_IDENTITY, LOOSE_TRUST, TRUST, authorities, client,
    identity, issuer_trust,
};

/// Bytes; a store with all public authorities has a tenth of this.
const MOST: u64 = 4 << 20;
/// Certificates that follow the first one; no chain is that long.
const LONGEST_CHAIN: usize = 16;
const CONVERT: &str = "`keytool -importkeystore -srckeystore OLD -destkeystore NEW.p12 -deststoretype pkcs12` converts \
                       Java's older form";

/// What a store holds.
#[derive(Debug)]
pub struct Keystore {
    /// In the order of the file, each with its alias.
    keys: Vec<(String, ClientCertificate)>,
    /// Those that may be trusted.
    authorities: Vec<CertificateDer<'static>>,
    /// All that have an alias, with it.
    certificates: Vec<(String, CertificateDer<'static>)>,
}

/// A key of a store, and how many there were to choose from.
pub struct Chosen {
    pub certificate: ClientCertificate,
    /// Aliases of the others, where nobody said which one is meant.
    pub others: Vec<String>,
}

impl Keystore {
    /// # Errors
    /// [`Unusable`], which names the file and never the password.
    pub fn open(path: &Path, password: &str) -> Result<Self, Unusable> {
        let unusable = |what: String, hint| Unusable {
            what: format!("{} {what}", path.display()),
            hint,
        };
        let bytes =
            read_bounded(path).map_err(|fault| unusable(format!("cannot be read: {fault}"), ""))?;
        Self::parse(&bytes, password).map_err(|(what, hint)| unusable(what.to_owned(), hint))
    }

    /// # Errors
    /// What is wrong, in words that follow the name of a file, and a hint.
    pub fn parse(bytes: &[u8], password: &str) -> Result<Self, (&'static str, &'static str)> {
        if bytes.len() as u64 > MOST {
            return Err(("is too long for a key store", "4 MiB at most"));
        }
        if bytes.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) || bytes.starts_with(&[0xce; 4]) {
            return Err(("is a JKS or JCEKS store, not PKCS#12", CONVERT));
        }
        if bytes.starts_with(b"-----BEGIN") {
            return Err((
                "is PEM, not a PKCS#12 store",
                "PEM has keys of its own: `cert_file`, `key_file`, `ca_file`",
            ));
        }
        let archive = Pkcs12Archive::from_pkcs12(bytes, password).map_err(|fault| words(&fault))?;
        Ok(Self::of(&archive))
    }

    fn of(archive: &Pkcs12Archive) -> Self {
        let keys = archive.keys.iter().filter_map(|key| {
            let leaf = leaf(key, archive)?;
            let alias = key.friendly_name.clone().unwrap_or_default();
            Some((
                alias,
                ClientCertificate {
                    chain: chain(leaf, &archive.certs),
                    key: private_key(key, leaf),
                },
            ))
        });
        let certificates = archive.certs.iter().filter_map(|certificate| {
            let alias = certificate.friendly_name.clone()?;
            Some((alias, der(certificate)))
        });
        Self {
            keys: keys.collect(),
            authorities: authorities_of(archive),
            certificates: certificates.collect(),
        }
    }

    /// The key with this alias, in any case of letters as in Java; without an alias the first one.
    ///
    /// # Errors
    /// There is none, in words that follow the name of a file.
    pub fn into_key(mut self, alias: Option<&str>) -> Result<Chosen, String> {
        let names: Vec<String> = self.keys.iter().map(|(name, _)| name.clone()).collect();
        if names.is_empty() {
            return Err("has no private key with a certificate".to_owned());
        }
        let position = match alias {
            None => 0,
            Some(alias) => names
                .iter()
                .position(|name| name.eq_ignore_ascii_case(alias))
                .ok_or_else(|| {
                    let names = names.join(", ");
                    format!("has no key with the alias {alias:?}, but: {names}")
                })?,
        };
        let others = match alias {
            None => names.into_iter().skip(1).collect(),
            Some(_) => Vec::new(),
        };
        Ok(Chosen {
            certificate: self.keys.swap_remove(position).1,
            others,
        })
    }

    /// The certificate with this alias, be it one to trust or that of a key.
    ///
    /// # Errors
    /// There is none, in words that follow the name of a file.
    pub fn certificate(&self, alias: &str) -> Result<CertificateDer<'static>, String> {
        let is_meant = |name: &str| name.eq_ignore_ascii_case(alias);
        let by_itself = self.certificates.iter().find(|(name, _)| is_meant(name));
        let of_key = || {
            let (_, pair) = self.keys.iter().find(|(name, _)| is_meant(name))?;
            pair.chain.first().cloned()
        };
        by_itself
            .map(|(_, certificate)| certificate.clone())
            .or_else(of_key)
            .ok_or_else(|| {
                let names = self.certificates.iter().map(|(name, _)| name.as_str());
                let names: Vec<&str> = names.collect();
                match names.is_empty() {
                    true => "has no certificate with an alias".to_owned(),
                    false => format!(
                        "has no certificate with the alias {alias:?}, but: {}",
                        names.join(", ")
                    ),
                }
            })
    }

    /// # Errors
    /// There is nothing to trust, in words that follow the name of a file.
    pub fn into_authorities(self) -> Result<Vec<CertificateDer<'static>>, &'static str> {
        match self.authorities.is_empty() {
            true => Err("has no certificate that is marked as trusted"),
            false => Ok(self.authorities),
        }
    }
}

/// A device in the place of a file must not be read without end.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn words(fault: &Error) -> (&'static str, &'static str) {
    const WRONG: &str = "cannot be opened with this password";
    match fault {
        Error::MacError(_) => (WRONG, ""),
        // Without a checksum over the whole, wrong keys show in what comes out.
        Error::UnpadError | Error::Pkcs5Error(_) => (WRONG, "or it is damaged"),
        Error::UnsupportedEncryptionScheme | Error::UnsupportedMacAlgorithm => (
            "is protected in a way that is not known here",
            "PBES2 with AES, or the older SHA-1 with 3DES or RC2-40",
        ),
        Error::InvalidParameters => ("asks for more rounds than make sense", "1,000,000 at most"),
        Error::InvalidPrivateKey => ("has a private key that cannot be read", ""),
        _ => ("is not a PKCS#12 store, or is damaged", CONVERT),
    }
}

/// The certificate that belongs to a key: by the mark that both have, else by name, else the only one.
fn leaf<'a>(key: &PrivateKeyBag, archive: &'a Pkcs12Archive) -> Option<&'a CertificateBag> {
    let certificates = || archive.certs.iter();
    let by_id = key.local_key_id.as_ref().and_then(|id| {
        certificates().find(|other| other.local_key_id.as_deref() == Some(id.as_ref()))
    });
    let by_name = || {
        let name = key.friendly_name.as_ref()?;
        certificates().find(|other| other.friendly_name.as_ref() == Some(name))
    };
    let only = || match (&*archive.keys, &*archive.certs) {
        ([_], [only]) => Some(only),
        _ => None,
    };
    by_id.or_else(by_name).or_else(only)
}

/// The certificate and those that vouch for it, as far as they are in the store; not the last one,
/// which vouches for itself and which clients have.
fn chain(leaf: &CertificateBag, all: &[CertificateBag]) -> Vec<CertificateDer<'static>> {
    let mut chain = vec![leaf];
    while let Some(last) = chain.last()
        && chain.len() < LONGEST_CHAIN
    {
        let vouches = |other: &&CertificateBag| {
            other.cert.subject() == last.cert.issuer()
                && other.cert.subject() != other.cert.issuer()
                && !chain.iter().any(|one| one.cert == other.cert)
        };
        match all.iter().find(vouches) {
            Some(next) => chain.push(next),
            None => break,
        }
    }
    chain.into_iter().map(der).collect()
}

fn private_key(key: &PrivateKeyBag, leaf: &CertificateBag) -> PrivateKeyDer<'static> {
    let pkcs8 = key.key.as_der();
    let whole = ec_key::with_public_key(pkcs8, leaf.cert.as_der());
    PrivatePkcs8KeyDer::from(whole.unwrap_or_else(|| pkcs8.to_vec())).into()
}

/// Java marks what is to be trusted; `openssl` marks nothing, so that a store of it without keys is
/// taken whole.
fn authorities_of(archive: &Pkcs12Archive) -> Vec<CertificateDer<'static>> {
    let marked = archive.certs.iter().any(|certificate| certificate.trusted);
    archive
        .certs
        .iter()
        .filter(|certificate| certificate.trusted || (!marked && archive.keys.is_empty()))
        .map(der)
        .collect()
}

fn der(certificate: &CertificateBag) -> CertificateDer<'static> {
    CertificateDer::from(certificate.cert.as_der().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Source, load_source};

    fn bytes(name: &str) -> Vec<u8> {
        std::fs::read(format!("tests/keystores/{name}")).unwrap()
    }

    fn open(name: &str) -> Keystore {
        Keystore::parse(&bytes(name), "changeit")
            .unwrap_or_else(|fault| panic!("{name}: {fault:?}"))
    }

    fn aliases(store: &Keystore) -> Vec<&str> {
        store.keys.iter().map(|(alias, _)| &**alias).collect()
    }

    /// Fails where rustls cannot sign with the key, or it is not the certificate's.
    fn assert_usable(name: &str, pair: &ClientCertificate) {
        let key = rustls::crypto::ring::sign::any_supported_type(&pair.key)
            .unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let certified = rustls::sign::CertifiedKey::new(pair.chain.clone(), key);
        certified.keys_match().unwrap();
    }

    #[test]
    fn keys_of_java_and_openssl_can_be_used() {
        for (name, expected) in [
            ("java17.p12", &["gateway", "second", "p384"][..]),
            ("java8.p12", &["gateway"]),
            ("openssl3.p12", &["gw"]),
            ("openssl-legacy.p12", &[""]),
            ("chain.p12", &["leaf"]),
        ] {
            let store = open(name);
            assert_eq!(aliases(&store), expected, "{name}");
            for (_, pair) in &store.keys {
                assert_usable(name, pair);
            }
        }
        let plain = Keystore::parse(&bytes("plain.p12"), "").unwrap();
        assert_usable("plain.p12", &plain.keys[0].1);
    }

    #[test]
    fn a_chain_has_all_but_its_root() {
        let leaf = open("chain.p12").into_key(None).unwrap().certificate;
        assert_eq!(leaf.chain.len(), 2);
        let alone = open("java8.p12").into_key(None).unwrap().certificate;
        assert_eq!(alone.chain.len(), 1);
    }

    #[test]
    fn a_key_is_chosen_by_its_alias() {
        let first = open("java17.p12").into_key(None).unwrap();
        assert_eq!(first.others, ["second", "p384"]);
        let second = open("java17.p12").into_key(Some("SECOND")).unwrap();
        assert!(second.others.is_empty());
        assert_ne!(second.certificate.chain, first.certificate.chain);
        let Err(none) = open("java17.p12").into_key(Some("third")) else {
            panic!("there is no third")
        };
        assert_eq!(
            none,
            "has no key with the alias \"third\", but: gateway, second, p384"
        );
        assert!(open("trust17.p12").into_key(None).is_err());
    }

    #[test]
    fn a_certificate_is_chosen_by_its_alias() {
        let store = open("java17.p12");
        let of_key = open("java17.p12").into_key(Some("second")).unwrap();
        let second = store.certificate("Second").unwrap();
        assert_eq!(second, of_key.certificate.chain[0]);
        let trusted = open("trust17.p12");
        let alias = trusted.certificates[0].0.clone();
        let certificate = trusted.certificate(&alias).unwrap();
        assert_eq!(trusted.into_authorities().unwrap(), [certificate]);
        let none = store.certificate("third").unwrap_err();
        assert!(none.starts_with("has no certificate with the alias \"third\", but: "));
    }

    #[test]
    fn what_is_trusted_is_what_java_trusts() {
        let gateway = open("java8.p12").into_key(None).unwrap().certificate;
        for name in ["trust17.p12", "trust8.p12", "openssl-trust.p12"] {
            assert_eq!(open(name).into_authorities().unwrap().len(), 1, "{name}");
        }
        // A store of keys names nobody to trust, whatever chains are in it.
        for name in ["java17.p12", "chain.p12", "openssl3.p12"] {
            assert!(open(name).into_authorities().is_err(), "{name}");
        }
        assert_eq!(gateway.chain.len(), 1);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for name in [
            "java17.p12",
            "java8.p12",
            "trust8.p12",
            "openssl-legacy.p12",
        ] {
            let (what, _) = Keystore::parse(&bytes(name), "wrong").unwrap_err();
            assert_eq!(what, "cannot be opened with this password", "{name}");
        }
        for (bytes, expected) in [
            (bytes("old.jks"), "is a JKS or JCEKS store, not PKCS#12"),
            (
                b"-----BEGIN CERTIFICATE-----".to_vec(),
                "is PEM, not a PKCS#12 store",
            ),
            (Vec::new(), "is not a PKCS#12 store, or is damaged"),
            (
                bytes("java17.p12")[..900].to_vec(),
                "is not a PKCS#12 store, or is damaged",
            ),
            (vec![0; 5 << 20], "is too long for a key store"),
        ] {
            let (what, _) = Keystore::parse(&bytes, "changeit").unwrap_err();
            assert_eq!(what, expected);
        }
    }

    #[test]
    fn no_byte_of_a_store_makes_it_panic() {
        let mut refused = 0;
        for name in ["one-round.p12", "one-round-legacy.p12"] {
            let whole = bytes(name);
            for position in 0..whole.len() {
                let mut changed = whole.clone();
                changed[position] ^= 0x41;
                refused += usize::from(Keystore::parse(&changed, "changeit").is_err());
            }
        }
        assert!(refused > 3_000, "{refused}");
    }

    fn said(text: &str) -> String {
        let source = Source {
            name: "tests/keystores/case.toml".to_owned(),
            text: format!("{text}\n[[route]]\npath = \"/\"\npublic = true\nrespond = {{}}\n"),
            ..Source::default()
        };
        match load_source(source, &Environment::default()) {
            Ok(loaded) => loaded.warnings.to_string(),
            Err(problems) => problems.to_string(),
        }
    }

    #[test]
    fn tables_name_stores() {
        let listen = |keys: &str| {
            said(&format!(
                "[listen]\nhttps = \"127.0.0.1:8443\"\n[[listen.tls]]\n{keys}"
            ))
        };
        let password = "keystore_password = \"changeit\"";
        assert_eq!(
            listen(&format!("keystore_file = \"./java8.p12\"\n{password}")),
            ""
        );
        assert_eq!(
            listen(&format!(
                "keystore_file = \"./java17.p12\"\nkey_alias = \"p384\"\n{password}"
            )),
            ""
        );
        for (keys, expected) in [
            (
                format!("keystore_file = \"./java17.p12\"\n{password}"),
                "say which by `key_alias`",
            ),
            (
                "keystore_file = \"./java8.p12\"".to_owned(),
                "the store has no password",
            ),
            (
                format!("keystore_file = \"./none.p12\"\n{password}"),
                "none.p12 cannot be read",
            ),
            (
                "keystore_file = \"./java8.p12\"\nkeystore_password = \"hunter2\"".to_owned(),
                "java8.p12 cannot be opened with this password",
            ),
            (
                format!("keystore_file = \"./java8.p12\"\n{password}\ncert_file = \"a.pem\""),
                "PEM files and a key store both say",
            ),
            (password.to_owned(), "there is no `keystore_file`"),
        ] {
            let said = listen(&keys);
            assert!(said.contains(expected), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn trust_stores_and_client_certificates_may_be_stores() {
        assert_eq!(
            said(
                "[keyManager]\nserverUrl = \"https://localhost\"\n\
                 [keymanager.tls]\ntrust_store_file = \"./trust17.p12\"\ntrust_store_password = \"changeit\"\n\
                 keystoreFile = \"./chain.p12\"\nkeystorePassword = \"changeit\"\n\
                 [listen.client_certificates]\nmode = \"optional\"\ntrust_store_file = \"./trust8.p12\"\n\
                 trust_store_password = \"changeit\"\n\
                 [upstreams.a]\nservers = [\"https://localhost\"]\n\
                 [upstreams.a.tls]\ntrust_store_file = \"./trust8.p12\"\ntrust_store_password = \"changeit\"\n\
                 keystore_file = \"./java8.p12\"\nkeystore_password = \"changeit\"\n\
                 [[route]]\npath = \"/a\"\npublic = true\nupstream = \"a\""
            ),
            ""
        );
        let said = said(
            "[listen.client_certificates]\nmode = \"required\"\nca_file = \"a.pem\"\n\
             trust_store_file = \"./trust8.p12\"\ntrust_store_password = \"changeit\"",
        );
        assert!(said.contains("both say whom to trust"), "{said}");
    }
}
