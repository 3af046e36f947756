//! `[upstreams.NAME.tls]`: whom to trust and what to show. There is no way to trust everybody.

use rustls::pki_types::ServerName;

use super::UpstreamTlsSettings;
use crate::config::{
    ClientCertificate,
    check::Context,
    pem::{certificates, private_key},
    section::{Placed, Section},
};

/// `any`: whether there is a server with TLS.
pub fn read(upstream: &mut Section<'_>, any: bool, context: &Context<'_>) -> UpstreamTlsSettings {
    let Some(mut section) = upstream.optional_section("tls") else {
        return UpstreamTlsSettings::default();
    };
    if !any {
        let hint = "write https:// before the address of one";
        section.error(&section.place, "no server of this upstream has TLS", hint);
    }
    let authorities = section
        .text("ca_file")
        .and_then(|file| certificates(&section, &file, context));
    let settings = UpstreamTlsSettings {
        authorities,
        client: client(&mut section, context),
        server_name: server_name(&mut section),
    };
    section.finish();
    settings
}

fn client(section: &mut Section<'_>, context: &Context<'_>) -> Option<ClientCertificate> {
    match (section.text("cert_file"), section.text("key_file")) {
        (Some(cert_file), Some(key_file)) => {
            let chain = certificates(section, &cert_file, context);
            let key = private_key(section, &key_file, context);
            let (chain, key) = chain.zip(key)?;
            Some(ClientCertificate { chain, key })
        }
        (None, None) => None,
        (Some(lonely), None) | (None, Some(lonely)) => {
            section.error(
                &lonely.place,
                "a client certificate needs its key, and a key its certificate",
                "set both `cert_file` and `key_file`",
            );
            None
        }
    }
}

fn server_name(section: &mut Section<'_>) -> Option<String> {
    let Placed { value, place } = section.text("server_name")?;
    if ServerName::try_from(value.as_str()).is_err() {
        let hint = "a name without scheme and port, for instance \"orders.internal\"";
        section.error(&place, "this is not the name of a server", hint);
    }
    Some(value)
}
