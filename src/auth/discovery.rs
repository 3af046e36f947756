//! Where an issuer's endpoints are: its metadata document (RFC 8414, OpenID Connect Discovery).

use http::{StatusCode, Uri};
use serde::Deserialize;

use super::control_plane::{ControlPlane, NoReply};

/// What the gateway needs of the document.
#[derive(Default)]
pub struct Metadata {
    pub introspection: Option<Uri>,
    pub token: Option<Uri>,
    /// Where its keys are.
    pub jwks: Option<Uri>,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    introspection_endpoint: Option<String>,
    token_endpoint: Option<String>,
    jwks_uri: Option<String>,
}

/// Asks the issuer, first the OpenID Connect way, then that of RFC 8414. Blocks.
///
/// # Errors
/// Why not, in words for the log.
pub fn discover(control_plane: &ControlPlane, issuer: &Uri) -> Result<Metadata, String> {
    let mut cause = String::new();
    for url in locations(issuer) {
        let url: Uri = url.parse().map_err(|_| "the issuer's address is odd")?;
        match control_plane.get(&url) {
            Ok(reply) if reply.status == StatusCode::OK => return read(&reply.body, issuer),
            Ok(reply) => cause = format!("{url} answered {}", reply.status.as_u16()),
            Err(NoReply::Timeout) => cause = format!("{url} did not answer in time"),
            Err(NoReply::TooLarge) => cause = format!("{url} answered too much"),
            Err(NoReply::Unreachable(why)) => cause = format!("{url}: {why}"),
        }
    }
    Err(cause)
}

fn locations(issuer: &Uri) -> [String; 2] {
    let text = issuer.to_string();
    let base = text.trim_end_matches('/');
    let path = issuer.path().trim_end_matches('/');
    let origin = base.strip_suffix(path).unwrap_or(base);
    [
        format!("{base}/.well-known/openid-configuration"),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
    ]
}

/// The document must be the issuer's own (RFC 8414 §3.3), and must not lead away from https.
fn read(body: &[u8], issuer: &Uri) -> Result<Metadata, String> {
    let document: Document =
        serde_json::from_slice(body).map_err(|_| "the metadata document is not one")?;
    let same = |one: &str, other: &str| one.trim_end_matches('/') == other.trim_end_matches('/');
    if !same(&document.issuer, &issuer.to_string()) {
        return Err("the metadata document belongs to another issuer".to_owned());
    }
    let endpoint = |url: &str| {
        let url: Uri = url.parse().ok()?;
        let weaker = issuer.scheme_str() == Some("https") && url.scheme_str() != Some("https");
        (url.authority().is_some() && !weaker).then_some(url)
    };
    let usable = |url: Option<String>| url.as_deref().and_then(endpoint);
    Ok(Metadata {
        introspection: usable(document.introspection_endpoint),
        token: usable(document.token_endpoint),
        jwks: usable(document.jwks_uri),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_looked_for_in_both_places() {
        let issuer: Uri = "https://id.example/realms/a".parse().unwrap();
        assert_eq!(
            locations(&issuer),
            [
                "https://id.example/realms/a/.well-known/openid-configuration",
                "https://id.example/.well-known/oauth-authorization-server/realms/a",
            ]
        );
        let issuer: Uri = "https://id.example".parse().unwrap();
        assert_eq!(
            locations(&issuer)[1],
            "https://id.example/.well-known/oauth-authorization-server"
        );
    }

    #[test]
    fn only_the_issuers_own_document_counts() {
        let issuer: Uri = "https://id.example".parse().unwrap();
        let good = r#"{"issuer":"https://id.example","introspection_endpoint":"https://id.example/i",
                       "token_endpoint":"https://id.example/t",
                       "jwks_uri":"https://id.example/k"}"#;
        let found = read(good.as_bytes(), &issuer).ok().unwrap();
        assert_eq!(found.introspection.unwrap(), "https://id.example/i");
        assert_eq!(found.jwks.unwrap(), "https://id.example/k");
        for bad in [
            "<html>".to_owned(),
            good.replace("\"https://id.example\"", "\"https://evil.example\""),
        ] {
            assert!(read(bad.as_bytes(), &issuer).is_err(), "{bad}");
        }
        for without in [
            good.replace("https://id.example/i", "http://id.example/i"),
            good.replace("introspection_endpoint", "other"),
        ] {
            let found = read(without.as_bytes(), &issuer).ok().unwrap();
            assert!(found.introspection.is_none(), "{without}");
            assert!(found.jwks.is_some());
        }
    }
}
