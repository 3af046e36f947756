//! How the gateway proves itself to the key manager.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::config::{CredentialEncoding, CredentialSettings};

/// What goes into the `Authorization` header of introspection requests.
pub enum Credential {
    None,
    /// A header made once, marked sensitive so that nothing prints it.
    Fixed(HeaderValue),
}

impl Credential {
    pub fn new(settings: &CredentialSettings) -> anyhow::Result<Self> {
        match settings {
            CredentialSettings::None => Ok(Self::None),
            CredentialSettings::Basic {
                username,
                password,
                encoding,
            } => Ok(Self::Fixed(basic(username, password.expose(), *encoding)?)),
        }
    }

    pub fn authorization(&self) -> Option<&HeaderValue> {
        match self {
            Self::None => None,
            Self::Fixed(header) => Some(header),
        }
    }
}

/// Who the key manager sees: part of every token key, so that another client's answers are not
/// found.
pub fn identity(settings: &CredentialSettings) -> String {
    match settings {
        CredentialSettings::None => "none".to_owned(),
        CredentialSettings::Basic { username, .. } => format!("basic:{username}"),
    }
}

/// The Basic scheme (RFC 7617), with name and password form-encoded first where RFC 6749 §2.3.1
/// asks for it.
fn basic(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;

    fn header(password: &str, encoding: CredentialEncoding) -> String {
        let credential = Credential::new(&CredentialSettings::Basic {
            username: "gateway".to_owned(),
            password: Secret::new(password),
            encoding,
        })
        .unwrap();
        let header = credential.authorization().unwrap().clone();
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
