//! `portcullis_http_…` and the decisions: what is counted for each route.

use std::{sync::Arc, time::Duration};

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
    pub(super) duration: [Histogram; 5],
    overhead: Histogram,
    request_bytes: IntCounter,
    response_bytes: IntCounter,
    /// By [`Phase`].
    aborts: [IntCounter; 3],
    families: RouteFamilies,
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

    /// The handles of a route; `methods` are those whose zeros are shown, `None` all.
    pub fn route(&self, name: &str, methods: Option<Methods>) -> Arc<RouteMetrics> {
        let route = self.roster.get(name, || RouteMetrics {
            name: name.to_owned(),
            requests: self.requests.row(name),
            decisions: self.decisions.row(name),
            in_flight: self.in_flight.with_label_values(&[name]),
            duration: CLASSES.map(|class| self.duration.with_label_values(&[name, class])),
            overhead: self.overhead.with_label_values(&[name]),
            request_bytes: self.request_bytes.with_label_values(&[name]),
            response_bytes: self.response_bytes.with_label_values(&[name]),
            aborts: PHASES.map(|phase| self.aborts.with_label_values(&[name, phase])),
            families: self.clone(),
        });
        // Also where the handles were there already: the methods may be others now.
        route.requests.show(|column| {
            column % CODE_COLUMNS < SHOWN_CODES
                && methods
                    .is_none_or(|methods| methods.has(KnownMethod::ALL[column / CODE_COLUMNS]))
        });
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
        self.duration[class(code)].observe(total.as_secs_f64());
        self.overhead.observe(overhead.as_secs_f64());
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
