//! `[revocation]`: who tells which tokens were revoked before their end.

use http::Uri;

use super::{
    broker::{self, BrokerSettings},
    check::Context,
    key_manager::{is_loopback, parse_url},
    pem,
    secret::{self, SecretKeys},
    section::{Placed, Section},
    settings::TlsSettings,
};
use crate::domain::BrokerAccount;

const DEFAULT_TOPIC: &str = "tokenRevocation";
/// What AMQP 0-9-1 lets a routing key have, in bytes.
const LONGEST_TOPIC: usize = 255;
const MAX_ENTRIES: std::ops::RangeInclusive<u64> = 1..=100_000_000;

const BROKER: SecretKeys = SecretKeys {
    inline: "broker",
    file: "broker_file",
    variable: "broker_env",
};

/// `[revocation]`: who tells which tokens were revoked before their end.
#[derive(Clone, Debug, PartialEq)]
pub struct RevocationSettings {
    /// A broker tells at once.
    pub events: Option<BrokerSettings>,
    /// Read at the start, and after a broker was away.
    pub list: Option<RevocationListSettings>,
    /// Most tokens that are kept.
    pub max_entries: usize,
}

/// `list_url` in `[revocation]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RevocationListSettings {
    pub url: Uri,
    pub account: Option<BrokerAccount>,
    pub tls: TlsSettings,
}

/// Reads the table; `None` when there is none, or none that can be used. `of_hub`: the broker that tells
/// about subscriptions, which tells about tokens too.
pub fn read(
    root: &mut Section<'_>,
    context: &Context<'_>,
    of_hub: Option<&BrokerSettings>,
) -> Option<RevocationSettings> {
    let mut section = root.optional_section("revocation")?;
    let (tls, _) = section.with_loose_names(|section| pem::read(section, context));
    let events = section.boolean("events");
    let own = broker::read(&mut section, BROKER, context);
    let any_broker = of_hub.is_some() || BROKER.any_given(&section);
    let topic = topic(&mut section);
    let list = list(&mut section, context);
    let max_entries = max_entries(&mut section);
    let is_on = events.is_none_or(|events| events.value);
    if !(any_broker && is_on || section.was_given("list_url")) {
        section.error(
            &section.place.clone(),
            "nobody tells which tokens are revoked",
            "set `broker`, `list_url`, or both",
        );
    }
    section.finish();
    let own = own.map(|broker| (broker, tls.clone()));
    let broker = own.or_else(|| of_hub.map(|hub| (hub.broker.clone(), hub.tls.clone())));
    Some(RevocationSettings {
        events: broker
            .filter(|_| is_on)
            .map(|(broker, tls)| BrokerSettings { broker, topic, tls }),
        list: list.map(|(url, account)| RevocationListSettings { url, account, tls }),
        max_entries,
    })
}

fn topic(section: &mut Section<'_>) -> String {
    let Some(Placed { value, place }) = section.text("topic") else {
        return DEFAULT_TOPIC.to_owned();
    };
    if value.is_empty() || value.len() > LONGEST_TOPIC {
        section.error(&place, "a topic has 1 to 255 bytes", "");
    }
    value
}

fn list(section: &mut Section<'_>, context: &Context<'_>) -> Option<(Uri, Option<BrokerAccount>)> {
    let username = section.text("username");
    let password = secret::read(section, SecretKeys::PASSWORD, context);
    let account = match (username, password) {
        (Some(username), Some(password)) => Some(BrokerAccount {
            name: username.value,
            password: password.value,
        }),
        (Some(lonely), None) if !SecretKeys::PASSWORD.any_given(section) => {
            let hint = "set `username` and `password`, or neither";
            section.error(&lonely.place, "an account needs its password", hint);
            None
        }
        (None, Some(lonely)) => {
            let hint = "set `username` and `password`, or neither";
            section.error(&lonely.place, "a password needs its account", hint);
            None
        }
        _ => None,
    };
    let Placed { value, place } = section.text("list_url")?;
    match parse_url(&value) {
        Ok(url) => {
            if account.is_some() && url.scheme_str() == Some("http") && !is_loopback(&url) {
                let what = "the account for the list goes over plain http";
                section.warn(&place, what, "use https");
            }
            Some((url, account))
        }
        Err(hint) => {
            section.error(&place, "this is not the address of a list", hint);
            None
        }
    }
}

fn max_entries(section: &mut Section<'_>) -> usize {
    const DEFAULT: usize = 100_000;
    let Some(Placed { value, place }) = section.integer("max_entries") else {
        return DEFAULT;
    };
    match usize::try_from(value) {
        Ok(entries) if MAX_ENTRIES.contains(&value) => entries,
        _ => {
            let hint = format!("between {} and {}", MAX_ENTRIES.start(), MAX_ENTRIES.end());
            section.error(&place, "`max_entries` is out of range", hint);
            DEFAULT
        }
    }
}
