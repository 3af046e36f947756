//! Where a route's requests go: the upstreams that routes name.

use std::collections::HashMap;

use http::Uri;

use super::{key_manager::parse_url, section::Section, settings::UpstreamSettings};
use crate::domain::UpstreamId;

/// The distinct upstreams of all routes.
#[derive(Default)]
pub struct Upstreams {
    list: Vec<UpstreamSettings>,
    known: HashMap<UpstreamSettings, usize>,
}

impl Upstreams {
    pub fn into_list(self) -> Vec<UpstreamSettings> {
        self.list
    }

    fn id(&mut self, settings: UpstreamSettings) -> UpstreamId {
        let next = self.list.len();
        let position = *self.known.entry(settings.clone()).or_insert(next);
        if position == next {
            self.list.push(settings);
        }
        UpstreamId(position)
    }
}

/// Reads a route's upstream.
pub fn read(section: &mut Section<'_>, upstreams: &mut Upstreams) -> Option<UpstreamId> {
    let Some(text) = section.text("upstream") else {
        section.missing("upstream", "for instance \"http://127.0.0.1:9000\"");
        return None;
    };
    match parse_upstream(&text.value) {
        Ok(settings) => Some(upstreams.id(settings)),
        Err(hint) => {
            section.error(&text.place, "this is not the address of an upstream", hint);
            None
        }
    }
}

fn parse_upstream(text: &str) -> Result<UpstreamSettings, &'static str> {
    let url: Uri = parse_url(text)?;
    if url
        .path_and_query()
        .is_some_and(|path| path.as_str() != "/")
    {
        return Err("leave out the path: it is passed on as it came");
    }
    let tls = url.scheme() == Some(&http::uri::Scheme::HTTPS);
    let host = url.host().unwrap_or_default();
    Ok(UpstreamSettings {
        host: host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned(),
        port: url.port_u16().unwrap_or(if tls { 443 } else { 80 }),
        tls,
    })
}
