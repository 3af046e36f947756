//! A JWT in the compact form (RFC 7515 §7.1): three parts, of which the first says how the last one
//! proves the second.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{JwtAlgorithm, JwtFault, VerifyingKey};
use crate::domain::{
    AccessToken, Grant, VouchedBy,
    members::{self, Members},
};

/// Members that only an id token (OpenID Connect Core §2) or a logout token (Back-Channel Logout
/// §2.4) has.
const NOT_OF_ACCESS_TOKENS: [&str; 5] = ["nonce", "at_hash", "c_hash", "s_hash", "events"];
/// What some servers say in a claim `typ` of tokens that are for themselves or for the client.
const OTHER_KINDS: [&str; 5] = ["id", "refresh", "offline", "logout", "serialized-id"];

/// A token that says of itself who issued it, and how that can be proved. Nothing of it is to be
/// believed yet.
pub struct Jwt<'a> {
    algorithm: String,
    key_id: Option<String>,
    /// The media type `typ`, in lower case and without `application/`.
    kind: Option<String>,
    /// `crit` names what must be understood; nothing is (RFC 7515 §4.1.11).
    critical: bool,
    issuer: String,
    claims: Members,
    /// What is signed.
    message: &'a str,
    signature: &'a str,
}

/// What an issuer's access tokens have to be beside being signed. Empty lists ask for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    pub algorithms: Box<[JwtAlgorithm]>,
    /// Values of `typ`, in lower case and without `application/`. A token without `typ` passes for a
    /// `jwt`.
    pub kinds: Box<[Box<str>]>,
    /// `aud` must have one of these.
    pub audience: Box<[Box<str>]>,
    /// The claim that names the client; by default `client_id`, else `azp`.
    pub client_id_claim: Option<Box<str>>,
}

impl<'a> Jwt<'a> {
    /// A token that cannot be read as a JWT with an issuer is none, however many dots it has: then
    /// it is opaque.
    pub fn parse(token: AccessToken<'a>) -> Option<Self> {
        let token = token.expose();
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        if payload.contains('.') {
            return None;
        }
        let header = object(header)?;
        let Some(Value::String(algorithm)) = members::get(&header, "alg") else {
            return None;
        };
        let algorithm = algorithm.clone();
        let key_id = optional_text(&header, "kid")?;
        let kind = optional_text(&header, "typ")?.map(|kind| media_type(&kind));
        let critical = header.iter().any(|(name, _)| name == "crit");
        let claims = object(payload)?;
        let Some(Value::String(issuer)) = members::get(&claims, "iss") else {
            return None;
        };
        let issuer = issuer.clone();
        Some(Self {
            algorithm,
            key_id,
            kind,
            critical,
            issuer,
            claims,
            message,
            signature,
        })
    }

    /// Who is said to have issued it.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `kid`: which of the issuer's keys it is said to be signed with.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The algorithm, if it is one of those.
    ///
    /// # Errors
    /// It is not, or the header asks for something that nobody here understands.
    pub fn algorithm(&self, expected: &Expected) -> Result<JwtAlgorithm, JwtFault> {
        if self.critical {
            return Err(JwtFault::Malformed);
        }
        JwtAlgorithm::parse(&self.algorithm)
            .filter(|algorithm| expected.algorithms.contains(algorithm))
            .ok_or(JwtFault::Algorithm)
    }

    /// Whether the signature is one of `key`.
    pub fn is_signed_by(&self, key: &VerifyingKey, algorithm: JwtAlgorithm) -> bool {
        // The decoder takes one spelling only: no padding, no stray bits.
        BASE64_URL_SAFE_NO_PAD
            .decode(self.signature)
            .is_ok_and(|signature| key.verify(algorithm, self.message.as_bytes(), &signature))
    }

    /// What it says, once it is proved. Times are left to the policy of the route, which looks at
    /// them for each request.
    ///
    /// # Errors
    /// It is not an access token, has no end, or is for somebody else.
    pub fn into_grant(
        mut self,
        expected: &Expected,
        vouched_by: Arc<VouchedBy>,
    ) -> Result<Grant, JwtFault> {
        self.check_kind(expected)?;
        if members::get(&self.claims, "exp").is_none() {
            return Err(JwtFault::Malformed);
        }
        self.name_client(expected);
        self.name_scope();
        let grant = Grant::new(&self.claims, vouched_by).map_err(|_| JwtFault::Malformed)?;
        let audience = &expected.audience;
        let meant = |name: &str| audience.iter().any(|wanted| **wanted == *name);
        if !audience.is_empty() && !grant.audience().any(meant) {
            return Err(JwtFault::Audience);
        }
        Ok(grant)
    }

    fn check_kind(&self, expected: &Expected) -> Result<(), JwtFault> {
        let kind = self.kind.as_deref().unwrap_or("jwt");
        let other = matches!(members::get(&self.claims, "typ"), Some(Value::String(kind))
            if OTHER_KINDS.contains(&kind.to_ascii_lowercase().as_str()));
        let has = |name: &&str| members::get(&self.claims, name).is_some();
        let alien = other || NOT_OF_ACCESS_TOKENS.iter().any(has);
        match expected.kinds.iter().any(|wanted| **wanted == *kind) && !alien {
            true => Ok(()),
            false => Err(JwtFault::NotAnAccessToken),
        }
    }

    /// Servers name the client in different claims; from here on it is in `client_id`, as in an
    /// introspection answer.
    fn name_client(&mut self, expected: &Expected) {
        let named = match &expected.client_id_claim {
            Some(claim) => self.first_text(claim),
            None => ["client_id", "azp"]
                .iter()
                .find_map(|claim| self.first_text(claim)),
        };
        self.claims.retain(|(name, _)| name != "client_id");
        if let Some(client) = named {
            self.claims.push(("client_id".to_owned(), client.into()));
        }
    }

    /// `scp` is what some servers call `scope`.
    fn name_scope(&mut self) {
        if members::get(&self.claims, "scope").is_some() {
            return;
        }
        if let Some(scope) = members::get(&self.claims, "scp").cloned() {
            self.claims.retain(|(name, _)| name != "scope");
            self.claims.push(("scope".to_owned(), scope));
        }
    }

    /// A string, or the first of an array of them: `aud` may be either.
    fn first_text(&self, claim: &str) -> Option<String> {
        let value = members::get(&self.claims, claim)?;
        let first = value
            .as_array()
            .map_or(value, |list| list.first().unwrap_or(value));
        first.as_str().map(str::to_owned)
    }
}

fn object(part: &str) -> Option<Members> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
    members::read(&json).ok()
}

/// `None`: it is there, and is no string.
#[allow(clippy::option_option)]
fn optional_text(header: &Members, name: &str) -> Option<Option<String>> {
    match members::get(header, name) {
        None => Some(None),
        Some(Value::String(text)) => Some(Some(text.clone())),
        Some(_) => None,
    }
}

/// Media types have no case, and `application/` may be left out (RFC 7515 §4.1.9).
fn media_type(kind: &str) -> String {
    let kind = kind.to_ascii_lowercase();
    match kind.strip_prefix("application/") {
        Some(short) => short.to_owned(),
        None => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{expected, parse, unsigned},
        *,
    };

    /// What is made of claims once they are believed.
    fn grant_of(header: &str, claims: &str, expected: &Expected) -> Result<Grant, JwtFault> {
        let token = unsigned(header, claims);
        let jwt = parse(&token).unwrap_or_else(|| panic!("{claims}"));
        jwt.into_grant(expected, Arc::default())
    }

    fn kind_of(header: &str, claims: &str) -> Result<(), JwtFault> {
        grant_of(header, claims, &expected()).map(drop)
    }

    #[test]
    fn other_tokens_of_the_issuer_are_no_access_tokens() {
        const PLAIN: &str = r#"{"alg":"ES256"}"#;
        const CLAIMS: &str = r#"{"iss":"joe","exp":1}"#;
        for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"] {
            assert_eq!(
                kind_of(&format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#), CLAIMS),
                Ok(())
            );
        }
        for typ in [
            "logout+jwt",
            "secevent+jwt",
            "dpop+jwt",
            "token-introspection+jwt",
            "",
            "x",
        ] {
            let header = format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#);
            assert_eq!(
                kind_of(&header, CLAIMS),
                Err(JwtFault::NotAnAccessToken),
                "{typ}"
            );
        }
        for claim in [
            r#""nonce":"x""#,
            r#""at_hash":"x""#,
            r#""typ":"ID""#,
            r#""typ":"Refresh""#,
            r#""events":{"http://schemas.openid.net/event/backchannel-logout":{}}"#,
        ] {
            let claims = format!(r#"{{"iss":"joe","exp":1,{claim}}}"#);
            assert_eq!(
                kind_of(PLAIN, &claims),
                Err(JwtFault::NotAnAccessToken),
                "{claim}"
            );
        }
        let keycloak = r#"{"iss":"joe","exp":1,"typ":"Bearer"}"#;
        assert_eq!(kind_of(PLAIN, keycloak), Ok(()));
        let strict = Expected {
            kinds: ["at+jwt"].map(Box::from).into(),
            ..expected()
        };
        let fault = grant_of(PLAIN, CLAIMS, &strict).unwrap_err();
        assert_eq!(fault, JwtFault::NotAnAccessToken);
    }

    #[test]
    fn claims_of_odd_kinds() {
        const PLAIN: &str = r#"{"alg":"ES256"}"#;
        for claims in [
            r#"{"iss":"joe"}"#,
            r#"{"iss":"joe","exp":null}"#,
            r#"{"iss":"joe","exp":"4102444800"}"#,
            r#"{"iss":"joe","exp":1e300}"#,
            r#"{"iss":"joe","exp":1,"nbf":"x"}"#,
            r#"{"iss":"joe","exp":1,"aud":7}"#,
            r#"{"iss":"joe","exp":1,"scope":7}"#,
        ] {
            assert_eq!(kind_of(PLAIN, claims), Err(JwtFault::Malformed), "{claims}");
        }
        let huge = r#"{"iss":"joe","exp":99999999999999999999}"#;
        assert!(grant_of(PLAIN, huge, &expected()).is_err());
        let huge = r#"{"iss":"joe","exp":18446744073709551615}"#;
        let grant = grant_of(PLAIN, huge, &expected()).unwrap();
        assert_eq!(grant.expires_at(), Some(i64::MAX));
    }

    #[test]
    fn audiences_are_strings_or_lists() {
        let wanted = Expected {
            audience: ["orders", "all"].map(Box::from).into(),
            ..expected()
        };
        for (audience, good) in [
            (r#""aud":"orders","#, true),
            (r#""aud":["x","all"],"#, true),
            (r#""aud":"order","#, false),
            (r#""aud":"orders all","#, false),
            (r#""aud":[],"#, false),
            ("", false),
        ] {
            let claims = format!(r#"{{"iss":"joe",{audience}"exp":1}}"#);
            let result = grant_of(r#"{"alg":"ES256"}"#, &claims, &wanted).map(drop);
            let fault = Err(JwtFault::Audience);
            assert_eq!(result, if good { Ok(()) } else { fault }, "{audience}");
        }
    }

    #[test]
    fn scopes_and_clients_are_where_an_introspection_has_them() {
        let of = |claims: &str, claim: Option<&str>| {
            let expected = Expected {
                client_id_claim: claim.map(Box::from),
                ..expected()
            };
            let claims = format!(r#"{{"iss":"joe","exp":1,{claims}}}"#);
            let grant = grant_of(r#"{"alg":"ES256"}"#, &claims, &expected).unwrap();
            let client = grant.claims().text("client_id").map(str::to_owned);
            (grant.scope().to_owned(), client)
        };
        let shop = || Some("shop".to_owned());
        assert_eq!(
            of(r#""scope":"a b","azp":"shop""#, None),
            ("a b".to_owned(), shop())
        );
        assert_eq!(
            of(r#""scp":["a","b"],"client_id":"shop","azp":"x""#, None),
            ("a b".to_owned(), shop())
        );
        assert_eq!(
            of(
                r#""scp":"a","client_id":"x","aud":["shop","y"]"#,
                Some("aud")
            ),
            ("a".to_owned(), shop())
        );
        // The claim that was meant is not there: nobody else's name stands in for it.
        assert_eq!(of(r#""client_id":"x""#, Some("cid")), (String::new(), None));
    }
}
