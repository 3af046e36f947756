//! What goes on in the background for a key manager: finding its endpoints, keeping our token.

use std::sync::{Arc, OnceLock};

use http::{HeaderValue, Uri};
use tokio::sync::watch;

use super::{
    control_plane::ControlPlane,
    credential::{Backoff, Keeper, TokenSource},
    discovery::discover,
    jwt::Issuer,
};

/// Where to ask.
pub struct Endpoint {
    pub url: Uri,
    pub host: HeaderValue,
}

impl Endpoint {
    pub fn new(url: Uri) -> anyhow::Result<Self> {
        let host = HeaderValue::from_str(url.authority().map_or("", |host| host.as_str()))?;
        Ok(Self { url, host })
    }
}

/// Whether tokens can be judged: the endpoints of all key managers are known, we have had a token of our own
/// where one wants it, and the keys of all issuers of JWTs have been had.
#[derive(Clone, Default)]
pub struct Readiness {
    key_managers: Box<[KeyManagerReadiness]>,
    issuers: Box<[Arc<Issuer>]>,
}

impl Readiness {
    pub fn new(key_managers: Vec<KeyManagerReadiness>, issuers: Vec<Arc<Issuer>>) -> Self {
        Self {
            key_managers: key_managers.into(),
            issuers: issuers.into(),
        }
    }

    pub fn is_ready(&self) -> bool {
        self.key_managers.iter().all(KeyManagerReadiness::is_ready)
            && self.issuers.iter().all(|issuer| issuer.is_ready())
    }
}

/// The key manager's part of it.
#[derive(Clone)]
pub struct KeyManagerReadiness {
    endpoint: Arc<OnceLock<Endpoint>>,
    keeper: Option<Arc<Keeper>>,
}

impl KeyManagerReadiness {
    pub fn new(endpoint: Arc<OnceLock<Endpoint>>, keeper: Option<Arc<Keeper>>) -> Self {
        Self { endpoint, keeper }
    }

    /// Whether the token endpoint said no to our last attempt.
    pub fn is_refused(&self) -> bool {
        self.keeper
            .as_ref()
            .is_some_and(|keeper| keeper.is_refused())
    }

    pub fn is_ready(&self) -> bool {
        let has_token = self.keeper.as_ref().is_none_or(|keeper| keeper.is_ready());
        has_token && self.endpoint.get().is_some()
    }
}

/// The work in the background that a key manager needs: finding its endpoints, keeping our token.
pub struct Upkeep {
    issuer: Option<Uri>,
    endpoint: Arc<OnceLock<Endpoint>>,
    control_plane: ControlPlane,
    tokens: Option<(Arc<Keeper>, TokenSource)>,
}

impl Upkeep {
    pub fn new(
        issuer: Option<Uri>,
        endpoint: Arc<OnceLock<Endpoint>>,
        control_plane: ControlPlane,
        tokens: Option<(Arc<Keeper>, TokenSource)>,
    ) -> Self {
        Self {
            issuer,
            endpoint,
            control_plane,
            tokens,
        }
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.issuer.is_none() && self.tokens.is_none()
    }

    /// Works until `shutdown` says true.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let mut token_url = None;
        if let Some(issuer) = self.issuer.take() {
            tokio::select! {
                _ = shutdown.wait_for(|over| *over) => return,
                found = self.find(issuer) => token_url = found,
            }
        }
        if let Some((keeper, mut source)) = self.tokens.take() {
            source.discovered(token_url);
            keeper.run(source, shutdown).await;
        }
    }

    /// Finds the endpoints, however long it takes; returns the token endpoint.
    async fn find(&self, issuer: Uri) -> Option<Uri> {
        let mut backoff = Backoff::default();
        loop {
            let (control_plane, asked) = (self.control_plane.clone(), issuer.clone());
            let work = move || discover(&control_plane, &asked);
            let cause = match tokio::task::spawn_blocking(work).await {
                Ok(Ok(metadata)) => match endpoint(metadata.introspection) {
                    Ok(endpoint) => {
                        tracing::info!(url = %endpoint.url, "found the introspection endpoint");
                        // Nobody else sets it.
                        let _ = self.endpoint.set(endpoint);
                        return metadata.token;
                    }
                    Err(fault) => fault.to_string(),
                },
                Ok(Err(cause)) => cause,
                Err(fault) => fault.to_string(),
            };
            let pause = backoff.pause();
            tracing::warn!(%cause, again_in = ?pause, "the issuer's endpoints are not known yet");
            tokio::time::sleep(pause).await;
        }
    }
}

fn endpoint(introspection: Option<Uri>) -> anyhow::Result<Endpoint> {
    let why = "the issuer's metadata name no introspection endpoint that can be used";
    Endpoint::new(introspection.ok_or_else(|| anyhow::anyhow!(why))?)
}
