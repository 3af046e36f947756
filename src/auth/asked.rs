//! A key manager, for those who ask it: one call for a token, however many wait.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    From, Introspect, Memory, Moment, Question, Unavailable, Verified, credential, flight::Flights,
};
use crate::{
    config::KeyManagerSettings,
    domain::{AccessToken, AskedAbout, Secret, TokenDigester, TokenKey, Verdict},
    metrics::{IssuerMetrics, Metrics},
    telemetry::TraceContext,
};

/// See the module.
pub struct Asked {
    pub name: Box<str>,
    pub about: AskedAbout,
    /// What is kept where its word alone counts, and where that of issuers does, too. So what an issuer said is
    /// not found where it was not to be asked.
    pub alone: TokenDigester,
    pub beside_issuers: TokenDigester,
    client: Arc<dyn Introspect>,
    flights: Flights,
    /// How long a request waits for a call, its own or another's.
    patience: Duration,
    metrics: Arc<IssuerMetrics>,
}

impl Asked {
    pub fn new(
        settings: &KeyManagerSettings,
        client: Arc<dyn Introspect>,
        seed: &[u8; 32],
        metrics: &Metrics,
    ) -> Self {
        /// The call itself is bounded by the timeout; this is for the way there and back.
        const MARGIN: Duration = Duration::from_millis(500);
        let answers = answers(settings);
        let digester = |of: &str| {
            let parts = [of].into_iter().chain(answers.iter().map(String::as_str));
            TokenDigester::new(seed, &parts.collect::<Vec<_>>())
        };
        Self {
            name: settings.name.as_str().into(),
            about: settings.about.clone(),
            alone: digester("alone"),
            beside_issuers: digester("beside issuers"),
            client,
            flights: Flights::default(),
            patience: settings.timeout + MARGIN,
            metrics: metrics.issuer(&settings.name),
        }
    }

    /// `signed` is what the token's own signature vouches for: the key manager can then only say no.
    pub async fn ask(
        &self,
        key: TokenKey,
        token: AccessToken<'_>,
        signed: Option<Verdict>,
        trace: &TraceContext,
        memory: &Memory,
    ) -> Result<Verified, Unavailable> {
        let started = Instant::now();
        let call = || {
            let (client, memory) = (Arc::clone(&self.client), memory.clone());
            let question = Question {
                token: Secret::new(token.expose()),
                trace: trace.clone(),
            };
            async move {
                // Another call may have landed between the look into the cache and the start of
                // this one.
                if let Some(grant) = memory.find(&key) {
                    return Ok(Verdict::Active(grant));
                }
                let answer = client.introspect(&question).await?;
                let verdict = match (answer, signed) {
                    (Verdict::Active(_), Some(signed)) => signed,
                    (answer, _) => answer,
                };
                memory.keep(key, &verdict, Moment::now());
                Ok(verdict)
            }
        };
        let landed = self.flights.join(key, self.patience, call).await;
        let metrics = &self.metrics.introspection;
        metrics.wait.observe(started.elapsed().as_secs_f64());
        if landed.joined {
            metrics.coalesced.inc();
        }
        let from = match landed.joined {
            true => From::Joined,
            false => From::Fetched,
        };
        match landed.result {
            Ok(verdict) => Ok(Verified { verdict, from }),
            Err(why) => memory.revive(&key, why, Moment::now()).ok_or(why),
        }
    }
}

/// What tells the answers of this key manager, to these credentials, from all others.
fn answers(settings: &KeyManagerSettings) -> Vec<String> {
    let headers = settings.extra_headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        format!("{name}: {value}")
    });
    let said = [
        settings.endpoint.url().to_string(),
        credential::identity(&settings.credential),
        format!("{:?}", settings.extra_params),
        format!("{:?}", settings.known_as),
        format!("{:?}", settings.validate_subscriptions),
    ];
    said.into_iter().chain(headers).collect()
}
