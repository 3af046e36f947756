//! Message brokers: the address, which may hold a password, and what is to be said about it.

use super::{
    check::Context,
    secret::{self, SecretKeys},
    section::{Placed, Section},
    settings::TlsSettings,
};
use crate::domain::Broker;

/// Where messages of one topic come from.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerSettings {
    pub broker: Broker,
    /// The routing key in the exchange `amq.topic`.
    pub topic: String,
    pub tls: TlsSettings,
}

/// Reads the address under one of these keys; `None` when there is none, or none that can be used.
pub fn read(section: &mut Section<'_>, keys: SecretKeys, context: &Context<'_>) -> Option<Broker> {
    let Placed { value, place } = secret::read(section, keys, context)?;
    let broker = match Broker::parse(value.expose()) {
        Ok(broker) => broker,
        Err(fault) => {
            let hint = "for instance amqp://user:password@broker.example.com:5672/vhost";
            section.error(&place, fault, hint);
            return None;
        }
    };
    let is_open = |server: &crate::domain::BrokerServer| !server.tls && !server.is_loopback();
    if broker.servers.iter().any(is_open) {
        section.warn(
            &place,
            "events and a password go between broker and gateway without TLS",
            "use amqps://, or ssl='true' for a broker of the list",
        );
    }
    Some(broker)
}
