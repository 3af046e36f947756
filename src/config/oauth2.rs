//! `[keymanager.security.oauth2]`: how the gateway gets an access token of its own, by the seed's
//! grants.

use std::{path::PathBuf, time::Duration};

use http::{Uri, uri::Scheme};

use super::{
    credential::{
        Enabled, Surroundings, encoding, finish, given, given_secret, missing_secret, scheme,
    },
    key_manager::{is_loopback, parse_url},
    problem::Place,
    secret::{self, SecretKeys, find},
    section::{Placed, Section, nearest},
    settings::{
        ClientSettings, CredentialBearer, CredentialSettings, GrantSettings, OAuth2Settings,
        RefreshSettings,
    },
};

const DEFAULT_LIFE: Duration = Duration::from_secs(300);

/// The scheme, where it is enabled.
pub fn read(security: &mut Section<'_>, around: &Surroundings<'_>) -> Option<Enabled> {
    let (mut section, enabled) = scheme(security, "oauth2", false)?;
    if !enabled {
        return None;
    }
    let bearer = bearer(&mut section);
    let encoding = encoding(&mut section);
    let token_url = url(&mut section, "tokenUrl");
    let default_life = default_life(&mut section);
    let state_file = section.text("stateFile");
    let extra_params = section.pairs("extraParams");
    let refresh = refresh(&mut section, around);
    let grant = grant(&mut section, refresh.is_some(), around);
    let refresh = refresh.and_then(|(_, settings)| settings);
    check_urls(
        &section,
        &token_url,
        grant.as_ref(),
        refresh.as_ref(),
        bearer,
        around,
    );
    if let (Some(file), None) = (&state_file, &refresh) {
        section.warn(
            &file.place,
            "`stateFile` keeps refresh tokens, and there is no `refresh`",
            "",
        );
    }
    let settings = grant.map(|grant| {
        CredentialSettings::OAuth2(Box::new(OAuth2Settings {
            token_url: token_url.flatten(),
            bearer,
            encoding,
            grant,
            refresh,
            extra_params: extra_params.into_iter().map(|pair| pair.value).collect(),
            default_life,
            state_file: state_file.map(|file| state_path(&file, around)),
        }))
    });
    finish(section, "oauth2", settings)
}

/// The one grant that is enabled; none at all is a mistake, as the original's order of precedence
/// would silently pick one of several.
fn grant(
    oauth2: &mut Section<'_>,
    refreshes: bool,
    around: &Surroundings<'_>,
) -> Option<GrantSettings> {
    let mut enabled: Vec<(&'static str, Place, Option<GrantSettings>)> = Vec::new();
    if let Some((mut section, true)) = scheme(oauth2, "clientCredential", false) {
        let settings = client(&mut section, around).map(GrantSettings::ClientCredentials);
        enabled.push(("clientCredential", section.place.clone(), settings));
        section.finish();
    }
    if let Some((mut section, true)) = scheme(oauth2, "password", false) {
        let client = client(&mut section, around);
        let username = given(&mut section, "username");
        let password = given_secret(&mut section, SecretKeys::PASSWORD, around);
        let settings = client.zip(username).zip(password);
        let settings = settings.map(|((client, username), password)| GrantSettings::Password {
            client,
            username,
            password,
        });
        enabled.push(("password", section.place.clone(), settings));
        section.finish();
    }
    if let Some((mut section, true)) = scheme(oauth2, "directToken", false) {
        let token = given_secret(&mut section, SecretKeys::ACCESS_TOKEN, around);
        enabled.push((
            "directToken",
            section.place.clone(),
            token.map(GrantSettings::Direct),
        ));
        section.finish();
    }
    match enabled.len() {
        0 => {
            oauth2.error(
                &oauth2.place.clone(),
                "no grant of oauth2 is enabled",
                "enable one of clientCredential, password and directToken",
            );
            None
        }
        1 => {
            let (name, place, settings) = enabled.remove(0);
            if refreshes && name == "clientCredential" {
                oauth2.error(
                    &place,
                    "`refresh` goes with `password` or `directToken`, not with `clientCredential`",
                    "client credentials need none: a new token is asked for with them",
                );
                return None;
            }
            settings
        }
        _ => {
            for (_, place, _) in &enabled {
                let names: Vec<&str> = enabled.iter().map(|(name, ..)| *name).collect();
                let what = format!("{} are enabled at the same time", names.join(" and "));
                oauth2.error(place, what, "say `enabled = false` in all but one");
            }
            None
        }
    }
}

/// `Some((place, None))`: it is enabled and cannot be used, which is reported.
fn refresh(
    oauth2: &mut Section<'_>,
    around: &Surroundings<'_>,
) -> Option<(Place, Option<RefreshSettings>)> {
    let (mut section, enabled) = scheme(oauth2, "refresh", false)?;
    let url = url(&mut section, "refreshUrl");
    let scope = scope(&mut section);
    let token = secret::read(&mut section, SecretKeys::REFRESH_TOKEN, around.context);
    let id = section.text("clientId").filter(|id| !id.value.is_empty());
    let secret = secret::read(&mut section, SecretKeys::CLIENT_SECRET, around.context);
    let client = match (id, secret) {
        (Some(id), Some(secret)) => Some(ClientSettings {
            id: id.value,
            secret: secret.value,
            scope: scope.clone(),
        }),
        (Some(_), None) => {
            missing_secret(&section, SecretKeys::CLIENT_SECRET);
            None
        }
        (None, _) => None,
    };
    let settings = RefreshSettings {
        url: url.flatten(),
        client,
        scope,
        token: token
            .map(|token| token.value)
            .filter(|token| !token.expose().is_empty()),
    };
    let place = section.place.clone();
    section.finish();
    enabled.then_some((place, Some(settings)))
}

fn client(section: &mut Section<'_>, around: &Surroundings<'_>) -> Option<ClientSettings> {
    // One release of the original read `client_id` by mistake: both are the same key here.
    let id = given(section, "clientId");
    let secret = given_secret(section, SecretKeys::CLIENT_SECRET, around);
    let scope = scope(section);
    Some(ClientSettings {
        id: id?,
        secret: secret?,
        scope,
    })
}

/// The original's list is separated by commas; RFC 6749 §3.3 separates by spaces. Both are taken.
fn scope(section: &mut Section<'_>) -> String {
    let text = section.text("scopes").map(|text| text.value);
    let text = text.unwrap_or_default();
    let names: Vec<&str> = text
        .split([',', ' '])
        .filter(|name| !name.is_empty())
        .collect();
    names.join(" ")
}

fn bearer(section: &mut Section<'_>) -> CredentialBearer {
    const WORDS: [(&str, CredentialBearer); 3] = [
        ("AUTH_HEADER_BEARER", CredentialBearer::AuthHeader),
        ("POST_BODY_BEARER", CredentialBearer::PostBody),
        ("NO_BEARER", CredentialBearer::None),
    ];
    let Some(Placed { value, place }) = section.text("credentialBearer") else {
        return CredentialBearer::AuthHeader;
    };
    let found = WORDS
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(&value));
    if let Some((_, bearer)) = found {
        return *bearer;
    }
    let words = WORDS.map(|(word, _)| word);
    let hint = match nearest(&value, &words) {
        Some(word) => format!("did you mean \"{word}\"?"),
        None => format!("one of {}", words.join(", ")),
    };
    section.error(&place, "this is not a way to send credentials", hint);
    CredentialBearer::AuthHeader
}

/// An address; an empty one, as the seed's snippets have it, is none. `Some(None)`: it cannot be
/// used, which is reported.
#[allow(clippy::option_option)]
fn url(section: &mut Section<'_>, key: &'static str) -> Option<Option<Uri>> {
    let text = section.text(key).filter(|text| !text.value.is_empty())?;
    let url = match parse_url(&text.value) {
        Ok(url) => url,
        Err(hint) => {
            section.error(&text.place, format!("`{key}` is not an address"), hint);
            return Some(None);
        }
    };
    if url.scheme() == Some(&Scheme::HTTP) && !is_loopback(&url) {
        section.warn(
            &text.place,
            "the gateway's credentials go there over plain http",
            "use https (RFC 6749 §3.2)",
        );
    }
    Some(Some(url))
}

/// Life of a token whose answer does not tell; within what makes sense.
fn default_life(section: &mut Section<'_>) -> Duration {
    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    let Some(Placed { value, place }) = section.duration("defaultLife") else {
        return DEFAULT_LIFE;
    };
    if !(SHORTEST..=LONGEST).contains(&value) {
        section.error(
            &place,
            "`defaultLife` is out of range",
            "between \"1s\" and \"24h\"",
        );
        return DEFAULT_LIFE;
    }
    value
}

fn check_urls(
    section: &Section<'_>,
    token_url: &Option<Option<Uri>>,
    grant: Option<&GrantSettings>,
    refresh: Option<&RefreshSettings>,
    bearer: CredentialBearer,
    around: &Surroundings<'_>,
) {
    let place = section.place.clone();
    let asks = !matches!(grant, Some(GrantSettings::Direct(_)));
    let unknown = token_url.is_none() && !around.discovers;
    if asks && unknown {
        section.error(
            &place,
            "`tokenUrl` is missing",
            "where the gateway gets its own token",
        );
    }
    let Some(refresh) = refresh.filter(|_| !asks) else {
        return;
    };
    if refresh.url.is_none() && unknown {
        section.error(
            &place,
            "`refreshUrl` is missing",
            "where the gateway renews its token",
        );
    }
    if refresh.token.is_none() {
        section.error(
            &place,
            "`refresh` with `directToken` needs a `refreshToken`",
            "a direct token brings none",
        );
    }
    if refresh.client.is_none() && bearer != CredentialBearer::None {
        section.error(
            &place,
            "`refresh` with `directToken` needs `clientId` and `clientSecret`",
            "or credentialBearer = \"NO_BEARER\"",
        );
    }
}

fn state_path(file: &Placed<String>, around: &Surroundings<'_>) -> PathBuf {
    find(&file.value, around.context)
}
