//! `[apim.eventHub]`: the WSO2 API Manager that knows who has subscribed to what, with the names that
//! the original gives it.

use std::time::Duration;

use http::{HeaderValue, Uri, uri::Scheme};

use super::{
    broker::{self, BrokerSettings},
    check::Context,
    key_manager::{is_loopback, parse_url},
    pem,
    secret::{self, SecretKeys},
    section::{Placed, Section},
    settings::TlsSettings,
};
use crate::domain::{BrokerAccount, Secret};

const DEFAULT_CONTEXT: &str = "/internal/data/v1";
/// What API Manager publishes changes under.
const TOPIC: &str = "notification";
/// The address has a password in it.
const EVENTS: SecretKeys = SecretKeys {
    inline: "eventListeningEndpoints",
    file: "eventListeningEndpoints_file",
    variable: "eventListeningEndpoints_env",
};

/// `[apim.eventHub]`: where an API Manager's subscriptions are had from.
#[derive(Clone, Debug, PartialEq)]
pub struct EventHubSettings {
    /// Of the internal data API, without a slash at its end: `{data_url}/subscriptions` is a list.
    pub data_url: Uri,
    pub username: String,
    pub password: Secret,
    /// Sent as `xWSO2Tenant`; the tenant of `username` when `None`.
    pub tenant: Option<HeaderValue>,
    /// How often everything is read anew.
    pub resync_interval: Duration,
    pub tls: TlsSettings,
    /// Who tells of changes as they happen.
    pub events: Option<BrokerSettings>,
}

impl EventHubSettings {
    const DEFAULT_RESYNC_INTERVAL: Duration = Duration::from_secs(300);
    const DEFAULT_MAX_LIST_BYTES: u64 = 1 << 30;

    /// The domain of the tenant whose data it is.
    pub fn tenant_domain(&self) -> &str {
        /// Of accounts without one.
        const SUPER: &str = "carbon.super";
        let written = self.tenant.as_ref().and_then(|tenant| tenant.to_str().ok());
        let of_account = || self.username.rsplit_once('@').map(|(_, domain)| domain);
        written.or_else(of_account).unwrap_or(SUPER)
    }

    /// Host and port: the `server` label of metrics.
    pub fn name(&self) -> &str {
        self.data_url.authority().map_or("", |host| host.as_str())
    }
}

/// What the table says.
pub enum EventHub {
    /// There is none, or none that can be used.
    None,
    /// It is switched off.
    Off,
    /// With the longest list that is read, in bytes.
    On(Box<EventHubSettings>, u64),
}

impl EventHub {
    /// Who tells of changes as they happen.
    pub fn events(&self) -> Option<&BrokerSettings> {
        match self {
            Self::On(settings, _) => settings.events.as_ref(),
            Self::Off | Self::None => None,
        }
    }
}

/// Reads the table.
pub fn read(root: &mut Section<'_>, context: &Context<'_>) -> EventHub {
    let Some(mut apim) = root.optional_loose_section("apim") else {
        return EventHub::None;
    };
    let settings = match apim.optional_section("eventHub") {
        Some(section) => event_hub(section, context),
        None => EventHub::None,
    };
    apim.finish();
    settings
}

fn event_hub(mut section: Section<'_>, context: &Context<'_>) -> EventHub {
    let enable = section.boolean("enable");
    let is_on = enable.is_none_or(|enable| enable.value);
    let settings = settings(&mut section, is_on, context);
    section.finish();
    match settings {
        _ if !is_on => EventHub::Off,
        Some((settings, max_list_bytes)) => EventHub::On(Box::new(settings), max_list_bytes),
        None => EventHub::None,
    }
}

fn settings(
    section: &mut Section<'_>,
    is_on: bool,
    context: &Context<'_>,
) -> Option<(EventHubSettings, u64)> {
    let data_url = data_url(section);
    let username = section.text("username");
    let password = secret::read(section, SecretKeys::PASSWORD, context);
    warn_of_account(section, &username, &password);
    let tenant = tenant(section);
    let resync_interval = resync_interval(section);
    let max_list_bytes = max_list_bytes(section);
    let (tls, _) = pem::read(section, context);
    let broker = broker::read(section, EVENTS, context);
    if is_on {
        section.missing(
            "serviceUrl",
            "for instance \"https://apim.example.com:9443\"",
        );
        section.missing(
            "username",
            "the account that may read the API Manager's internal data",
        );
        if !SecretKeys::PASSWORD.any_given(section) {
            section.missing("password", "or `password_file`, or `password_env`");
        }
    }
    let account = BrokerAccount {
        name: username?.value,
        password: password?.value,
    };
    let settings = EventHubSettings {
        data_url: data_url?,
        username: account.name.clone(),
        password: account.password.clone(),
        tenant,
        resync_interval,
        events: broker.map(|mut broker| {
            // The original has one account for both.
            broker.account.get_or_insert(account);
            BrokerSettings {
                broker,
                topic: TOPIC.to_owned(),
                tls: tls.clone(),
            }
        }),
        tls,
    };
    Some((settings, max_list_bytes))
}

fn warn_of_account(
    section: &Section<'_>,
    username: &Option<Placed<String>>,
    password: &Option<Placed<Secret>>,
) {
    if let (Some(username), Some(password)) = (username, password)
        && username.value == "admin"
        && password.value.expose() == "admin"
    {
        section.warn(
            &password.place,
            "admin/admin is the password that everybody tries first",
            "give the gateway an account of its own",
        );
    }
}

/// `{serviceUrl}/{internalDataContext}`, with one slash wherever there are several: the original's own
/// default makes two of them.
fn data_url(section: &mut Section<'_>) -> Option<Uri> {
    let service = section.text("serviceUrl");
    let context = section.text("internalDataContext");
    let context = context.map_or_else(|| DEFAULT_CONTEXT.to_owned(), |context| context.value);
    let Placed { value, place } = service?;
    let path: Vec<&str> = context.split('/').filter(|part| !part.is_empty()).collect();
    let text = format!("{}/{}", value.trim_end_matches('/'), path.join("/"));
    match parse_url(text.trim_end_matches('/')) {
        Ok(url) if url.query().is_none() => {
            if url.scheme() == Some(&Scheme::HTTP) && !is_loopback(&url) {
                section.warn(
                    &place,
                    "the API Manager is asked over plain http, with name and password",
                    "use https",
                );
            }
            Some(url)
        }
        Ok(_) => {
            let what = "this is not the address of an API Manager";
            section.error(&place, what, "leave out the part from `?` on");
            None
        }
        Err(hint) => {
            section.error(&place, "this is not the address of an API Manager", hint);
            None
        }
    }
}

fn tenant(section: &mut Section<'_>) -> Option<HeaderValue> {
    let Placed { value, place } = section.text("tenant")?;
    let tenant = HeaderValue::from_str(&value).ok();
    let tenant = tenant.filter(|tenant| !tenant.is_empty());
    if tenant.is_none() {
        section.error(
            &place,
            "this is not the name of a tenant",
            "for instance \"carbon.super\"",
        );
    }
    tenant
}

fn resync_interval(section: &mut Section<'_>) -> Duration {
    const LEAST: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_secs(24 * 3600);
    let Some(Placed { value, place }) = section.duration("resyncInterval") else {
        return EventHubSettings::DEFAULT_RESYNC_INTERVAL;
    };
    if !(LEAST..=MOST).contains(&value) {
        section.error(
            &place,
            "`resyncInterval` is out of range",
            "between \"1s\" and \"24h\"",
        );
    }
    value
}

fn max_list_bytes(section: &mut Section<'_>) -> u64 {
    const RANGE: std::ops::RangeInclusive<u64> = 1 << 20..=1 << 40;
    let Some(Placed { value, place }) = section.size("maxListBytes") else {
        return EventHubSettings::DEFAULT_MAX_LIST_BYTES;
    };
    if !RANGE.contains(&value) {
        section.error(
            &place,
            "`maxListBytes` is out of range",
            "between \"1MiB\" and \"1TiB\"",
        );
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Problems, Source, load_source};

    fn read(text: &str) -> Result<Option<EventHubSettings>, Problems> {
        let text = format!("[apim.eventHub]\n{text}");
        load_source(Source::memory(&text), &Environment::default())
            .map(|loaded| loaded.settings.subscriptions.event_hub().cloned())
    }

    fn read_well(text: &str) -> EventHubSettings {
        read(text)
            .unwrap_or_else(|problems| panic!("{problems}"))
            .unwrap()
    }

    const REST: &str = "username = \"gateway\"\npassword = \"s3cret\"\n";

    #[test]
    fn slashes_are_put_right() {
        for (service, context) in [
            ("https://apim.example:9443", None),
            ("https://apim.example:9443/", Some("/internal/data/v1/")),
            ("https://apim.example:9443//", Some("internal//data/v1")),
        ] {
            let context = context.map_or_else(String::new, |context| {
                format!("internalDataContext = \"{context}\"\n")
            });
            let read = read_well(&format!("serviceUrl = \"{service}\"\n{context}{REST}"));
            assert_eq!(read.data_url, "https://apim.example:9443/internal/data/v1");
        }
        let below = format!(
            "service_url = \"https://apim.example/am\"\ninternal_data_context = \"/\"\n{REST}"
        );
        assert_eq!(read_well(&below).data_url, "https://apim.example/am");
    }

    #[test]
    fn events_come_with_the_account_of_the_address_or_of_the_hub() {
        let with = |url: &str| {
            let text = format!(
                "serviceUrl = \"https://apim.example\"\nEvent_Listening_Endpoints = \"{url}\"\n{REST}"
            );
            let events = read_well(&text).events.unwrap();
            (events.topic, events.broker.account.unwrap().name)
        };
        let topic = || "notification".to_owned();
        let own = "amqp://admin:admin@carbon/carbon?brokerlist='tcp://localhost:5672'";
        assert_eq!(with(own), (topic(), "admin".to_owned()));
        let none = "amqp://carbon/carbon?brokerlist='tcp://localhost:5672'";
        assert_eq!(with(none), (topic(), "gateway".to_owned()));
    }

    #[test]
    fn the_tenant_is_written_or_that_of_the_account() {
        let with = |lines: &str| {
            let text = format!("serviceUrl = \"https://apim.example\"\n{lines}");
            read_well(&text).tenant_domain().to_owned()
        };
        let account = |name: &str| format!("username = \"{name}\"\npassword = \"s3cret\"\n");
        assert_eq!(with(&account("gateway")), "carbon.super");
        assert_eq!(with(&account("a@b.example@c.example")), "c.example");
        let written = format!("tenant = \"d.example\"\n{}", account("a@c.example"));
        assert_eq!(with(&written), "d.example");
    }

    #[test]
    fn one_that_is_off_is_none() {
        let off = format!("enable = false\nserviceUrl = \"https://apim.example\"\n{REST}");
        assert!(
            read(&off)
                .unwrap_or_else(|problems| panic!("{problems}"))
                .is_none()
        );
        assert!(
            read("enable = false\n")
                .unwrap_or_else(|problems| panic!("{problems}"))
                .is_none()
        );
    }

    #[test]
    fn the_password_is_no_part_of_what_is_printed() {
        let settings = read_well(&format!("serviceUrl = \"https://apim.example\"\n{REST}"));
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}
