//! `[keyManager]`: which of the schemes and grants the original would have used.

use super::{
    gateway::{server_and_context, trust_store},
    native::Native,
    original::Original,
    values::GivenSecret,
    variable_for,
};
use crate::config::{
    fold,
    problem::Place,
    tree::{Table, Value},
};

const BASIC: &str = "keymanager.security.basic";
const OAUTH2: &str = "keymanager.security.oauth2";
const DEFAULT_ACCOUNT: &str = "admin";

pub fn translate(original: &Original<'_>, native: &mut Native) {
    let (server, context) = server_and_context(original);
    if !has_own(&original.native, &["keymanager", "introspecturl"]) {
        native.text("keyManager.serverUrl", server.value, &server.place);
        native.text("keyManager.tokenContext", context.value, &context.place);
    }
    if !has_own(&original.native, &["keymanager", "tls"]) {
        trust_store(
            original,
            native,
            "keyManager.tls",
            ["trustStoreFile", "trustStorePassword"],
        );
    }
    if has_own(&original.native, &["keymanager", "security"]) {
        return;
    }
    match scheme(original) {
        Scheme::Basic => basic(original, native),
        Scheme::OAuth2 => oauth2(original, native),
        Scheme::None => original.warn(
            &place_of(original, &format!("{BASIC}.enabled")),
            "neither `basic` nor `oauth2` is enabled: the key manager is asked without credentials",
            "as the original does",
        ),
    }
}

enum Scheme {
    Basic,
    OAuth2,
    None,
}

/// The original looks at `oauth2` only where `basic` is switched off, and `basic` is on by itself.
fn scheme(original: &Original<'_>) -> Scheme {
    let oauth2 = original.is_on(&format!("{OAUTH2}.enabled"));
    let basic = original.flag(&format!("{BASIC}.enabled"));
    let says_basic = ["username", "password"].into_iter().any(|key| {
        [BASIC, "keyManager"]
            .into_iter()
            .any(|table| original.text(&format!("{table}.{key}")).is_some())
    });
    let place = place_of(original, &format!("{OAUTH2}.enabled"));
    match (basic.map(|basic| basic.value), oauth2) {
        (Some(false), true) => Scheme::OAuth2,
        (Some(false), false) => Scheme::None,
        (Some(true), true) => {
            original.warn(
                &place,
                "`basic` is enabled too, and then `oauth2` is not looked at",
                "say `enabled = false` in `basic` to use it",
            );
            Scheme::Basic
        }
        (None, true) if says_basic => {
            original.warn(
                &place,
                "there are credentials for `basic`, which is on by itself: `oauth2` is not looked at",
                "say `enabled = false` in `basic` to use it",
            );
            Scheme::Basic
        }
        (None, true) => {
            original.warn(
                &place,
                "`oauth2` is used, as is plainly meant; the original would ask as admin/admin by `basic`, \
                 which is on by itself",
                "",
            );
            Scheme::OAuth2
        }
        (_, false) => Scheme::Basic,
    }
}

/// Where one of the older keys is given, both count over the table.
fn basic(original: &Original<'_>, native: &mut Native) {
    let older = ["username", "password"]
        .into_iter()
        .any(|key| original.text(&format!("keyManager.{key}")).is_some());
    let table = if older { "keyManager" } else { BASIC };
    let username = original.text(&format!("{table}.username"));
    let (username, place) = match username {
        Some(username) => (username.value, username.place),
        None if older => (String::new(), Place::Nowhere),
        None => (DEFAULT_ACCOUNT.to_owned(), Place::Nowhere),
    };
    native.text(&format!("{BASIC}.username"), username, &place);
    let from = format!("{table}.password");
    let password = original.secret(&from).unwrap_or(GivenSecret {
        value: if older {
            String::new()
        } else {
            DEFAULT_ACCOUNT.to_owned()
        },
        place: Place::Nowhere,
        variable: None,
    });
    native.secret(&format!("{BASIC}.password"), password, &variable_for(&from));
    // As they are, which is what the key manager has been sent so far.
    native.text(
        &format!("{BASIC}.credentialEncoding"),
        "raw",
        &Place::Nowhere,
    );
}

fn oauth2(original: &Original<'_>, native: &mut Native) {
    let place = place_of(original, &format!("{OAUTH2}.enabled"));
    native.flag(&format!("{OAUTH2}.enabled"), true, &place);
    bearer(original, native);
    native.text(
        &format!("{OAUTH2}.credentialEncoding"),
        "raw",
        &Place::Nowhere,
    );
    carry(original, native, "tokenUrl");
    let refresh = original.is_on(&format!("{OAUTH2}.refresh.enabled"));
    let on = |grant: &str| original.is_on(&format!("{OAUTH2}.{grant}.enabled"));
    let order = match refresh {
        true => ["password", "directToken", "clientCredential"],
        false => ["clientCredential", "password", "directToken"],
    };
    let mut enabled = order.into_iter().filter(|grant| on(grant));
    let Some(grant) = enabled.next() else {
        // That none is there is told when it is read.
        return;
    };
    for other in enabled {
        let place = place_of(original, &format!("{OAUTH2}.{other}.enabled"));
        let what = format!("`{grant}` is enabled too, and counts before `{other}`");
        original.warn(&place, what, "say `enabled = false` here");
    }
    let grant_place = place_of(original, &format!("{OAUTH2}.{grant}.enabled"));
    native.flag(&format!("{OAUTH2}.{grant}.enabled"), true, &grant_place);
    let keys: &[&str] = match grant {
        "clientCredential" => &["clientId", "scopes"],
        "password" => &["clientId", "scopes", "username"],
        _ => &[],
    };
    let secrets: &[&str] = match grant {
        "clientCredential" => &["clientSecret"],
        "password" => &["clientSecret", "password"],
        _ => &["accessToken"],
    };
    table(original, native, grant, keys, secrets);
    if refresh && grant == "clientCredential" {
        let place = place_of(original, &format!("{OAUTH2}.refresh.enabled"));
        original.warn(
            &place,
            "`refresh` does not go with `clientCredential`: it is left out, and a new token is asked for",
            "the original asks without credentials then",
        );
    } else if refresh {
        let place = place_of(original, &format!("{OAUTH2}.refresh.enabled"));
        native.flag(&format!("{OAUTH2}.refresh.enabled"), true, &place);
        let keys = ["refreshUrl", "scopes", "clientId"];
        table(
            original,
            native,
            "refresh",
            &keys,
            &["refreshToken", "clientSecret"],
        );
    }
}

fn bearer(original: &Original<'_>, native: &mut Native) {
    let Some(word) = original.text(&format!("{OAUTH2}.credentialBearer")) else {
        return;
    };
    let known = ["AUTH_HEADER_BEARER", "POST_BODY_BEARER", "NO_BEARER"];
    let meant = known
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(&word.value));
    if meant.is_none() {
        let what = "this is not a way to send credentials: none are sent, as in the original";
        original.warn(
            &word.place,
            what,
            "AUTH_HEADER_BEARER, POST_BODY_BEARER or NO_BEARER",
        );
    }
    let path = format!("{OAUTH2}.credentialBearer");
    native.text(&path, meant.unwrap_or("NO_BEARER"), &word.place);
}

fn table(
    original: &Original<'_>,
    native: &mut Native,
    name: &str,
    keys: &[&str],
    secrets: &[&str],
) {
    for key in keys {
        carry(original, native, &format!("{name}.{key}"));
    }
    for key in secrets {
        let path = format!("{OAUTH2}.{name}.{key}");
        if let Some(secret) = original.secret(&path) {
            native.secret(&path, secret, &variable_for(&path));
        }
    }
}

fn carry(original: &Original<'_>, native: &mut Native, key: &str) {
    let path = format!("{OAUTH2}.{key}");
    if let Some(text) = original.text(&path) {
        native.text(&path, text.value, &text.place);
    }
}

fn place_of(original: &Original<'_>, path: &str) -> Place {
    original
        .find(path)
        .map_or(Place::Nowhere, |found| found.key_place.clone())
}

/// Whether the file has tables of ours for this.
pub fn has_own(table: &Table, path: &[&str]) -> bool {
    let [first, rest @ ..] = path else {
        return true;
    };
    let mut entries = table
        .entries
        .iter()
        .filter(|entry| fold(&entry.key) == *first);
    entries.any(|entry| match &entry.node.value {
        Value::Table(inner) => has_own(inner, rest),
        _ => rest.is_empty(),
    })
}
