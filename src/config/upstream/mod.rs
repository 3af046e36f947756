//! Where requests go: `[upstreams.NAME]`, and the `upstream` of a route, which names one of them or
//! says an address.

mod pool;
mod server;
mod settings;
mod tls;

use std::{collections::HashMap, time::Duration};

use super::{
    check::Context,
    problem::Place,
    section::{Section, is_name, nearest},
};
use crate::domain::{Destination, UpstreamId};

pub use settings::{
    Balance, BreakerSettings, EjectionSettings, ExpectedStatus, HashKey, HealthCheckSettings,
    Protocol, RetrySettings, ServerSettings, TimeoutSettings, UpstreamSettings,
    UpstreamTlsSettings,
};

/// All upstreams: those with a name, and those that routes give by address.
#[derive(Default)]
pub struct Upstreams {
    list: Vec<UpstreamSettings>,
    named: Vec<Named>,
    by_address: HashMap<ServerSettings, usize>,
    /// For those that do not say it themselves.
    usual_tls: UpstreamTlsSettings,
}

struct Named {
    name: String,
    place: Place,
    /// `None`: there are mistakes in it.
    position: Option<usize>,
    used: bool,
}

impl Upstreams {
    /// Reads all of `[upstreams]`.
    pub fn read(root: &mut Section<'_>, context: &Context<'_>) -> Self {
        let mut upstreams = Self {
            usual_tls: tls::usual(root, context),
            ..Self::default()
        };
        let tables = root.section("upstreams");
        for (name, mut section) in root.named(tables, "an upstream") {
            let place = section.place.clone();
            let settings = pool::read(&mut section, &name, context);
            section.finish();
            let position = settings.map(|settings| {
                upstreams
                    .list
                    .push(settings.with_usual(&upstreams.usual_tls));
                upstreams.list.len() - 1
            });
            upstreams.named.push(Named {
                name,
                place,
                position,
                used: false,
            });
        }
        upstreams
    }

    /// Reads a route's `upstream` and `sandbox_upstream`.
    pub fn of_route(&mut self, section: &mut Section<'_>) -> Option<Destination> {
        let [production, sandbox] =
            ["upstream", "sandbox_upstream"].map(|key| self.of_key(section, key));
        let is_given = ["upstream", "sandbox_upstream"].map(|key| section.was_given(key));
        if is_given == [false, false] {
            let hint = "for instance \"http://127.0.0.1:9000\", or the name of one of [upstreams]";
            section.missing("upstream", hint);
        }
        // Both of what is written, or nothing.
        let complete = production.is_some() == is_given[0] && sandbox.is_some() == is_given[1];
        Destination::new(production, sandbox).filter(|_| complete)
    }

    fn of_key(&mut self, section: &mut Section<'_>, key: &'static str) -> Option<UpstreamId> {
        let text = section.text(key)?;
        if is_name(&text.value) {
            return self.by_name(section, &text.value, &text.place);
        }
        match server::parse(&text.value) {
            Ok(server) => Some(UpstreamId(self.by_address(server))),
            Err(hint) => {
                section.error(&text.place, "this is not the address of an upstream", hint);
                None
            }
        }
    }

    /// All of them; those that nobody uses are told.
    pub fn into_list(self, root: &Section<'_>) -> Vec<UpstreamSettings> {
        for named in self.named.iter().filter(|named| !named.used) {
            let what = format!("no route uses the upstream {:?}", named.name);
            root.warn(&named.place, what, "");
        }
        self.list
    }

    fn by_name(&mut self, section: &Section<'_>, name: &str, place: &Place) -> Option<UpstreamId> {
        if let Some(named) = self.named.iter_mut().find(|named| named.name == name) {
            named.used = true;
            return named.position.map(UpstreamId);
        }
        let known: Vec<&str> = self.named.iter().map(|named| named.name.as_str()).collect();
        let hint = match nearest(name, &known) {
            Some(name) => format!("did you mean {name:?}?"),
            None => "an address begins with http:// or https://".to_owned(),
        };
        section.error(place, format!("there is no [upstreams.{name}]"), hint);
        None
    }

    fn by_address(&mut self, server: ServerSettings) -> usize {
        if let Some(known) = self.by_address.get(&server) {
            return *known;
        }
        let position = self.list.len();
        let settings = UpstreamSettings::new(server.to_string(), vec![server.clone()]);
        self.list.push(settings.with_usual(&self.usual_tls));
        self.by_address.insert(server, position);
        position
    }
}

/// A route's own limit for a whole answer.
pub fn timeout(route: &mut Section<'_>) -> Option<Duration> {
    pool::total(route, "timeout")
}
