//! The status page: how the gateway is, for somebody who has no dashboard. Read-only, made in this process,
//! one answer without script and without anything from elsewhere.

mod events;
mod graph;
mod history;
mod html;
mod overview;
mod subscriptions;
mod tables;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::{gateway::Snapshot, lifecycle::Lifecycle, metrics::Metrics, telemetry::LastRefused};
use history::History;
pub use history::INTERVAL;
use html::Html;

const STYLE: &str = include_str!("style.css");

/// What the page is made of.
pub struct Status {
    metrics: Arc<Metrics>,
    lifecycle: Arc<Lifecycle>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    last_refused: Arc<LastRefused>,
    history: Mutex<History>,
    started: Instant,
}

impl Status {
    pub fn new(
        metrics: Arc<Metrics>,
        lifecycle: Arc<Lifecycle>,
        snapshot: Arc<ArcSwap<Snapshot>>,
        last_refused: Arc<LastRefused>,
    ) -> Self {
        Self {
            metrics,
            lifecycle,
            snapshot,
            last_refused,
            history: Mutex::default(),
            started: Instant::now(),
        }
    }

    /// Takes a sample; to be called every [`INTERVAL`].
    pub fn sample(&self) {
        let (totals, routes) = (self.metrics.totals(), self.metrics.route_requests());
        self.history.lock().push(Instant::now(), totals, routes);
    }

    /// See [`Snapshot::knows_subscriptions`].
    pub fn knows_subscriptions(&self) -> bool {
        self.snapshot.load().knows_subscriptions()
    }

    /// The page as it is now.
    pub fn page(&self) -> Vec<u8> {
        let now = SystemTime::now();
        let unix = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut html = Html::default();
        html.raw(
            "<!doctype html><html lang=en><meta charset=utf-8><title>portcullis: status</title>",
        )
        .raw("<meta name=viewport content=\"width=device-width\">")
        .raw("<meta http-equiv=refresh content=5><link rel=icon href=\"data:,\"><style>")
        .raw(STYLE)
        .raw("</style><header><h1>portcullis</h1>");
        self.state(&mut html);
        html.raw("<p>").text(env!("CARGO_PKG_VERSION"));
        html.raw(" <small>").text(env!("PORTCULLIS_REVISION"));
        html.raw("</small></p><p>up ")
            .text(tables::ago(self.started.elapsed()))
            .raw("</p>");
        self.configuration(&mut html, unix);
        html.raw("<p class=clock>")
            .text(humantime::format_rfc3339_seconds(now))
            .raw("</p></header><main>");
        let history = self.history.lock();
        overview::write(&mut html, &history, &self.metrics);
        tables::upstreams(&mut html, &self.metrics.upstream_counts());
        tables::issuers(&mut html, &self.metrics.issuer_counts(), unix);
        tables::listeners(&mut html, &self.metrics.downstream.counts());
        tables::certificates(&mut html, &self.metrics.downstream.certificates(), unix);
        let snapshot = self.snapshot.load();
        if let Some(known) = snapshot.subscriptions() {
            subscriptions::write(&mut html, known);
        }
        let revoked = self.metrics.revocation.entries.get();
        events::write(&mut html, &self.metrics.brokers(), revoked, unix);
        tables::refusals(&mut html, &self.last_refused.all(), now);
        // The last, because there may be many.
        tables::routes(&mut html, snapshot.routes(), &history, &self.metrics);
        html.raw("</main><footer><a href=/metrics>/metrics</a> <a href=/healthz>/healthz</a> ")
            .raw("<a href=/readyz>/readyz</a></footer></html>");
        html.into_bytes()
    }

    fn state(&self, html: &mut Html) {
        let stage = self.lifecycle.stage();
        let class = if stage.is_ready() { "good" } else { "warn" };
        html.raw("<p class=\"badge ")
            .text(class)
            .raw("\">")
            .text(stage.word())
            .raw("</p>");
    }

    /// Whether what the operator wrote last is what is in force.
    fn configuration(&self, html: &mut Html, now: Duration) {
        let reloads = &self.metrics.reload;
        if reloads.last_successful.get() == 0 {
            html.raw("<p class=\"badge bad\">the last configuration was refused</p>");
        }
        if let Some(time) = tables::since(reloads.succeeded_at_last(), now) {
            html.raw("<p>configuration of ")
                .text(tables::ago(time))
                .raw(" ago</p>");
        }
    }
}
