//! What an upstream is told of the caller in a form that it can verify: a JWT of the gateway's own, with the
//! claims of WSO2 API Microgateway's `X-JWT-Assertion` (`jwtGeneratorConfig`).

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::{ApiIdentity, Grant, KeyType, SigningKey, Subscriber, UnixSeconds};

/// Claims of the caller's token that are the gateway's to say.
const OURS: [&str; 12] = [
    "active",
    "application",
    "aud",
    "exp",
    "iat",
    "iss",
    "jti",
    "keytype",
    "nbf",
    "sub",
    "subscribedAPIs",
    "tierInfo",
];

/// `[backend_jwt]`: how such JWTs are made.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendJwt {
    /// Where it goes. What a caller sends under this name goes nowhere.
    pub header: HeaderName,
    pub issuer: Box<str>,
    pub audience: Box<[Box<str>]>,
    /// What the names of the gateway's claims begin with.
    pub dialect: Box<str>,
    /// How long one is good, though never longer than the token.
    pub life: Duration,
    /// Claims of the token that are not passed on.
    pub restricted: Box<[Box<str>]>,
    pub key: SigningKey,
    /// `kid` of the header.
    pub key_id: Option<Box<str>>,
}

/// Whom it is about.
#[derive(Clone, Copy)]
pub struct About<'a> {
    pub grant: &'a Grant,
    pub subscriber: Option<&'a Subscriber>,
    pub api: Option<&'a ApiIdentity>,
}

impl BackendJwt {
    /// When one that is made at `now` ends.
    pub fn end(&self, grant: &Grant, now: UnixSeconds) -> UnixSeconds {
        let life = UnixSeconds::try_from(self.life.as_secs()).unwrap_or(UnixSeconds::MAX);
        let end = now.saturating_add(life);
        // A token that is let through in spite of its end, for the clocks' sake, is good for a moment.
        let of_token = grant.expires_at().unwrap_or(UnixSeconds::MAX);
        end.min(of_token).max(now.saturating_add(1))
    }

    /// One for the header; `None` when it cannot be signed. `id` is its `jti`.
    pub fn make(
        &self,
        about: About<'_>,
        id: &str,
        now: UnixSeconds,
        end: UnixSeconds,
    ) -> Option<HeaderValue> {
        let mut header = json!({ "typ": "JWT", "alg": self.key.algorithm() });
        if let Some(key_id) = &self.key_id {
            header["kid"] = json!(key_id);
        }
        let claims = Value::Object(self.claims(about, id, now, end));
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(message.as_bytes())?;
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
        let mut value = HeaderValue::from_str(&format!("{message}.{signature}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn claims(
        &self,
        about: About<'_>,
        id: &str,
        now: UnixSeconds,
        end: UnixSeconds,
    ) -> Map<String, Value> {
        let mut claims = Map::new();
        for (name, value) in about.grant.claims().values() {
            let kept_back = OURS.contains(&name)
                || self.restricted.iter().any(|other| **other == *name)
                // Only the gateway speaks in its own dialect.
                || name.starts_with(&*self.dialect);
            if !kept_back {
                claims.insert(name.to_owned(), value);
            }
        }
        claims.insert("iss".to_owned(), json!(self.issuer));
        claims.insert("jti".to_owned(), json!(id));
        claims.insert("iat".to_owned(), json!(now));
        claims.insert("exp".to_owned(), json!(end));
        match &*self.audience {
            [] => {}
            [one] => drop(claims.insert("aud".to_owned(), json!(one))),
            many => drop(claims.insert("aud".to_owned(), json!(many))),
        }
        self.say(&mut claims, about);
        claims
    }

    /// What the gateway knows beside the token.
    fn say(&self, claims: &mut Map<String, Value>, about: About<'_>) {
        let mut say = |name: &str, value: &str| {
            if !value.is_empty() {
                claims.insert(format!("{}/{name}", self.dialect), json!(value));
            }
        };
        let user = user(about.grant);
        if let Some(user) = &user {
            say("enduser", user);
        }
        if let Some(application) = about
            .subscriber
            .and_then(|known| known.application.as_ref())
        {
            say("applicationid", &application.id.to_string());
            say(
                "applicationUUId",
                application.uuid.as_deref().unwrap_or_default(),
            );
            say("applicationname", &application.name);
            say("applicationtier", &application.policy);
            say("subscriber", &application.owner);
        }
        if let Some(api) = about.api {
            say("apiname", &api.name);
            say("version", &api.version);
            say("apicontext", api.context.as_deref().unwrap_or_default());
        }
        if let Some(subscribed) = about
            .subscriber
            .and_then(|known| known.subscription.as_ref())
        {
            say("tier", subscribed.policy);
        }
        let key_type = about
            .subscriber
            .map_or(KeyType::default(), |known| known.key_type);
        say("keytype", key_type.word());
        say("usertype", "Application_user");
        if let Some(user) = user {
            claims.insert("sub".to_owned(), json!(user));
        }
    }
}

/// Who uses the client; where nobody does, the client itself.
fn user(grant: &Grant) -> Option<String> {
    ["username", "sub", "client_id"].iter().find_map(|name| {
        let mut values = grant.claims().values();
        let (_, value) = values.find(|(other, _)| other == name)?;
        Some(value.as_str()?.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ring::{rand::SystemRandom, signature::Ed25519KeyPair};

    use super::*;
    use crate::domain::{Application, Verdict};

    fn backend_jwt() -> BackendJwt {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        BackendJwt {
            header: HeaderName::from_static("x-jwt-assertion"),
            issuer: "gateway".into(),
            audience: ["orders"].map(Box::from).into(),
            dialect: "http://wso2.org/claims".into(),
            life: Duration::from_secs(900),
            restricted: ["email"].map(Box::from).into(),
            key: SigningKey::from_pkcs8(pkcs8.as_ref()).unwrap(),
            key_id: Some("one".into()),
        }
    }

    fn grant(json: &str) -> Arc<Grant> {
        match Verdict::parse(json.as_bytes(), &Arc::default()) {
            Ok(Verdict::Active(grant)) => grant,
            other => panic!("{other:?}"),
        }
    }

    fn claims(json: &str, subscriber: Option<&Subscriber>) -> Value {
        let (jwt, grant) = (backend_jwt(), grant(json));
        let api = ApiIdentity {
            name: "Orders".into(),
            version: "v1".into(),
            context: Some("/orders".into()),
        };
        let about = About {
            grant: &grant,
            subscriber,
            api: Some(&api),
        };
        let token = jwt
            .make(about, "id", 1_000, jwt.end(&grant, 1_000))
            .unwrap();
        let payload = token.to_str().unwrap().split('.').nth(1).unwrap();
        let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap();
        serde_json::from_slice(&payload).unwrap()
    }

    #[test]
    fn it_says_what_the_token_says_in_the_types_of_the_token() {
        let claims = claims(
            r#"{"active":true,"username":"Jörg 100%","sub":"x","client_id":"123","scope":"a b","email":"j@x",
                "roles":["a","b"],"level":7,"exp":5000,"iss":"https://id","jti":"theirs","aud":["me"],
                "keytype":"SANDBOX","http://wso2.org/claims/subscriber":"somebody","text":"[1]"}"#,
            None,
        );
        let expected = json!({
            "iss": "gateway", "aud": "orders", "jti": "id", "iat": 1_000, "exp": 1_900, "sub": "Jörg 100%",
            "username": "Jörg 100%", "client_id": "123", "scope": "a b", "roles": ["a", "b"], "level": 7,
            "text": "[1]",
            "http://wso2.org/claims/enduser": "Jörg 100%",
            "http://wso2.org/claims/apiname": "Orders",
            "http://wso2.org/claims/version": "v1",
            "http://wso2.org/claims/apicontext": "/orders",
            "http://wso2.org/claims/keytype": "PRODUCTION",
            "http://wso2.org/claims/usertype": "Application_user",
        });
        assert_eq!(claims, expected);
    }

    #[test]
    fn it_says_whose_application_it_is() {
        let subscriber = Subscriber {
            key_type: KeyType::Sandbox,
            application: Some(Arc::new(Application {
                id: 7,
                uuid: None,
                name: "Shop".into(),
                owner: Arc::from("ann"),
                policy: Arc::from("Gold"),
            })),
            subscription: None,
        };
        let claims = claims(r#"{"active":true,"client_id":"shop"}"#, Some(&subscriber));
        for (name, value) in [
            ("applicationid", "7"),
            ("applicationname", "Shop"),
            ("applicationtier", "Gold"),
            ("subscriber", "ann"),
            ("keytype", "SANDBOX"),
            ("enduser", "shop"),
        ] {
            assert_eq!(claims[format!("http://wso2.org/claims/{name}")], value);
        }
        assert_eq!(
            claims["http://wso2.org/claims/applicationUUId"],
            Value::Null
        );
    }

    #[test]
    fn it_ends_with_the_token() {
        let jwt = backend_jwt();
        for (exp, end) in [("1060", 1_060), ("999999", 1_900), ("990", 1_001)] {
            let grant = grant(&format!(r#"{{"active":true,"exp":{exp}}}"#));
            assert_eq!(jwt.end(&grant, 1_000), end);
        }
    }
}
