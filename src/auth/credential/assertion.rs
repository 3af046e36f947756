//! `private_key_jwt`: a signed statement of who we are, made anew for each request (RFC 7523 §2.2).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::Uri;

use crate::config::PrivateKeyJwtSettings;

/// Seconds that an assertion is good for. It is used at once and never again.
const LIFE: u64 = 60;

/// Makes the form parameters that prove us.
pub struct Assertions {
    settings: PrivateKeyJwtSettings,
    header: String,
}

impl Assertions {
    pub fn new(settings: &PrivateKeyJwtSettings) -> Self {
        let mut header = serde_json::json!({ "alg": settings.key.algorithm(), "typ": "JWT" });
        if let Some(key_id) = &settings.key_id {
            header["kid"] = key_id.as_str().into();
        }
        Self {
            settings: settings.clone(),
            header: encode(header.to_string().as_bytes()),
        }
    }

    /// `&client_id=…&client_assertion_type=…&client_assertion=…`; `None` when the system gives no
    /// random numbers.
    pub fn form(&self, endpoint: &Uri) -> Option<String> {
        let assertion = self.sign(endpoint)?;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("client_id", &self.settings.client_id)
            .append_pair(
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            )
            .append_pair("client_assertion", &assertion);
        Some(format!("&{}", form.finish()))
    }

    fn sign(&self, endpoint: &Uri) -> Option<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let audience = self.settings.audience.clone();
        let claims = serde_json::json!({
            "iss": self.settings.client_id,
            "sub": self.settings.client_id,
            "aud": audience.unwrap_or_else(|| endpoint.to_string()),
            "jti": random_id()?,
            "iat": now,
            "exp": now + LIFE,
        });
        let message = format!("{}.{}", self.header, encode(claims.to_string().as_bytes()));
        let signature = self.settings.key.sign(message.as_bytes())?;
        Some(format!("{message}.{}", encode(&signature)))
    }
}

/// Servers refuse an assertion whose id they have seen.
fn random_id() -> Option<String> {
    use ring::rand::SecureRandom;
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut bytes).ok()?;
    Some(encode(&bytes))
}

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
