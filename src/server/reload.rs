//! Taking up a changed configuration: load, check, build, swap. A bad file changes nothing.

use std::{
    fmt::Write,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{StartFailure, site::Site};
use crate::{
    config::{
        AdminSettings, Loaded, LogSettings, Problems, ProcessSettings, Settings, TracingSettings,
    },
    lifecycle::{Outcome, Requests},
    listener::Manners,
    metrics::Metrics,
};

/// Reads the configuration again, from where it came.
pub type Loader = Box<dyn Fn() -> Result<Loaded, Problems> + Send + Sync>;

/// Does reloads.
pub struct Reloads {
    /// `None`: the configuration came from nowhere that could be read again.
    loader: Option<Arc<Loader>>,
    fixed: Fixed,
    manners: Manners,
    requests: Requests,
    metrics: Arc<Metrics>,
}

/// What only a new process can change.
#[derive(PartialEq)]
struct Fixed {
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    admin: AdminSettings,
    log: LogSettings,
    tracing: TracingSettings,
    process: ProcessSettings,
    disk_path: Option<PathBuf>,
}

impl Fixed {
    fn of(settings: &Settings) -> Self {
        Self {
            http: settings.listen.http.clone(),
            https: settings.listen.https.clone(),
            admin: settings.admin.clone(),
            log: settings.log,
            tracing: settings.tracing.clone(),
            process: settings.process.clone(),
            disk_path: settings.response_cache.disk_path.clone(),
        }
    }

    /// The sections that differ.
    fn changes(&self, new: &Self) -> Vec<&'static str> {
        [
            ("`http` in [listen]", self.http != new.http),
            ("`https` in [listen]", self.https != new.https),
            ("[admin]", self.admin != new.admin),
            ("[log]", self.log != new.log),
            ("[tracing]", self.tracing != new.tracing),
            ("[process]", self.process != new.process),
            (
                "`disk_path` in [response_cache]",
                self.disk_path != new.disk_path,
            ),
        ]
        .into_iter()
        .filter_map(|(section, differs)| differs.then_some(section))
        .collect()
    }
}

impl Reloads {
    /// `settings`: those in force.
    pub fn new(
        loader: Option<Loader>,
        settings: &Settings,
        manners: Manners,
        requests: Requests,
        metrics: &Arc<Metrics>,
    ) -> Self {
        metrics.reload.succeeded_at(now());
        Self {
            loader: loader.map(Arc::new),
            fixed: Fixed::of(settings),
            manners,
            requests,
            metrics: Arc::clone(metrics),
        }
    }

    /// Serves those who ask, for ever.
    pub async fn serve(&mut self, site: &mut Site) {
        while let Some(answer) = self.requests.next().await {
            let outcome = self.reload(site).await;
            self.tell(&outcome);
            // Who asked may have gone.
            let _ = answer.send(outcome);
        }
        // Nobody can ask any more; the rest of the site goes on.
        std::future::pending().await
    }

    async fn reload(&self, site: &mut Site) -> Outcome {
        let Some(loader) = self.loader.clone() else {
            let words = "the configuration does not come from a file";
            return Outcome::Refused(words.to_owned());
        };
        // Reads files, so it may block.
        let loaded = tokio::task::spawn_blocking(move || loader()).await;
        let Loaded { settings, warnings } = match loaded {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(problems)) => {
                let name = problems.source.name.clone();
                let summary = problems.summary();
                return Outcome::Refused(format!("{problems}{name}: {summary}"));
            }
            Err(_) => return Outcome::Refused("reading the configuration failed".to_owned()),
        };
        let changes = self.fixed.changes(&Fixed::of(&settings));
        if !changes.is_empty() {
            return Outcome::NeedsUpgrade(format!(
                "{} changed, which needs an upgrade (SIGQUIT) or a restart",
                changes.join(" and ")
            ));
        }
        let routes = settings.routes.routes().len();
        let manners = Manners::new(&settings.listen, &self.metrics.downstream);
        let manners = match manners {
            Ok(manners) => manners,
            Err(fault) => return Outcome::Refused(format!("{fault:#}")),
        };
        match site.prepare(settings).await {
            Ok(next) => match site.take_up(next).await {
                Ok(()) => {
                    self.manners.take_up(&manners);
                    Outcome::TakenUp(taken_up(routes, &warnings))
                }
                Err(not_ready) => Outcome::Refused(not_ready.to_string()),
            },
            Err(failure) => Outcome::Refused(failure.to_string()),
        }
    }

    fn tell(&self, outcome: &Outcome) {
        let (words, reload) = (outcome.words(), &self.metrics.reload);
        match outcome {
            Outcome::TakenUp(_) => {
                reload.succeeded_at(now());
                reload.ok.inc();
                tracing::info!(outcome = words, "reloaded");
            }
            Outcome::NeedsUpgrade(_) => {
                reload.last_successful.set(0);
                reload.needs_upgrade.inc();
                tracing::warn!(why = words, "not reloaded: the old configuration stays");
            }
            Outcome::Refused(_) | Outcome::Busy => {
                reload.last_successful.set(0);
                reload.refused.inc();
                tracing::error!(why = words, "not reloaded: the old configuration stays");
            }
        }
    }
}

fn taken_up(routes: usize, warnings: &Problems) -> String {
    let plural = if routes == 1 { "" } else { "s" };
    let mut words = format!("{routes} route{plural} in force");
    if !warnings.list.is_empty() {
        let written = write!(words, "; {}\n{warnings}", warnings.summary());
        debug_assert!(written.is_ok());
    }
    words
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

impl std::fmt::Display for StartFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::KeyManagerUnknown(host) => write!(
                f,
                "the key manager's host {host} has no address: check `serverUrl`, and the name \
                 service"
            ),
            Self::Other(fault) => write!(f, "{fault:#}"),
        }
    }
}
