//! `[upstreams.NAME.tls]` and `[upstream_tls]`: whom to trust and what to show. There is no way to trust everybody.

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
    let settings = UpstreamTlsSettings {
        server_name: server_name(&mut section),
        ..certificates(&mut section, context)
    };
    section.finish();
    settings
}

/// What holds for all upstreams that do not say it themselves.
pub fn usual(root: &mut Section<'_>, context: &Context<'_>) -> UpstreamTlsSettings {
    let Some(mut section) = root.optional_section("upstream_tls") else {
        return UpstreamTlsSettings::default();
    };
    let settings = certificates(&mut section, context);
    section.finish();
    settings
}

fn certificates(section: &mut Section<'_>, context: &Context<'_>) -> UpstreamTlsSettings {
    let authorities = keystore::authorities(section, "ca_file", TRUST, context);
    let files = ["cert_file", "key_file"];
    let client = keystore::client(section, files, IDENTITY, context);
    UpstreamTlsSettings {
        authorities: authorities.flatten().map(|list| list.value),
        client: client.flatten(),
        server_name: None,
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
