//! `[security] validateSubscriptions` and `[apim.eventHub]`: who must have subscribed, and who knows it.

use super::{
    broker, gateway::trust_store, issuers, key_manager::has_own, native::Native,
    original::Original, values::GivenSecret,
};
use crate::{
    config::{problem::Place, section::Placed},
    domain::{Broker, BrokerAccount, Secret},
};

const HUB: &str = "apim.eventHub";
const SERVICE: &str = "https://localhost:9443";
const ACCOUNT: &str = "admin";

pub fn translate(original: &Original<'_>, native: &mut Native) {
    let validate = original.flag("security.validateSubscriptions");
    if let Some(Placed { value, place }) = &validate {
        native.flag("subscriptions.validate", *value, place);
    }
    let validates = validate.is_some_and(|validate| validate.value)
        || issuers::validate_subscriptions(original);
    match original.is_on(&format!("{HUB}.enable")) {
        true => event_hub(original, native),
        // Nobody passes then, as there; without it the routes could not be read.
        false if validates => {
            let place = original
                .find(&format!("{HUB}.enable"))
                .map_or(Place::Nowhere, |found| found.key_place.clone());
            native.flag(&format!("{HUB}.enable"), false, &place);
        }
        false => {}
    }
}

fn event_hub(original: &Original<'_>, native: &mut Native) {
    let given = |key: &str, default: &str| {
        original.text(&format!("{HUB}.{key}")).unwrap_or(Placed {
            value: default.to_owned(),
            place: Place::Nowhere,
        })
    };
    let service = given("serviceUrl", SERVICE);
    let has_tls = service.value.starts_with("https:");
    native.text(&format!("{HUB}.serviceUrl"), service.value, &service.place);
    if let Some(context) = original.text(&format!("{HUB}.internalDataContext")) {
        let key = format!("{HUB}.internalDataContext");
        native.text(&key, context.value, &context.place);
    }
    let username = given("username", ACCOUNT);
    let password = format!("{HUB}.password");
    let secret = original.secret(&password).unwrap_or(GivenSecret {
        value: ACCOUNT.to_owned(),
        place: Place::Nowhere,
        variable: None,
    });
    let account = BrokerAccount {
        name: username.value.clone(),
        password: Secret::new(&secret.value),
    };
    native.text(&format!("{HUB}.username"), username.value, &username.place);
    native.secret(&password, secret, &super::variable_for(&password));
    events(original, native, &account);
    if has_tls && !has_own(&original.native, &["apim", "eventhub", "tls"]) {
        let keys = ["trustStoreFile", "trustStorePassword"];
        trust_store(original, native, &format!("{HUB}.tls"), keys);
    }
}

/// The address without the account in it: the original connects as `username`, whatever stands there.
fn events(original: &Original<'_>, native: &mut Native, account: &BrokerAccount) {
    let path = format!("{HUB}.eventListeningEndpoints");
    let Some(address) = original.secret(&path) else {
        let address = broker::without_account(broker::DEFAULT);
        native.text(&path, address, &Place::Nowhere);
        return;
    };
    let without = broker::without_account(&address.value);
    let written = Broker::parse(&address.value).ok();
    let written = written.and_then(|broker| broker.account);
    if written.is_some_and(|written| written != *account) {
        original.warn(
            &address.place,
            "the account in the address does not count: `username` and `password` do",
            "as in the original",
        );
    }
    match broker::may_hold_a_secret(&without) {
        true => native.secret(&path, address, &super::variable_for(&path)),
        false => native.text(&path, without, &address.place),
    }
}
