//! How the gateway proves itself to the key manager.

mod assertion;
mod grant;
mod keeper;
mod state_file;

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Uri};
use zeroize::Zeroizing;

pub use grant::TokenSource;
pub use keeper::{Backoff, Keeper};

use super::{Unavailable, control_plane::ControlPlane};
use crate::{
    config::{
        CredentialEncoding, CredentialSettings, GrantSettings, KeyManagerSettings, OAuth2Settings,
    },
    metrics::IssuerMetrics,
};
use assertion::Assertions;

/// The configured scheme, ready for use.
pub enum Credential {
    /// Nothing, or a client certificate without more.
    None,
    /// A header made once, marked sensitive so that nothing prints it.
    Header(HeaderValue),
    /// Form parameters made once, each begun by `&`.
    Form(Zeroizing<String>),
    Assertions(Assertions),
    /// An access token that is kept fresh in the background.
    Kept(Arc<Keeper>),
}

/// What goes into one introspection request.
#[derive(Default)]
pub struct Proof {
    pub authorization: Option<HeaderValue>,
    /// Form parameters, each begun by `&`.
    pub form: Option<Zeroizing<String>>,
    /// Which of our own tokens it carries.
    pub generation: Option<u64>,
}

impl Credential {
    /// The credential, and what keeps it fresh where something has to.
    ///
    /// # Errors
    /// Name or password cannot go into a header.
    pub fn new(
        settings: &KeyManagerSettings,
        metrics: &Arc<IssuerMetrics>,
    ) -> anyhow::Result<(Self, Option<TokenSource>)> {
        let credential = match &settings.credential {
            CredentialSettings::None | CredentialSettings::NoneNeeded => Self::None,
            CredentialSettings::Basic {
                username,
                password,
                encoding,
            } => Self::Header(basic(username, password.expose(), *encoding)?),
            CredentialSettings::SecretPost {
                client_id,
                client_secret,
            } => Self::Form(form(&[
                ("client_id", client_id),
                ("client_secret", client_secret.expose()),
            ])),
            CredentialSettings::TlsClientAuth { client_id } => {
                Self::Form(form(&[("client_id", client_id)]))
            }
            CredentialSettings::PrivateKeyJwt(settings) => {
                Self::Assertions(Assertions::new(settings))
            }
            CredentialSettings::OAuth2(oauth2) => return own_token(settings, oauth2, metrics),
        };
        Ok((credential, None))
    }

    /// What the next request carries. Takes no lock and never waits.
    ///
    /// # Errors
    /// [`Unavailable::NotReady`] while there is no token of our own.
    pub fn proof(&self, endpoint: &Uri) -> Result<Proof, Unavailable> {
        Ok(match self {
            Self::None => Proof::default(),
            Self::Header(header) => Proof {
                authorization: Some(header.clone()),
                ..Proof::default()
            },
            Self::Form(form) => Proof {
                form: Some(form.clone()),
                ..Proof::default()
            },
            Self::Assertions(assertions) => Proof {
                form: Some(assertions.form(endpoint).ok_or(Unavailable::Lost)?.into()),
                ..Proof::default()
            },
            Self::Kept(keeper) => keeper.proof().ok_or(Unavailable::NotReady)?,
        })
    }

    /// The keeper of an own token, where there is one.
    pub fn keeper(&self) -> Option<&Arc<Keeper>> {
        match self {
            Self::Kept(keeper) => Some(keeper),
            _ => None,
        }
    }
}

/// A direct token that cannot be renewed is a header like any other; everything else is kept.
fn own_token(
    key_manager: &KeyManagerSettings,
    settings: &OAuth2Settings,
    metrics: &Arc<IssuerMetrics>,
) -> anyhow::Result<(Credential, Option<TokenSource>)> {
    let source = TokenSource::new(settings, ControlPlane::new(&key_manager.tls));
    if settings.refresh.is_none()
        && let Some(direct) = source.direct()
    {
        return Ok((Credential::Header(direct.header), None));
    }
    if settings.refresh.is_none() && matches!(settings.grant, GrantSettings::Direct(_)) {
        anyhow::bail!("the direct token has characters that a header cannot carry");
    }
    let keeper = Arc::new(Keeper::new(Arc::clone(metrics)));
    Ok((Credential::Kept(keeper), Some(source)))
}

/// Who the key manager sees: part of every token key, so that another client's answers are not
/// found.
pub fn identity(settings: &CredentialSettings) -> String {
    match settings {
        CredentialSettings::None | CredentialSettings::NoneNeeded => "none".to_owned(),
        CredentialSettings::Basic { username, .. } => format!("basic:{username}"),
        CredentialSettings::SecretPost { client_id, .. }
        | CredentialSettings::TlsClientAuth { client_id } => format!("client:{client_id}"),
        CredentialSettings::PrivateKeyJwt(settings) => format!("client:{}", settings.client_id),
        CredentialSettings::OAuth2(settings) => match &settings.grant {
            GrantSettings::ClientCredentials(client) => format!("oauth2:{}", client.id),
            GrantSettings::Password {
                client, username, ..
            } => format!("oauth2:{}:{username}", client.id),
            GrantSettings::Direct(_) => "oauth2".to_owned(),
        },
    }
}

/// The Basic scheme (RFC 7617), with name and password form-encoded first where RFC 6749 §2.3.1
/// asks for it.
///
/// # Errors
/// They cannot stand in a header.
pub fn basic(
    username: &str,
    password: &str,
    encoding: CredentialEncoding,
) -> anyhow::Result<HeaderValue> {
    let encode = |text: &str| match encoding {
        CredentialEncoding::Form => form_urlencoded::byte_serialize(text.as_bytes()).collect(),
        CredentialEncoding::Raw => text.to_owned(),
    };
    let pair = Zeroizing::new(format!("{}:{}", encode(username), encode(password)));
    let value = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
    let mut header = HeaderValue::from_str(&value)?;
    header.set_sensitive(true);
    Ok(header)
}

/// Parameters, encoded, each begun by `&`.
fn form(parameters: &[(&str, &str)]) -> Zeroizing<String> {
    let mut form = Zeroizing::new(String::new());
    for (name, value) in parameters {
        form.push('&');
        append_pair(&mut form, name, value);
    }
    form
}

/// `name=value`, both encoded.
fn append_pair(form: &mut Zeroizing<String>, name: &str, value: &str) {
    form.extend(form_urlencoded::byte_serialize(name.as_bytes()));
    form.push('=');
    form.extend(form_urlencoded::byte_serialize(value.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(password: &str, encoding: CredentialEncoding) -> String {
        let header = basic("gateway", password, encoding).unwrap();
        assert!(!format!("{header:?}").contains("Basic"));
        let encoded = header.to_str().unwrap().strip_prefix("Basic ").unwrap();
        String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap()
    }

    #[test]
    fn basic_is_form_encoded_unless_told_otherwise() {
        let password = "s3cret:with/odd+chars% ü";
        assert_eq!(
            header(password, CredentialEncoding::Form),
            "gateway:s3cret%3Awith%2Fodd%2Bchars%25+%C3%BC"
        );
        assert_eq!(
            header(password, CredentialEncoding::Raw),
            format!("gateway:{password}")
        );
    }
}
