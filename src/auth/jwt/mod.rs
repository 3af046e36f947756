//! Tokens that need not be asked about: JWTs of issuers that the configuration names.
//!
//! What no issuer of ours is said to have made is left to the key manager, like any opaque token. What
//! one is said to have made is judged here; by the key manager too only where the issuer's table says so.

mod keys;

use std::sync::Arc;

pub use keys::Keys;
use keys::{Found, KeyUpkeep};
use tokio::sync::watch;

use super::Unavailable;
use crate::{
    config::JwtIssuerSettings,
    domain::{AccessToken, Grant, Jwt, JwtAlgorithm, JwtFault, VouchedBy},
    metrics::{JwtMetrics, JwtResult, Metrics},
};

/// Whose JWTs are judged here.
#[derive(Clone, Default)]
pub struct Issuers(Box<[Arc<Issuer>]>);

/// One issuer, with its keys.
pub struct Issuer {
    settings: JwtIssuerSettings,
    keys: Keys,
    metrics: Arc<JwtMetrics>,
}

/// The work in the background that an issuer needs.
pub struct IssuerUpkeep {
    issuer: Arc<Issuer>,
    keys: KeyUpkeep,
}

/// Why a JWT is not taken for what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotVerified {
    /// The token is no good.
    Fault(JwtFault),
    /// The issuer's keys have not been had yet.
    NoKeys,
}

impl From<JwtFault> for NotVerified {
    fn from(fault: JwtFault) -> Self {
        Self::Fault(fault)
    }
}

impl Issuers {
    pub fn new(issuers: Vec<Arc<Issuer>>) -> Self {
        Self(issuers.into())
    }

    /// The token as a JWT, with the issuer that is said to have made it; `None` for every other one.
    /// Without issuers nothing is even decoded.
    pub fn recognise<'a>(&self, token: AccessToken<'a>) -> Option<(&Arc<Issuer>, Jwt<'a>)> {
        if self.0.is_empty() {
            return None;
        }
        let jwt = Jwt::parse(token)?;
        let issuer = self
            .0
            .iter()
            .find(|issuer| issuer.settings.issuer == jwt.issuer())?;
        Some((issuer, jwt))
    }
}

impl Issuer {
    /// The issuer, and the work in the background that it needs; none for keys that never change.
    pub fn new(
        settings: &JwtIssuerSettings,
        metrics: &Metrics,
    ) -> (Arc<Self>, Option<IssuerUpkeep>) {
        let metrics = metrics.jwt_issuer(&settings.issuer);
        let (keys, upkeep) = Keys::new(settings, &metrics);
        let issuer = Arc::new(Self {
            settings: settings.clone(),
            keys,
            metrics,
        });
        let upkeep = upkeep.map(|keys| IssuerUpkeep {
            issuer: Arc::clone(&issuer),
            keys,
        });
        (issuer, upkeep)
    }

    pub fn settings(&self) -> &JwtIssuerSettings {
        &self.settings
    }

    /// Whether its keys have been had.
    pub fn is_ready(&self) -> bool {
        self.keys.is_ready()
    }

    /// The configuration in force does not have it any more: what it vouched for goes.
    pub fn retire(&self) {
        self.keys.withdraw_all();
    }

    /// What the token says, if it is the issuer's.
    ///
    /// # Errors
    /// Why it is not, or why that cannot be told; nothing that was decoded is to be believed then.
    pub async fn verify(&self, jwt: Jwt<'_>) -> Result<Grant, NotVerified> {
        let result = self.judge(jwt).await;
        self.metrics.verified(counted(&result));
        result
    }

    async fn judge(&self, jwt: Jwt<'_>) -> Result<Grant, NotVerified> {
        let expected = &self.settings.expected;
        let algorithm = jwt.algorithm(expected)?;
        let key = self.key_of(&jwt, algorithm).await?;
        Ok(jwt.into_grant(expected, key)?)
    }

    /// The key that the token is signed with. One that is not known may be new: then the keys are
    /// asked for once more.
    async fn key_of(
        &self,
        jwt: &Jwt<'_>,
        algorithm: JwtAlgorithm,
    ) -> Result<Arc<VouchedBy>, NotVerified> {
        let found = match self.keys.find(jwt, algorithm) {
            Found::Unknown(seen) if self.keys.renewed(seen).await => self.keys.find(jwt, algorithm),
            found => found,
        };
        match found {
            Found::Key(key) => Ok(key),
            Found::BadSignature => Err(JwtFault::BadSignature.into()),
            Found::Unfit => Err(JwtFault::Algorithm.into()),
            // Without a name of the key, all of them have been tried.
            Found::Unknown(_) if jwt.key_id().is_none() => Err(JwtFault::BadSignature.into()),
            Found::Unknown(_) => Err(JwtFault::UnknownKey.into()),
            Found::NoKeys => Err(NotVerified::NoKeys),
        }
    }
}

impl IssuerUpkeep {
    /// Works until `shutdown` says true.
    pub async fn run(self, shutdown: watch::Receiver<bool>) {
        self.issuer.keys.keep(self.keys, shutdown).await;
    }
}

impl From<NotVerified> for super::NoVerdict {
    fn from(why: NotVerified) -> Self {
        match why {
            NotVerified::Fault(fault) => Self::Untrusted(fault),
            NotVerified::NoKeys => Self::Unavailable(Unavailable::NoKeys),
        }
    }
}

fn counted(result: &Result<Grant, NotVerified>) -> JwtResult {
    match result {
        Ok(_) => JwtResult::Ok,
        Err(NotVerified::NoKeys) => JwtResult::NoKeys,
        Err(NotVerified::Fault(fault)) => match fault {
            JwtFault::Malformed | JwtFault::UnknownIssuer => JwtResult::Malformed,
            JwtFault::Algorithm => JwtResult::Algorithm,
            JwtFault::UnknownKey => JwtResult::UnknownKey,
            JwtFault::BadSignature => JwtResult::BadSignature,
            JwtFault::NotAnAccessToken => JwtResult::NotAnAccessToken,
            JwtFault::Audience => JwtResult::Audience,
        },
    }
}
