//! An address with a list of clients in JSON, asked for again and again. One that cannot be read changes
//! nothing.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, StatusCode, Uri, header};
use ureq::Agent;

use super::{document::Form, intake::Intake};
use crate::{
    auth::{NoReply, agent},
    config::UrlSettings,
    metrics::SourceHealth,
    subscription::Table,
};

/// For a whole answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// First pause after a failure; each is twice as long as the one before, up to the usual one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// A list of clients at an address.
pub struct Address {
    interval: Duration,
    asking: Arc<Asking>,
}

/// How the list is asked for.
struct Asking {
    agent: Agent,
    url: Uri,
    authorization: Option<HeaderValue>,
    max_bytes: u64,
    intake: Intake,
}

impl Address {
    pub fn new(
        settings: &UrlSettings,
        max_bytes: u64,
        table: &Arc<Table>,
        health: &Arc<SourceHealth>,
    ) -> Self {
        let authorization = settings.authorization.as_ref().and_then(|value| {
            let mut value = HeaderValue::from_str(value.expose()).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Self {
            interval: settings.interval,
            asking: Arc::new(Asking {
                agent: agent(&settings.tls, TIMEOUT),
                url: settings.url.clone(),
                authorization,
                max_bytes,
                intake: Intake::new(settings.url.to_string(), table, health),
            }),
        }
    }

    /// Asks at once, and then every interval.
    pub async fn follow(self) {
        let mut tag = None;
        let mut pause = FIRST_PAUSE;
        loop {
            let (asking, known) = (Arc::clone(&self.asking), tag.clone());
            let asked = tokio::task::spawn_blocking(move || asking.ask(known.as_ref())).await;
            let wait = match asked {
                Ok(Ok(new)) => {
                    (tag, pause) = (new, FIRST_PAUSE);
                    self.interval
                }
                Ok(Err(())) | Err(_) => {
                    let wait = pause.min(self.interval);
                    pause = pause.saturating_mul(2).min(self.interval);
                    wait
                }
            };
            // Many gateways must not come at the same moment for ever.
            tokio::time::sleep(wait.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
        }
    }
}

impl Asking {
    /// Gives the tag of the list that is in the table now. Blocks.
    fn ask(&self, known: Option<&HeaderValue>) -> Result<Option<HeaderValue>, ()> {
        match self.exchange(known) {
            Ok(answer) => answer.ok_or(()),
            Err(why) => {
                self.intake.failed(&why);
                Err(())
            }
        }
    }

    /// `None`: an answer came, and is no list.
    fn exchange(&self, known: Option<&HeaderValue>) -> Result<Option<Option<HeaderValue>>, String> {
        let mut request = self
            .agent
            .get(&self.url)
            .header(header::ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if let Some(known) = known {
            request = request.header(header::IF_NONE_MATCH, known);
        }
        let mut answer = request
            .call()
            .map_err(|fault| words(NoReply::from(fault)))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if known.is_some() => {
                self.intake.unchanged();
                return Ok(Some(known.cloned()));
            }
            status => return Err(format!("it answers {}", status.as_u16())),
        }
        let tag = answer.headers().get(header::ETAG).cloned();
        let body = answer.body_mut().with_config().limit(self.max_bytes);
        let body = body
            .read_to_vec()
            .map_err(|fault| words(NoReply::from(fault)))?;
        Ok(self.intake.take(&body, Form::Json).then_some(tag))
    }
}

fn words(fault: NoReply) -> String {
    match fault {
        NoReply::Timeout => "it does not answer in time".to_owned(),
        NoReply::TooLarge => "it is longer than `max_bytes`".to_owned(),
        NoReply::Unreachable(why) => format!("it cannot be reached: {why}"),
    }
}
