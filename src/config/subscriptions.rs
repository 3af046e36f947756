//! `[subscriptions]`: whether clients must have subscribed to the API that they call, and who says so.

use std::{path::PathBuf, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{Uri, uri::Scheme};

use super::{
    apim::{EventHub, EventHubSettings},
    check::Context,
    key_manager::{is_loopback, parse_url},
    pem,
    problem::Place,
    secret::{self, SecretKeys},
    section::{Placed, Section},
    settings::TlsSettings,
};
use crate::domain::Secret;

const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 3600);
const MAX_BYTES: std::ops::RangeInclusive<u64> = 1024..=4 << 30;

/// `[subscriptions]`.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionSettings {
    /// Where neither route nor key manager says.
    pub validate: bool,
    /// A file, an address, or an API Manager.
    pub source: Option<SourceSettings>,
    /// There is an API Manager, and it is switched off.
    pub hub_is_off: bool,
}

/// Where they come from.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSettings {
    pub place: SourcePlace,
    /// Longest list that is read, in bytes.
    pub max_bytes: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SourcePlace {
    /// JSON if the name ends so, TOML otherwise.
    File(PathBuf),
    Url(Box<UrlSettings>),
    EventHub(Box<EventHubSettings>),
}

/// JSON that is asked for again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct UrlSettings {
    pub url: Uri,
    pub interval: Duration,
    /// The value of `Authorization`.
    pub authorization: Option<Secret>,
    pub tls: TlsSettings,
}

impl SourceSettings {
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
    pub const DEFAULT_MAX_BYTES: u64 = 64 << 20;
}

impl SubscriptionSettings {
    /// The API Manager that they come from.
    pub fn event_hub(&self) -> Option<&EventHubSettings> {
        match &self.source.as_ref()?.place {
            SourcePlace::EventHub(settings) => Some(settings),
            SourcePlace::File(_) | SourcePlace::Url(_) => None,
        }
    }
}

/// Reads the table; `event_hub` is a source, too.
pub fn read(
    root: &mut Section<'_>,
    context: &Context<'_>,
    event_hub: EventHub,
) -> SubscriptionSettings {
    let mut section = root.section("subscriptions");
    let validate = section.boolean("validate");
    let file = section.text("file");
    let url = section.text("url");
    let asks = url.is_some();
    if let (Some(_), Some(url)) = (&file, &url) {
        let what = "`file` and `url` both say where the subscriptions are";
        section.error(&url.place, what, "keep one of them");
    }
    if let (Some(other), EventHub::On(..)) = (file.as_ref().or(url.as_ref()), &event_hub) {
        let what = "this and [apim.eventHub] both say where the subscriptions are";
        section.error(&other.place, what, "keep one of them");
    }
    let max_bytes = max_bytes(&mut section);
    let url = url_settings(&mut section, url, context);
    if !asks {
        for key in ["username", "token"] {
            if section.was_given(key) {
                let what = format!("`{key}` is for a `url`, and there is none");
                section.error(&section.place, what, "");
            }
        }
    }
    section.finish();
    let file = file.map(|file| SourcePlace::File(secret::find(&file.value, context)));
    let place = url.map(|url| SourcePlace::Url(Box::new(url))).or(file);
    SubscriptionSettings {
        validate: validate.is_some_and(|validate| validate.value),
        hub_is_off: matches!(event_hub, EventHub::Off),
        source: match event_hub {
            EventHub::On(event_hub, max_bytes) => Some(SourceSettings {
                place: SourcePlace::EventHub(event_hub),
                max_bytes,
            }),
            EventHub::Off | EventHub::None => {
                place.map(|place| SourceSettings { place, max_bytes })
            }
        },
    }
}

fn url_settings(
    section: &mut Section<'_>,
    url: Option<Placed<String>>,
    context: &Context<'_>,
) -> Option<UrlSettings> {
    let interval = interval(section);
    let authorization = authorization(section, context);
    let (tls, _) = section.with_loose_names(|section| pem::read(section, context));
    let Placed { value, place } = url?;
    let url = match parse_url(&value) {
        Ok(url) => url,
        Err(hint) => {
            section.error(&place, "this is not the address of a list of clients", hint);
            return None;
        }
    };
    if url.scheme() == Some(&Scheme::HTTP) && !is_loopback(&url) {
        let what = "who may call which API is asked for over plain http";
        section.warn(&place, what, "use https");
    }
    Some(UrlSettings {
        url,
        interval,
        authorization,
        tls,
    })
}

fn interval(section: &mut Section<'_>) -> Duration {
    let Some(Placed { value, place }) = section.duration("interval") else {
        return SourceSettings::DEFAULT_INTERVAL;
    };
    if value < Duration::from_secs(1) || value > LONGEST_INTERVAL {
        let what = "`interval` is out of range";
        section.error(&place, what, "between \"1s\" and \"1day\"");
    }
    value
}

/// Name and password (RFC 7617), or a bearer token.
fn authorization(section: &mut Section<'_>, context: &Context<'_>) -> Option<Secret> {
    let username = section.text("username");
    let password = secret::read(section, SecretKeys::PASSWORD, context);
    let token = secret::read(section, SecretKeys::TOKEN, context);
    let value = match (username, password, token) {
        (Some(username), _, Some(_)) => {
            let what = "`username` and `token` both say who asks";
            section.error(&username.place, what, "keep one of them");
            return None;
        }
        (Some(username), Some(password), None) => {
            let pair = format!("{}:{}", username.value, password.value.expose());
            format!("Basic {}", BASE64_STANDARD.encode(pair))
        }
        (Some(username), None, None) => {
            if !SecretKeys::PASSWORD.any_given(section) {
                section.error(
                    &username.place,
                    "a `username` needs a password",
                    "set `password_file` or `password_env`",
                );
            }
            return None;
        }
        (None, Some(password), _) => {
            section.error(&password.place, "a password needs a `username`", "");
            return None;
        }
        (None, None, Some(token)) => format!("Bearer {}", token.value.expose()),
        (None, None, None) => return None,
    };
    if http::HeaderValue::from_str(&value).is_err() {
        let what = "the credentials cannot stand in a header";
        section.error(&section.place, what, "");
        return None;
    }
    Some(Secret::new(&value))
}

fn max_bytes(section: &mut Section<'_>) -> u64 {
    let Some(Placed { value, place }) = section.size("max_bytes") else {
        return SourceSettings::DEFAULT_MAX_BYTES;
    };
    if !MAX_BYTES.contains(&value) {
        let what = "`max_bytes` is out of range";
        section.error(&place, what, "between 1KiB and 4GiB");
    }
    value
}

/// A route whose subscriptions are validated, while nobody knows any. An API Manager that is switched off is what
/// somebody wanted: then nobody passes, as with the original.
pub fn tell_no_source(root: &Section<'_>, hub_is_off: bool, route: &str, place: &Place) {
    match hub_is_off {
        true => root.warn(
            place,
            format!(
                "the route {route:?} asks for a subscription, and [apim.eventHub] is off: nobody passes who must have one"
            ),
            "say `enable = true` in [apim.eventHub], or do not validate subscriptions",
        ),
        false => root.error(
            place,
            format!("the route {route:?} asks for a subscription, but nobody says who has one"),
            "set `file` or `url` in [subscriptions], or [apim.eventHub]",
        ),
    }
}
