//! `[upstreams.NAME.tls]`: whom to trust and what to show. There is no way to trust everybody.

use rustls::pki_types::ServerName;

use super::UpstreamTlsSettings;
use crate::config::{
    check::Context,
    keystore::{self, IDENTITY, TRUST},
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
    let authorities = keystore::authorities(&mut section, "ca_file", TRUST, context);
    let files = ["cert_file", "key_file"];
    let client = keystore::client(&mut section, files, IDENTITY, context);
    let settings = UpstreamTlsSettings {
        authorities: authorities.flatten().map(|list| list.value),
        client: client.flatten(),
        server_name: server_name(&mut section),
    };
    section.finish();
    settings
}

fn server_name(section: &mut Section<'_>) -> Option<String> {
    let Placed { value, place } = section.text("server_name")?;
    if ServerName::try_from(value.as_str()).is_err() {
        let hint = "a name without scheme and port, for instance \"orders.internal\"";
        section.error(&place, "this is not the name of a server", hint);
    }
    Some(value)
}
