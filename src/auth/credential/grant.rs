//! Token requests and what comes back: one exchange with the token endpoint (RFC 6749 §4.3, §4.4,
//! §5, §6). Blocking; the keeper runs it on a thread of its own.

use std::{fmt, time::Duration};

use http::{HeaderValue, StatusCode, Uri};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    super::control_plane::{ControlPlane, NoReply},
    append_pair, basic,
    state_file::StateFile,
};
use crate::{
    config::{ClientSettings, CredentialBearer, GrantSettings, OAuth2Settings, RefreshSettings},
    domain::Secret,
    metrics::{GrantKind, RenewalResult},
};

/// No token is kept longer than this without being renewed.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// A token that was obtained.
pub struct Obtained {
    /// `Bearer …`, marked sensitive.
    pub header: HeaderValue,
    /// From the moment of the answer on.
    pub life: Duration,
}

/// Why no token was obtained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotObtained {
    pub result: RenewalResult,
    /// For the log: nothing of request or answer, except an error code of RFC 6749 §5.2.
    pub cause: String,
}

impl fmt::Display for NotObtained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

/// Where own tokens come from. Holds the refresh token that is good at the moment.
pub struct TokenSource {
    settings: OAuth2Settings,
    token_url: Option<Uri>,
    control_plane: ControlPlane,
    refresh_token: Option<Secret>,
    state: Option<StateFile>,
}

impl TokenSource {
    pub fn new(settings: &OAuth2Settings, control_plane: ControlPlane) -> Self {
        let configured = settings
            .refresh
            .as_ref()
            .and_then(|refresh| refresh.token.clone());
        let state = settings
            .state_file
            .as_ref()
            .map(|path| StateFile::new(path, settings));
        let kept = state.as_ref().and_then(StateFile::read);
        Self {
            settings: settings.clone(),
            token_url: settings.token_url.clone(),
            control_plane,
            refresh_token: kept.or(configured),
            state,
        }
    }

    /// The token that is given rather than asked for.
    pub fn direct(&self) -> Option<Obtained> {
        match &self.settings.grant {
            GrantSettings::Direct(token) => Some(Obtained {
                header: bearer(token.expose())?,
                life: self.settings.default_life,
            }),
            _ => None,
        }
    }

    /// Sets the token endpoint that discovery has found, where none is configured.
    pub fn discovered(&mut self, token_url: Option<Uri>) {
        if self.token_url.is_none() {
            self.token_url = token_url;
        }
    }

    /// Gets a token: by refreshing where that is possible, else by the first grant. Each exchange is
    /// told to `count`. Blocks.
    pub fn obtain(
        &mut self,
        mut count: impl FnMut(GrantKind, RenewalResult),
    ) -> Result<Obtained, NotObtained> {
        if let Some(refresh) = self.settings.refresh.clone()
            && let Some(token) = self.refresh_token.clone()
        {
            let result = self.refresh(&refresh, &token);
            count(GrantKind::RefreshToken, result_of(&result));
            match result {
                Err(failure) if failure.result == RenewalResult::Refused => {
                    self.forget(&token);
                    tracing::warn!(cause = %failure, "the refresh token was refused");
                }
                result => return result,
            }
        }
        let (kind, form, client) = self.first_grant()?;
        let result = self.exchange(self.token_url.clone(), &form, Some(&client));
        count(kind, result_of(&result));
        result
    }

    /// A refused refresh token is not sent again. One that was configured, and replaced since, gets
    /// another chance.
    fn forget(&mut self, refused: &Secret) {
        let configured = self
            .settings
            .refresh
            .as_ref()
            .and_then(|refresh| refresh.token.clone());
        self.refresh_token = configured.filter(|token| token != refused);
        if let Some(state) = &self.state {
            state.remove();
        }
    }

    fn refresh(
        &mut self,
        refresh: &RefreshSettings,
        token: &Secret,
    ) -> Result<Obtained, NotObtained> {
        let client = refresh.client.clone().or_else(|| self.grant_client());
        let form = form(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", token.expose()),
            ("scope", &refresh.scope),
        ]);
        let url = refresh.url.clone().or_else(|| self.token_url.clone());
        self.exchange(url, &form, client.as_ref())
    }

    fn grant_client(&self) -> Option<ClientSettings> {
        match &self.settings.grant {
            GrantSettings::ClientCredentials(client) | GrantSettings::Password { client, .. } => {
                Some(client.clone())
            }
            GrantSettings::Direct(_) => None,
        }
    }

    fn first_grant(&self) -> Result<(GrantKind, Zeroizing<String>, ClientSettings), NotObtained> {
        match &self.settings.grant {
            GrantSettings::ClientCredentials(client) => {
                let form = form(&[
                    ("grant_type", "client_credentials"),
                    ("scope", &client.scope),
                ]);
                Ok((GrantKind::ClientCredentials, form, client.clone()))
            }
            GrantSettings::Password {
                client,
                username,
                password,
            } => {
                let form = form(&[
                    ("grant_type", "password"),
                    ("username", username),
                    ("password", password.expose()),
                    ("scope", &client.scope),
                ]);
                Ok((GrantKind::Password, form, client.clone()))
            }
            GrantSettings::Direct(_) => Err(NotObtained {
                result: RenewalResult::Refused,
                cause: "the direct token is used up and cannot be renewed: configure another"
                    .to_owned(),
            }),
        }
    }

    /// One request with the client's credentials where `credentialBearer` puts them.
    fn exchange(
        &mut self,
        url: Option<Uri>,
        form: &str,
        client: Option<&ClientSettings>,
    ) -> Result<Obtained, NotObtained> {
        let url = url.ok_or_else(|| NotObtained {
            result: RenewalResult::Unreachable,
            cause: "the token endpoint is not known yet".to_owned(),
        })?;
        let mut form = Zeroizing::new(form.to_owned());
        let mut authorization = None;
        match (self.settings.bearer, client) {
            (CredentialBearer::AuthHeader, Some(client)) => {
                let header = basic(&client.id, client.secret.expose(), self.settings.encoding);
                authorization = Some(header.map_err(|_| bad_answer("id or secret"))?);
            }
            (CredentialBearer::PostBody, Some(client)) => {
                append(&mut form, "client_id", &client.id);
                append(&mut form, "client_secret", client.secret.expose());
            }
            (CredentialBearer::None, _) | (_, None) => {}
        }
        for (name, value) in &self.settings.extra_params {
            append(&mut form, name, value);
        }
        let reply = self
            .control_plane
            .post_form(&url, authorization.as_ref(), &form)
            .map_err(|fault| unreachable(&fault))?;
        let answer = read(reply.status, &reply.body)?;
        self.take(answer)
    }

    /// Keeps what the answer brought: a rotated refresh token replaces the old one before anything
    /// else can happen.
    fn take(&mut self, answer: TokenAnswer) -> Result<Obtained, NotObtained> {
        let header = bearer(&answer.access_token)
            .ok_or_else(|| bad_answer("the access token cannot go into a header"))?;
        if self.settings.refresh.is_some()
            && let Some(token) = answer.refresh_token.as_deref()
            && !token.is_empty()
        {
            let token = Secret::new(token);
            if let Some(state) = &self.state
                && self.refresh_token.as_ref() != Some(&token)
            {
                state.write(&token);
            }
            self.refresh_token = Some(token);
        }
        Ok(Obtained {
            header,
            life: life(&answer.expires_in, self.settings.default_life),
        })
    }
}

fn result_of(result: &Result<Obtained, NotObtained>) -> RenewalResult {
    match result {
        Ok(_) => RenewalResult::Ok,
        Err(failure) => failure.result,
    }
}

/// Parameters that are not empty, encoded.
fn form(parameters: &[(&str, &str)]) -> Zeroizing<String> {
    let mut form = Zeroizing::new(String::new());
    for (name, value) in parameters {
        if !value.is_empty() {
            append(&mut form, name, value);
        }
    }
    form
}

fn append(form: &mut Zeroizing<String>, name: &str, value: &str) {
    if !form.is_empty() {
        form.push('&');
    }
    append_pair(form, name, value);
}

/// RFC 6749 §5.1. Wiped when dropped.
#[derive(Deserialize, zeroize::ZeroizeOnDrop)]
struct TokenAnswer {
    access_token: String,
    token_type: Option<String>,
    #[zeroize(skip)]
    expires_in: Option<serde_json::Value>,
    refresh_token: Option<String>,
}

fn read(status: StatusCode, body: &[u8]) -> Result<TokenAnswer, NotObtained> {
    if status != StatusCode::OK {
        return Err(refused(status, body));
    }
    let answer: TokenAnswer = serde_json::from_slice(body)
        .map_err(|_| bad_answer("the answer is not one of RFC 6749 §5.1"))?;
    if answer.access_token.is_empty() {
        return Err(bad_answer("the access token is empty"));
    }
    let kind = answer.token_type.as_deref();
    if kind.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(bad_answer("the token is not a bearer token"));
    }
    Ok(answer)
}

fn refused(status: StatusCode, body: &[u8]) -> NotObtained {
    #[derive(Deserialize)]
    struct OAuthError {
        error: String,
    }
    let code = serde_json::from_slice(body)
        .ok()
        .map(|OAuthError { error }| error)
        .filter(|code| code.len() < 64 && code.bytes().all(|byte| byte.is_ascii_graphic()));
    let result = match status {
        StatusCode::TOO_MANY_REQUESTS => RenewalResult::Unreachable,
        status if status.is_client_error() => RenewalResult::Refused,
        status if status.is_server_error() => RenewalResult::Unreachable,
        _ => RenewalResult::BadAnswer,
    };
    NotObtained {
        result,
        cause: match code {
            Some(code) => format!("it answered {} {code}", status.as_u16()),
            None => format!("it answered {}", status.as_u16()),
        },
    }
}

fn unreachable(fault: &NoReply) -> NotObtained {
    let (result, cause) = match fault {
        NoReply::Timeout => (RenewalResult::Timeout, "no answer in time"),
        NoReply::TooLarge => (RenewalResult::BadAnswer, "the answer is too large"),
        NoReply::Unreachable(cause) => (RenewalResult::Unreachable, cause.as_str()),
    };
    NotObtained {
        result,
        cause: cause.to_owned(),
    }
}

fn bad_answer(cause: &str) -> NotObtained {
    NotObtained {
        result: RenewalResult::BadAnswer,
        cause: cause.to_owned(),
    }
}

/// `expires_in` in seconds. Missing, not a whole number, zero or less: the configured life; nothing
/// is believed to live for ever.
fn life(expires_in: &Option<serde_json::Value>, default: Duration) -> Duration {
    let seconds = match expires_in {
        Some(serde_json::Value::Number(number)) => number.as_u64(),
        // Some servers quote it.
        Some(serde_json::Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    match seconds {
        None | Some(0) => default,
        Some(seconds) => Duration::from_secs(seconds).min(LONGEST_LIFE),
    }
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let value = Zeroizing::new(format!("Bearer {token}"));
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let mut header = HeaderValue::from_str(&value).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_sane_whatever_is_said() {
        let default = Duration::from_secs(300);
        let said = |json: &str| life(&serde_json::from_str(json).ok(), default).as_secs();
        assert_eq!(said("3600"), 3600);
        assert_eq!(said("\"3600\""), 3600);
        for odd in ["0", "-1", "1.5", "null", "\"soon\"", "[]", "true"] {
            assert_eq!(said(odd), 300, "{odd}");
        }
        assert_eq!(said("99999999999999"), 24 * 3600);
    }

    #[test]
    fn answers_that_cannot_be_used() {
        for (status, body, result) in [
            (400, r#"{"error":"invalid_grant"}"#, RenewalResult::Refused),
            (401, "", RenewalResult::Refused),
            (500, "{}", RenewalResult::Unreachable),
            (429, "", RenewalResult::Unreachable),
            (302, "", RenewalResult::BadAnswer),
            (200, "<html>", RenewalResult::BadAnswer),
            (200, r#"{"access_token":""}"#, RenewalResult::BadAnswer),
            (200, r#"{"access_token":7}"#, RenewalResult::BadAnswer),
            (
                200,
                r#"{"access_token":"a","token_type":"mac"}"#,
                RenewalResult::BadAnswer,
            ),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let failure = read(status, body.as_bytes()).err().unwrap();
            assert_eq!(failure.result, result, "{status} {body}");
        }
        let ok = r#"{"access_token":"a","token_type":"BEARER","expires_in":5,"more":1}"#;
        assert!(read(StatusCode::OK, ok.as_bytes()).is_ok());
    }

    #[test]
    fn a_token_cannot_break_out_of_its_header() {
        assert!(bearer("a\r\nX: y").is_none());
        assert!(bearer("a b").is_none());
        assert!(!format!("{:?}", bearer("abc").unwrap()).contains("abc"));
    }
}
