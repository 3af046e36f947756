//! `[tokenRevocationConfig]`: who tells which tokens were revoked before their end.

use super::{
    broker, gateway::trust_store, key_manager::has_own, native::Native, original::Original,
    values::GivenSecret, variable_for,
};
use crate::config::{problem::Place, section::Placed};

const REALTIME: &str = "tokenRevocationConfig.realtime";
const PERSISTENT: &str = "tokenRevocationConfig.persistent";
const ENDPOINT: &str = "https://localhost:9443/internal/data/v1";
/// What the original's code has, other than its template.
const ACCOUNT: &str = "root";
const NOT_ASKED: &str =
    "revoked tokens are read from an API Manager, not from etcd and not by Java classes";
/// For an address that is put together here.
const BROKER_VARIABLE: &str = "tokenRevocationConfig_broker";

pub fn translate(original: &Original<'_>, native: &mut Native) {
    let realtime = original.is_on(&format!("{REALTIME}.enableRealtimeMessageRetrieval"));
    let persistent = original.is_on(&format!("{PERSISTENT}.enablePersistentStorageRetrieval"));
    if realtime {
        events(original, native);
    }
    let has_list = persistent && list(original, native);
    if !realtime && has_list {
        // An event hub of the same file would be taken otherwise.
        native.flag("revocation.events", false, &Place::Nowhere);
    }
    if (realtime || has_list) && !has_own(&original.native, &["revocation", "tls"]) {
        let keys = ["trustStoreFile", "trustStorePassword"];
        trust_store(original, native, "revocation.tls", keys);
    }
}

fn events(original: &Original<'_>, native: &mut Native) {
    let url = format!("{REALTIME}.jmsConnectionProviderUrl");
    let address = original.secret(&url).unwrap_or(GivenSecret {
        value: broker::DEFAULT.to_owned(),
        place: Place::Nowhere,
        variable: None,
    });
    let username = original.text(&format!("{REALTIME}.jmsConnectionUsername"));
    let password = original.secret(&format!("{REALTIME}.jmsConnectionPassword"));
    let (address, variable) = match username {
        None => (address, variable_for(&url)),
        // These count over what stands in the address.
        Some(username) => {
            let password = password.map_or_else(String::new, |password| password.value);
            let whole = broker::with_account(&address.value, &username.value, &password);
            let given = GivenSecret {
                value: whole,
                place: address.place,
                variable: None,
            };
            (given, BROKER_VARIABLE.to_owned())
        }
    };
    native.secret("revocation.broker", address, &variable);
    if let Some(topic) = original.text(&format!("{REALTIME}.jmsConnectionTopic")) {
        native.text("revocation.topic", topic.value, &topic.place);
    }
}

/// `false`: the list is in a place that is not read here, which is told.
fn list(original: &Original<'_>, native: &mut Native) -> bool {
    if let Some(kind) = original.text(&format!("{PERSISTENT}.type"))
        && !kind.value.eq_ignore_ascii_case("default")
    {
        original.warn(
            &kind.place,
            NOT_ASKED,
            "`type = \"default\"`; `list_url` in [revocation] can be any server with such a list",
        );
        original.drop_all(PERSISTENT, NOT_ASKED);
        return false;
    }
    let older = original.text(&format!("{PERSISTENT}.hostname"));
    let endpoint = older.or_else(|| original.text(&format!("{PERSISTENT}.endpointURL")));
    let endpoint = endpoint.unwrap_or_else(|| {
        original.warn(
            &Place::Nowhere,
            format!("tokenRevocationConfig.persistent has no endpointURL: {ENDPOINT} is used"),
            "the original would take an address of etcd for it",
        );
        Placed {
            value: ENDPOINT.to_owned(),
            place: Place::Nowhere,
        }
    });
    let url = format!("{}/revokedjwt", endpoint.value.trim_end_matches('/'));
    native.text("revocation.list_url", url, &endpoint.place);
    let username = original.text(&format!("{PERSISTENT}.username"));
    let username = username.unwrap_or(Placed {
        value: ACCOUNT.to_owned(),
        place: Place::Nowhere,
    });
    native.text("revocation.username", username.value, &username.place);
    let from = format!("{PERSISTENT}.password");
    let password = original.secret(&from).unwrap_or(GivenSecret {
        value: ACCOUNT.to_owned(),
        place: Place::Nowhere,
        variable: None,
    });
    native.secret("revocation.password", password, &variable_for(&from));
    true
}
