//! `[listen]`: where connections come in, how, and whose word is taken.

mod certificate;
mod limits;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rustls::{RootCertStore, pki_types::CertificateDer};

pub use certificate::{ServerCertificate, Unusable};
pub use limits::ConnectionLimits;

use super::{
    check::Context,
    keystore,
    section::{Placed, Section},
};
use crate::domain::Network;

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);

/// `[listen]`.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Without TLS.
    pub http: Vec<SocketAddr>,
    /// With TLS.
    pub https: Vec<SocketAddr>,
    /// HTTP/2 without TLS too, for clients that begin with it (RFC 9113 §3.3).
    pub h2c: bool,
    /// Requests without TLS are sent to the first of `https`, and not served.
    pub redirect_to_https: bool,
    /// Connections from here begin with a PROXY header, versions 1 and 2.
    pub proxy_protocol_from: Vec<Network>,
    /// Whose forwarded addresses are believed.
    pub trusted_proxies: Vec<Network>,
    /// The first one is shown to clients that name nobody we know.
    pub certificates: Vec<ServerCertificate>,
    pub client_certificates: ClientCertificates,
    pub limits: ConnectionLimits,
}

impl Listen {
    /// All addresses, for people.
    pub fn places(&self) -> String {
        let http = self.http.iter().map(|address| format!("http://{address}"));
        let https = self
            .https
            .iter()
            .map(|address| format!("https://{address}"));
        http.chain(https).collect::<Vec<_>>().join(", ")
    }
}

/// `[listen.client_certificates]`.
#[derive(Clone, Debug, Default)]
pub enum ClientCertificates {
    #[default]
    Off,
    /// Asked for, and verified where one comes.
    Optional(RootCertStore),
    Required(RootCertStore),
}

/// Reads the table.
pub fn read(root: &mut Section<'_>, context: &Context<'_>) -> Option<Listen> {
    let mut section = root.section("listen");
    let http = addresses(&mut section, "http", "0.0.0.0:8080");
    let https = addresses(&mut section, "https", "0.0.0.0:8443");
    let h2c = flag(&mut section, "h2c");
    let redirect = section.boolean("redirect_to_https");
    let proxy_protocol_from = networks(&mut section, "proxy_protocol_from");
    let trusted_proxies = networks(&mut section, "trusted_proxies");
    let tables = section.sections("tls");
    let has_tables = !tables.is_empty();
    let certificates: Vec<_> = tables
        .into_iter()
        .map(|table| certificate::read(table, context))
        .collect();
    let client_certificates = client_certificates(&mut section, context);
    let limits = limits::read(&mut section);
    let tls = https.as_ref().is_some_and(|list| !list.value.is_empty());
    if tls && !has_tables {
        section.error(
            &section.place,
            "`https` needs a certificate",
            "add [[listen.tls]] with `cert_file` and `key_file`, or with `keystore_file`",
        );
    }
    if let Some(Placed { value: true, place }) = &redirect
        && !tls
    {
        section.error(place, "there is no `https` to redirect to", "add `https`");
    }
    section.finish();
    let given = |list: Option<Placed<Vec<SocketAddr>>>| list.map(|list| list.value);
    let http = match (given(http), tls) {
        (Some(http), _) => http,
        (None, true) => Vec::new(),
        (None, false) => vec![DEFAULT_LISTEN],
    };
    Some(Listen {
        http,
        https: given(https).unwrap_or_default(),
        h2c,
        redirect_to_https: redirect.is_some_and(|redirect| redirect.value),
        proxy_protocol_from,
        trusted_proxies,
        certificates: certificates.into_iter().collect::<Option<_>>()?,
        client_certificates: client_certificates?,
        limits,
    })
}

fn flag(section: &mut Section<'_>, key: &'static str) -> bool {
    section.boolean(key).is_some_and(|flag| flag.value)
}

/// Reports what is no address.
fn addresses(
    section: &mut Section<'_>,
    key: &'static str,
    example: &str,
) -> Option<Placed<Vec<SocketAddr>>> {
    let Placed { value, place } = section.texts(key)?;
    let value = value
        .into_iter()
        .filter_map(|Placed { value, place }| match value.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                let what = format!("`{key}` is not an address to listen on");
                section.error(&place, what, format!("for instance \"{example}\""));
                None
            }
        })
        .collect();
    Some(Placed { value, place })
}

fn networks(section: &mut Section<'_>, key: &'static str) -> Vec<Network> {
    let Some(list) = section.texts(key) else {
        return Vec::new();
    };
    let networks = list.value.into_iter();
    networks
        .filter_map(|Placed { value, place }| match Network::parse(&value) {
            Ok(network) => Some(network),
            Err(why) => {
                let what = format!("`{key}` has {value:?}: {why}");
                section.error(&place, what, "for instance \"10.0.0.0/8\", \"2001:db8::7\"");
                None
            }
        })
        .collect()
}

fn client_certificates(
    listen: &mut Section<'_>,
    context: &Context<'_>,
) -> Option<ClientCertificates> {
    let Some(mut section) = listen.optional_section("client_certificates") else {
        return Some(ClientCertificates::Off);
    };
    let mode = section.text("mode");
    let trusted = keystore::authorities(&mut section, "ca_file", keystore::TRUST, context);
    let roots = trusted.map(|list| list.and_then(|list| roots(&section, list)));
    let settings = match (mode, roots) {
        // It has been told what is wrong with the file.
        (_, Some(None)) => None,
        (None, _) => Some(ClientCertificates::Off),
        (Some(mode), _) if mode.value == "off" => Some(ClientCertificates::Off),
        (Some(mode), Some(Some(roots))) if mode.value == "optional" => {
            Some(ClientCertificates::Optional(roots))
        }
        (Some(mode), Some(Some(roots))) if mode.value == "required" => {
            Some(ClientCertificates::Required(roots))
        }
        (Some(mode), None) if matches!(&*mode.value, "optional" | "required") => {
            section.missing(
                "ca_file",
                "the authorities of the clients, PEM; or `trust_store_file`",
            );
            None
        }
        (Some(Placed { value, place }), _) => {
            section.error(
                &place,
                format!("`mode` cannot be {value:?}"),
                "\"off\", \"optional\" or \"required\"",
            );
            None
        }
    };
    section.finish();
    settings
}

/// The authorities that client certificates must come from.
fn roots(
    section: &Section<'_>,
    list: Placed<Vec<CertificateDer<'static>>>,
) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in list.value {
        if let Err(fault) = roots.add(certificate) {
            let what = format!("a certificate among the authorities cannot be used: {fault}");
            section.error(&list.place, what, "X.509, for an authority");
            return None;
        }
    }
    Some(roots)
}
