//! `portcullis_http_…` and the decisions: what is counted for each route.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::StatusCode;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{
    CLASSES, class,
    grid::{Grid, Row},
    maker::{DURATION_BUCKETS, Maker, OVERHEAD_BUCKETS},
    roster::Roster,
};
use crate::domain::{KnownMethod, Methods, Reason};

/// Status codes with a label of their own; the first ten, which the gateway itself answers with,
/// or any upstream may, are shown from the start.
pub(super) const CODES: [(u16, &str); 29] = [
    (200, "200"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (500, "500"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
    (101, "101"),
    (201, "201"),
    (202, "202"),
    (204, "204"),
    (206, "206"),
    (301, "301"),
    (302, "302"),
    (303, "303"),
    (304, "304"),
    (307, "307"),
    (308, "308"),
    (409, "409"),
    (410, "410"),
    (412, "412"),
    (413, "413"),
    (415, "415"),
    (422, "422"),
    (429, "429"),
    (499, "499"),
];
pub(super) const SHOWN_CODES: usize = 10;
const OTHER_CODE: &str = "_OTHER";
const CODE_COLUMNS: usize = CODES.len() + 1;

/// The handles of one route; its series go with them.
pub struct RouteMetrics {
    pub(super) name: String,
    requests: Arc<Row>,
    decisions: Arc<Row>,
    pub in_flight: IntGauge,
    /// By code class, 1xx to 5xx.
    duration: [OnceLock<Histogram>; 5],
    overhead: OnceLock<Histogram>,
    request_bytes: IntCounter,
    response_bytes: IntCounter,
    /// By [`Phase`].
    aborts: [IntCounter; 3],
    families: RouteFamilies,
}

/// Which series of a route are shown while they are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zeros {
    All,
    /// Those of these methods.
    Of(Methods),
    /// None: with very many routes a scrape would be all zeros.
    Hidden,
}

impl Zeros {
    fn has(self, method: KnownMethod) -> bool {
        match self {
            Self::All => true,
            Self::Of(methods) => methods.has(method),
            Self::Hidden => false,
        }
    }
}

/// How far a request had come when its client went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before an upstream was chosen.
    Auth,
    /// Before its answer began.
    Upstream,
    /// In the middle of the answer.
    Body,
}

const PHASES: [&str; 3] = ["auth", "upstream", "body"];

/// The metrics that have a `route` label.
#[derive(Clone)]
pub struct RouteFamilies {
    requests: Grid,
    decisions: Grid,
    in_flight: IntGaugeVec,
    duration: HistogramVec,
    overhead: HistogramVec,
    request_bytes: IntCounterVec,
    response_bytes: IntCounterVec,
    aborts: IntCounterVec,
    roster: Roster<RouteMetrics>,
}

impl RouteFamilies {
    pub fn new(maker: &Maker) -> prometheus::Result<Self> {
        Ok(Self {
            requests: maker.register(requests()?)?,
            decisions: maker.register(decisions()?)?,
            in_flight: maker.gauges(
                "portcullis_http_requests_in_flight",
                "Requests that are being served.",
                &["route"],
            )?,
            duration: maker.histograms(
                "portcullis_http_request_duration_seconds",
                "From the request's header to the last byte of the answer.",
                &["route", "code_class"],
                &DURATION_BUCKETS,
            )?,
            overhead: maker.histograms(
                "portcullis_overhead_duration_seconds",
                "Time that the gateway itself took: without upstream, key manager and client.",
                &["route"],
                &OVERHEAD_BUCKETS,
            )?,
            request_bytes: maker.counters(
                "portcullis_http_request_body_bytes_total",
                "Bytes of requests' bodies that clients sent.",
                &["route"],
            )?,
            response_bytes: maker.counters(
                "portcullis_http_response_body_bytes_total",
                "Bytes of answers' bodies that clients were sent.",
                &["route"],
            )?,
            aborts: maker.counters(
                "portcullis_client_aborts_total",
                "Clients that went away before their answer was complete.",
                &["route", "phase"],
            )?,
            roster: Roster::default(),
        })
    }

    /// The handles of a route, and which of its series are there before they count.
    pub fn route(&self, name: &str, zeros: Zeros) -> Arc<RouteMetrics> {
        let route = self.roster.get(name, || RouteMetrics {
            name: name.to_owned(),
            requests: self.requests.row(name),
            decisions: self.decisions.row(name),
            in_flight: self.in_flight.with_label_values(&[name]),
            duration: Default::default(),
            overhead: OnceLock::new(),
            request_bytes: self.request_bytes.with_label_values(&[name]),
            response_bytes: self.response_bytes.with_label_values(&[name]),
            aborts: PHASES.map(|phase| self.aborts.with_label_values(&[name, phase])),
            families: self.clone(),
        });
        // Also where the handles were there already: the methods may be others now.
        route.requests.show(|column| {
            column % CODE_COLUMNS < SHOWN_CODES
                && zeros.has(KnownMethod::ALL[column / CODE_COLUMNS])
        });
        route.decisions.show(|_| zeros != Zeros::Hidden);
        if zeros != Zeros::Hidden {
            for class in 0..CLASSES.len() {
                route.duration(class);
            }
            route.overhead();
        }
        route
    }

    pub fn find(&self, name: &str) -> Option<Arc<RouteMetrics>> {
        self.roster.find(name)
    }

    pub fn all(&self) -> Vec<Arc<RouteMetrics>> {
        self.roster.all()
    }
}

impl Drop for RouteMetrics {
    fn drop(&mut self) {
        let families = &self.families;
        families.roster.clear(&self.name, || {
            families.requests.remove(&self.name);
            families.decisions.remove(&self.name);
            // What is not there need not be removed.
            let _ = families.in_flight.remove_label_values(&[&self.name]);
            let _ = families.overhead.remove_label_values(&[&self.name]);
            let _ = families.request_bytes.remove_label_values(&[&self.name]);
            let _ = families.response_bytes.remove_label_values(&[&self.name]);
            for phase in PHASES {
                let _ = families.aborts.remove_label_values(&[&self.name, phase]);
            }
            for class in CLASSES {
                let _ = families.duration.remove_label_values(&[&self.name, class]);
            }
        });
    }
}

impl RouteMetrics {
    /// Counts a finished request.
    pub fn count(&self, method: KnownMethod, code: StatusCode, why: Reason) {
        let code = code.as_u16();
        let column = CODES
            .iter()
            .position(|(known, _)| *known == code)
            .unwrap_or(CODES.len());
        self.requests.inc(method as usize * CODE_COLUMNS + column);
        self.decisions.inc(why.index());
    }

    /// Times of a finished request: all of it, and what the gateway itself took.
    pub fn observe(&self, code: StatusCode, total: Duration, overhead: Duration) {
        self.duration(class(code)).observe(total.as_secs_f64());
        self.overhead().observe(overhead.as_secs_f64());
    }

    /// The times that have been observed, by code class.
    pub(super) fn durations(&self) -> [Option<&Histogram>; 5] {
        self.duration.each_ref().map(OnceLock::get)
    }

    fn duration(&self, class: usize) -> &Histogram {
        let labels = [self.name.as_str(), CLASSES[class]];
        self.duration[class].get_or_init(|| self.families.duration.with_label_values(&labels))
    }

    fn overhead(&self) -> &Histogram {
        let labels = [self.name.as_str()];
        self.overhead
            .get_or_init(|| self.families.overhead.with_label_values(&labels))
    }

    /// Bytes of the bodies of a finished request, there and back.
    pub fn carried(&self, request: usize, response: usize) {
        // Most requests have no body: one look is cheaper than one more shared counter.
        if request > 0 {
            self.request_bytes.inc_by(request as u64);
        }
        if response > 0 {
            self.response_bytes.inc_by(response as u64);
        }
    }

    /// The client went away.
    pub fn aborted(&self, phase: Phase) {
        self.aborts[phase as usize].inc();
    }

    /// Requests counted for a reason.
    pub fn decided(&self, why: Reason) -> u64 {
        self.decisions.get(why.index())
    }
}

fn requests() -> prometheus::Result<Grid> {
    let columns = KnownMethod::ALL
        .iter()
        .flat_map(|method| {
            let codes = CODES.iter().map(|(_, word)| *word).chain([OTHER_CODE]);
            codes.map(|code| vec![("method", method.word()), ("code", code)])
        })
        .collect();
    Grid::new(
        "portcullis_http_requests_total",
        "Finished requests by route, method and status code.",
        "route",
        columns,
    )
}

fn decisions() -> prometheus::Result<Grid> {
    let columns = Reason::ALL
        .iter()
        .map(|reason| {
            vec![
                ("decision", reason.decision().word()),
                ("reason", reason.word()),
            ]
        })
        .collect();
    Grid::new(
        "portcullis_auth_decisions_total",
        "Finished requests by what was decided, and why.",
        "route",
        columns,
    )
}
