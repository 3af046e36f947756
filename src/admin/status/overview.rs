//! The figures of the last minute, and the graphs of the last ten.

use super::{
    graph::{Form, Graph, Series, Unit},
    history::{History, Tick},
    html::Html,
};
use crate::metrics::{Metrics, Times};

/// Reasons with a colour of their own.
const SHOWN_REASONS: usize = 5;
const COLOURS: [&str; SHOWN_REASONS + 1] = ["c3", "c7", "c5", "c2", "c4", "c6"];

pub fn write(html: &mut Html, history: &History, metrics: &Metrics) {
    let minute = history.last_minute();
    tiles(html, minute.as_ref(), metrics);
    html.raw("<div class=graphs>");
    requests(html, history);
    times(html, history, "Time of a request", |tick| {
        &tick.happened.latency
    });
    hit_ratio(html, history);
    times(html, history, "Key manager: time of a call", |tick| {
        &tick.happened.introspection
    });
    key_manager_calls(html, history);
    refusals(html, history);
    html.raw("</div>");
}

/// Something for each second of a tick.
fn rate(tick: &Tick, count: u64) -> Option<f64> {
    #[allow(clippy::cast_precision_loss)] // exact up to 2^53
    (tick.seconds > 0.0).then(|| count as f64 / tick.seconds)
}

fn ratio(part: u64, rest: u64) -> Option<f64> {
    #[allow(clippy::cast_precision_loss)]
    (part + rest > 0).then(|| part as f64 / (part + rest) as f64)
}

/// What there is no value for is a dash.
fn shown(value: Option<f64>, unit: Unit) -> String {
    value.map_or_else(|| "–".to_owned(), |value| unit.show(value))
}

fn tiles(html: &mut Html, minute: Option<&Tick>, metrics: &Metrics) {
    let rate_of = |count: fn(&Tick) -> u64| minute.and_then(|tick| rate(tick, count(tick)));
    let quantile = |quantile| minute.and_then(|tick| tick.happened.latency.quantile(quantile));
    let failing = rate_of(|tick| tick.happened.classes[4]);
    let hits = minute.and_then(hit_ratio_of);
    let cached =
        metrics.token_cache.active_entries.get() + metrics.token_cache.inactive_entries.get();
    html.raw("<section class=tiles aria-label=\"last minute\">");
    for (name, value, bad) in [
        (
            "requests",
            shown(rate_of(|tick| tick.happened.requests()), Unit::PerSecond),
            false,
        ),
        ("in flight", metrics.all_in_flight().to_string(), false),
        ("p50", shown(quantile(0.5), Unit::Seconds), false),
        ("p99", shown(quantile(0.99), Unit::Seconds), false),
        (
            "refused (4xx)",
            shown(rate_of(|tick| tick.happened.classes[3]), Unit::PerSecond),
            false,
        ),
        (
            "failed (5xx)",
            shown(failing, Unit::PerSecond),
            failing.is_some_and(|rate| rate > 0.0),
        ),
        ("cache hits", shown(hits, Unit::Ratio), false),
        ("cached tokens", cached.to_string(), false),
    ] {
        html.raw(if bad {
            "<div class=\"tile bad\"><b>"
        } else {
            "<div class=tile><b>"
        });
        html.text(value)
            .raw("</b><span>")
            .text(name)
            .raw("</span></div>");
    }
    html.raw("</section>");
}

fn requests(html: &mut Html, history: &History) {
    let class = |name: &str, colour, classes: fn(&[u64; 5]) -> u64| Series {
        name: name.to_owned(),
        colour,
        points: history.each(|tick| rate(tick, classes(&tick.happened.classes))),
    };
    let now = history.last_minute();
    Graph {
        title: "Requests",
        now: shown(
            now.and_then(|tick| rate(&tick, tick.happened.requests())),
            Unit::PerSecond,
        ),
        unit: Unit::PerSecond,
        form: Form::Stack,
        series: vec![
            class("2xx, 3xx", "c1", |classes| {
                classes[0] + classes[1] + classes[2]
            }),
            class("4xx", "c3", |classes| classes[3]),
            class("5xx", "c4", |classes| classes[4]),
        ],
        top: None,
    }
    .write(html);
}

/// Half of some times are shorter than the one line, 99 of 100 than the other.
fn times(html: &mut Html, history: &History, title: &'static str, of: impl Fn(&Tick) -> &Times) {
    let line = |name: &str, colour, quantile| Series {
        name: name.to_owned(),
        colour,
        points: history.each(|tick| of(tick).quantile(quantile)),
    };
    let now = history.last_minute();
    Graph {
        title,
        now: shown(now.and_then(|tick| of(&tick).quantile(0.99)), Unit::Seconds),
        unit: Unit::Seconds,
        form: Form::Lines,
        series: vec![line("p50", "c1", 0.5), line("p99", "c2", 0.99)],
        top: None,
    }
    .write(html);
}

fn hit_ratio_of(tick: &Tick) -> Option<f64> {
    ratio(tick.happened.cache_hits, tick.happened.cache_misses)
}

fn hit_ratio(html: &mut Html, history: &History) {
    let now = history.last_minute();
    Graph {
        title: "Token cache: hits",
        now: shown(now.as_ref().and_then(hit_ratio_of), Unit::Ratio),
        unit: Unit::Ratio,
        form: Form::Lines,
        series: vec![Series {
            name: "hit ratio".to_owned(),
            colour: "c1",
            points: history.each(hit_ratio_of),
        }],
        top: Some(1.0),
    }
    .write(html);
}

fn key_manager_calls(html: &mut Html, history: &History) {
    let calls = |tick: &Tick| rate(tick, tick.happened.answers + tick.happened.failures);
    Graph {
        title: "Key manager: calls",
        now: shown(
            history.last_minute().as_ref().and_then(calls),
            Unit::PerSecond,
        ),
        unit: Unit::PerSecond,
        form: Form::Stack,
        series: vec![
            Series {
                name: "answered".to_owned(),
                colour: "c1",
                points: history.each(|tick| rate(tick, tick.happened.answers)),
            },
            Series {
                name: "failed".to_owned(),
                colour: "c4",
                points: history.each(|tick| rate(tick, tick.happened.failures)),
            },
        ],
        top: None,
    }
    .write(html);
}

fn refusals(html: &mut Html, history: &History) {
    let reasons = history.refusals();
    let (shown_ones, others) = reasons.split_at(reasons.len().min(SHOWN_REASONS));
    let mut series: Vec<Series> = shown_ones
        .iter()
        .zip(COLOURS)
        .map(|((reason, _), colour)| Series {
            name: reason.word().to_owned(),
            colour,
            points: history.each(|tick| rate(tick, tick.happened.reason(*reason))),
        })
        .collect();
    let sum = |tick: &Tick, reasons: &[(crate::domain::Reason, u64)]| {
        let counts = reasons
            .iter()
            .map(|(reason, _)| tick.happened.reason(*reason));
        rate(tick, counts.sum())
    };
    if !others.is_empty() {
        series.push(Series {
            name: "others".to_owned(),
            colour: COLOURS[SHOWN_REASONS],
            points: history.each(|tick| sum(tick, others)),
        });
    }
    let now = history.last_minute();
    Graph {
        title: "Refused and failed, by reason",
        now: shown(now.and_then(|tick| sum(&tick, &reasons)), Unit::PerSecond),
        unit: Unit::PerSecond,
        form: Form::Stack,
        series,
        top: None,
    }
    .write(html);
}
