//! Everything of a configuration that requests need, built once and replaced as a whole.
//!
//! A request keeps the snapshot that it began with, so a reload never changes the rules in the middle
//! of it.

use std::sync::Arc;

use super::{backend_jwt::BackendJwts, forward::Protected, limits::Limits, tiers::Tiers};
use crate::{
    auth::{Revocations, Verifier},
    config::LimitSettings,
    domain::{BackendJwt, ErrorFormat, KeyType, Route, RouteTable},
    limits::{Limiters, TierCounts},
    metrics::{Metrics, RouteMetrics, Zeros},
    subscription::{Sought, Subscriptions},
    upstream::Pool,
};

/// Above this a scrape would be megabytes of zeros.
const MANY_ROUTES: usize = 200;

/// One configuration, in force for the requests that hold it.
pub struct Snapshot {
    pub(super) routes: RouteTable,
    /// In the order of the routes.
    route_metrics: Vec<Arc<RouteMetrics>>,
    no_route: Arc<RouteMetrics>,
    /// In the order of [`crate::domain::UpstreamId`].
    upstreams: Vec<Arc<Pool>>,
    pub(super) protected: Protected,
    /// How callers are told that they are refused.
    pub(super) errors: ErrorFormat,
    /// Whether any route has its answers kept.
    pub(super) keeps_answers: bool,
    pub(super) limits: Limits,
    pub(super) tiers: Tiers,
    /// `None` when no route asks for a token.
    pub(super) verifier: Option<Arc<Verifier>>,
    pub(super) revocations: Arc<Revocations>,
    /// `None`: there is no source of them.
    pub(super) subscriptions: Option<Arc<Subscriptions>>,
    /// The APIs of routes, by the positions of these.
    apis: Box<[Option<Arc<Sought>>]>,
    /// `None`: upstreams get none.
    pub(super) backend_jwts: Option<Box<BackendJwts>>,
}

/// What a snapshot is made of.
pub struct Parts {
    pub routes: RouteTable,
    /// In the order of [`crate::domain::UpstreamId`].
    pub upstreams: Vec<Arc<Pool>>,
    pub verifier: Option<Arc<Verifier>>,
    pub subscriptions: Option<Arc<Subscriptions>>,
    pub errors: ErrorFormat,
    pub backend_jwt: Option<BackendJwt>,
    pub revocations: Arc<Revocations>,
    pub limits: LimitSettings,
    /// In the order of `limits.rates`.
    pub limiters: Limiters,
    /// Of all configurations.
    pub tier_counts: Arc<TierCounts>,
}

impl Snapshot {
    pub fn new(parts: Parts, metrics: &Metrics) -> Self {
        let routes = parts.routes.routes();
        let zeros = |route: &Route| match routes.len() > MANY_ROUTES {
            true => Zeros::Hidden,
            false => Zeros::Of(route.methods),
        };
        let sought = |route: &Route| {
            let api = route.api.as_ref();
            api.map(|api| Arc::new(Sought::new(Arc::clone(api))))
        };
        Self {
            route_metrics: routes
                .iter()
                .map(|route| metrics.route(&route.name, zeros(route)))
                .collect(),
            no_route: metrics.no_route(),
            upstreams: parts.upstreams,
            protected: Protected::new(routes.iter(), parts.backend_jwt.as_ref()),
            keeps_answers: routes.iter().any(|route| route.response_cache.is_some()),
            verifier: parts.verifier,
            subscriptions: parts.subscriptions,
            apis: routes.iter().map(sought).collect(),
            errors: parts.errors,
            tiers: Tiers::new(parts.limits.book.clone(), parts.tier_counts, &parts.routes),
            revocations: parts.revocations,
            backend_jwts: parts
                .backend_jwt
                .map(|settings| Box::new(BackendJwts::new(settings))),
            limits: Limits::new(parts.limits, parts.limiters, &parts.routes),
            routes: parts.routes,
        }
    }

    /// All routes, in the order of the configuration.
    pub fn routes(&self) -> &[Route] {
        self.routes.routes()
    }

    pub(super) fn route(&self, position: usize) -> &Route {
        self.routes.route(position)
    }

    /// The API of the route at `position`.
    pub(super) fn api(&self, position: usize) -> Option<&Arc<Sought>> {
        self.apis[position].as_ref()
    }

    /// `None`: no route matched.
    pub(super) fn route_metrics(&self, position: Option<usize>) -> &RouteMetrics {
        match position {
            Some(position) => &self.route_metrics[position],
            None => &self.no_route,
        }
    }

    /// Who knows about tokens.
    pub fn verifier(&self) -> Option<Arc<Verifier>> {
        self.verifier.clone()
    }

    /// Who has subscribed to what, where there is a source for that.
    pub fn subscriptions(&self) -> Option<&Arc<Subscriptions>> {
        self.subscriptions.as_ref()
    }

    /// Whether routes that ask for a subscription can be served as well as they ever will be.
    pub fn knows_subscriptions(&self) -> bool {
        let is_ready = |known: &Arc<Subscriptions>| known.table.is_ready();
        let needs = |route: &Route| {
            route.validation.is_ever_wanted() || (route.api.is_some() && self.is_split(route))
        };
        self.subscriptions.as_ref().is_none_or(is_ready) || !self.routes().iter().any(needs)
    }

    /// Whether the kind of key, which the source of subscriptions knows, decides about the upstream.
    pub(super) fn is_split(&self, route: &Route) -> bool {
        let forward = route.forward();
        self.subscriptions.is_some() && forward.is_some_and(|forward| forward.to.depends_on_key())
    }

    /// All upstreams.
    pub fn upstreams(&self) -> &[Arc<Pool>] {
        &self.upstreams
    }

    /// The upstream of the route at `position` for such a key; `None` when there is none, or the gateway
    /// answers itself.
    pub(super) fn upstream_of(&self, position: usize, key_type: KeyType) -> Option<&Arc<Pool>> {
        let forward = self.route(position).forward()?;
        Some(&self.upstreams[forward.to.of(key_type).ok()?.0])
    }
}
