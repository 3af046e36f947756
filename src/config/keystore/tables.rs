//! The keys of tables that name stores.

use std::path::PathBuf;

use rustls::pki_types::CertificateDer;

use super::{Chosen, Keystore};
use crate::{
    config::{
        check::Context,
        pem,
        secret::{self, SecretKeys, find},
        section::{Placed, Section},
        settings::ClientCertificate,
    },
    domain::Secret,
};

/// Names of the keys for one store.
#[derive(Clone, Copy)]
pub struct StoreKeys {
    file: &'static str,
    password: SecretKeys,
    /// For a store of which one key is used.
    alias: Option<&'static str>,
}

pub const IDENTITY: StoreKeys = StoreKeys {
    file: "keystore_file",
    password: SecretKeys {
        inline: "keystore_password",
        file: "keystore_password_file",
        variable: "keystore_password_env",
    },
    alias: Some("key_alias"),
};
/// The same in the key manager's tables.
pub const LOOSE_IDENTITY: StoreKeys = StoreKeys {
    file: "keystoreFile",
    password: SecretKeys {
        inline: "keystorePassword",
        file: "keystorePassword_file",
        variable: "keystorePassword_env",
    },
    alias: Some("keyAlias"),
};
pub const TRUST: StoreKeys = StoreKeys {
    file: "trust_store_file",
    password: SecretKeys {
        inline: "trust_store_password",
        file: "trust_store_password_file",
        variable: "trust_store_password_env",
    },
    alias: None,
};
pub const LOOSE_TRUST: StoreKeys = StoreKeys {
    file: "trustStoreFile",
    password: SecretKeys {
        inline: "trustStorePassword",
        file: "trustStorePassword_file",
        variable: "trustStorePassword_env",
    },
    alias: None,
};

/// A trust store of which one certificate has the key of an issuer of JWTs.
const ISSUER: StoreKeys = StoreKeys {
    alias: Some("certificate_alias"),
    ..TRUST
};

/// A key with its certificate, and where they came from.
pub struct Identity {
    pub file: Placed<PathBuf>,
    pub password: Secret,
    pub alias: Option<String>,
    pub certificate: ClientCertificate,
}

/// The store that a table names, not opened yet.
struct Store {
    file: Placed<PathBuf>,
    password: Secret,
    alias: Option<Placed<String>>,
}

/// Reads a key with its certificate. `None`: the table names no store. `Some(None)`: it cannot be
/// used, which is reported.
#[allow(clippy::option_option)]
pub fn identity(
    section: &mut Section<'_>,
    keys: StoreKeys,
    context: &Context<'_>,
) -> Option<Option<Identity>> {
    let store = store(section, keys, context)?;
    Some(store.and_then(|store| {
        let opened = open(section, &store)?;
        let alias = store.alias.as_ref();
        match opened.into_key(alias.map(|alias| alias.value.as_str())) {
            Ok(Chosen {
                certificate,
                others,
            }) => {
                if !others.is_empty() {
                    let what = format!(
                        "{} has several keys: the first one is used, not {}",
                        store.file.value.display(),
                        others.join(", ")
                    );
                    let key = keys.alias.unwrap_or_default();
                    section.warn(&store.file.place, what, format!("say which by `{key}`"));
                }
                Some(Identity {
                    file: store.file,
                    password: store.password,
                    alias: store.alias.map(|alias| alias.value),
                    certificate,
                })
            }
            Err(what) => {
                let place = alias.map_or(&store.file.place, |alias| &alias.place);
                let what = format!("{} {what}", store.file.value.display());
                section.error(
                    place,
                    what,
                    "`keytool -list -keystore FILE` shows what is in it",
                );
                None
            }
        }
    }))
}

/// Authorities to trust, from a PEM file or a trust store, and where they are named. `None`: they are not.
/// `Some(None)`: they cannot be used, which is reported.
#[allow(clippy::option_option)]
pub fn authorities(
    section: &mut Section<'_>,
    pem_file: &'static str,
    keys: StoreKeys,
    context: &Context<'_>,
) -> Option<Option<Placed<Vec<CertificateDer<'static>>>>> {
    let pem_file = section.text(pem_file);
    let store = store(section, keys, context);
    trust_of(section, pem_file, store, context)
}

#[allow(clippy::option_option)]
fn trust_of(
    section: &Section<'_>,
    pem_file: Option<Placed<String>>,
    store: Option<Option<Store>>,
    context: &Context<'_>,
) -> Option<Option<Placed<Vec<CertificateDer<'static>>>>> {
    if let (Some(pem_file), Some(_)) = (&pem_file, &store) {
        section.error(
            &pem_file.place,
            "a PEM file and a trust store both say whom to trust",
            "keep one of them",
        );
        return Some(None);
    }
    if let Some(file) = pem_file {
        let value = pem::certificates(section, &file, context);
        let place = file.place;
        return Some(value.map(|value| Placed { value, place }));
    }
    Some(store?.and_then(|store| trusted(section, store)))
}

/// What a table says of the certificates of an issuer of JWTs.
#[derive(Default)]
pub struct IssuerTrust {
    /// Authorities to trust on the way to it.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// Where a trust store is named as the place of the issuer's key, and its certificate; that is `None`
    /// if it cannot be used, which is reported.
    pub key: Option<Placed<Option<CertificateDer<'static>>>>,
}

/// Reads authorities from a PEM file or a trust store; a store with an alias beside it has the issuer's key
/// instead.
pub fn issuer_trust(
    section: &mut Section<'_>,
    pem_file: &'static str,
    context: &Context<'_>,
) -> IssuerTrust {
    let pem = section.text(pem_file);
    let store = store(section, ISSUER, context);
    match store {
        Some(Some(Store {
            alias: Some(alias),
            file,
            password,
        })) => {
            let place = alias.place.clone();
            let store = Store {
                file,
                password,
                alias: None,
            };
            IssuerTrust {
                authorities: pem.and_then(|file| pem::certificates(section, &file, context)),
                key: Some(Placed {
                    value: certificate(section, &store, &alias),
                    place,
                }),
            }
        }
        store => IssuerTrust {
            authorities: trust_of(section, pem, store, context)
                .flatten()
                .map(|list| list.value),
            key: None,
        },
    }
}

fn certificate(
    section: &Section<'_>,
    store: &Store,
    alias: &Placed<String>,
) -> Option<CertificateDer<'static>> {
    match open(section, store)?.certificate(&alias.value) {
        Ok(certificate) => Some(certificate),
        Err(what) => {
            let what = format!("{} {what}", store.file.value.display());
            let hint = "`keytool -list -keystore FILE` shows what is in it";
            section.error(&alias.place, what, hint);
            None
        }
    }
}

fn trusted(section: &Section<'_>, store: Store) -> Option<Placed<Vec<CertificateDer<'static>>>> {
    let place = store.file.place.clone();
    match open(section, &store)?.into_authorities() {
        Ok(value) => Some(Placed { value, place }),
        Err(what) => {
            let what = format!("{} {what}", store.file.value.display());
            let hint = "`keytool -importcert -alias NAME -file ca.pem -keystore FILE` adds one";
            section.error(&place, what, hint);
            None
        }
    }
}

/// The certificate that the gateway shows, from two PEM files or a key store. As [`authorities`].
#[allow(clippy::option_option)]
pub fn client(
    section: &mut Section<'_>,
    [cert_key, key_key]: [&'static str; 2],
    keys: StoreKeys,
    context: &Context<'_>,
) -> Option<Option<ClientCertificate>> {
    let files = (section.text(cert_key), section.text(key_key));
    let identity = identity(section, keys, context);
    match (files, identity) {
        ((None, None), identity) => Some(identity?.map(|identity| identity.certificate)),
        ((Some(file), _) | (None, Some(file)), Some(_)) => {
            section.error(
                &file.place,
                "PEM files and a key store both say which certificate",
                "keep one of them",
            );
            Some(None)
        }
        ((Some(cert_file), Some(key_file)), None) => {
            let chain = pem::certificates(section, &cert_file, context);
            let key = pem::private_key(section, &key_file, context);
            let pair = chain.zip(key);
            Some(pair.map(|(chain, key)| ClientCertificate { chain, key }))
        }
        ((Some(lonely), None) | (None, Some(lonely)), None) => {
            section.error(
                &lonely.place,
                "a client certificate needs its key, and a key its certificate",
                format!("set both `{cert_key}` and `{key_key}`"),
            );
            Some(None)
        }
    }
}

fn open(section: &Section<'_>, store: &Store) -> Option<Keystore> {
    Keystore::open(&store.file.value, store.password.expose())
        .map_err(|unusable| section.error(&store.file.place, unusable.what, unusable.hint))
        .ok()
}

#[allow(clippy::option_option)]
fn store(
    section: &mut Section<'_>,
    keys: StoreKeys,
    context: &Context<'_>,
) -> Option<Option<Store>> {
    let file = section.text(keys.file);
    let password = secret::read(section, keys.password, context);
    let alias = keys.alias.and_then(|key| section.text(key));
    let Some(file) = file else {
        let lonely = password.map(|password| password.place);
        if let Some(place) = lonely.or(alias.map(|alias| alias.place)) {
            let what = format!("there is no `{}` that this is for", keys.file);
            section.error(&place, what, "");
        }
        return None;
    };
    let wanted = keys.password.any_given(section);
    let Some(password) = password else {
        if !wanted {
            let hint = format!("set `{}`, as a file or otherwise", keys.password.file);
            section.error(&file.place, "the store has no password", hint);
        }
        return Some(None);
    };
    Some(Some(Store {
        file: Placed {
            value: find(&file.value, context),
            place: file.place,
        },
        password: password.value,
        alias,
    }))
}
