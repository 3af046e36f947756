//! Routes, upstreams, key managers, and what was refused last.

use std::time::{Duration, SystemTime};

use super::{graph::Unit, history::History, html::Html};
use crate::{
    config::NO_ROUTE,
    domain::Route,
    metrics::{IssuerCounts, ListenerCounts, Metrics, RouteCounts, Times, UpstreamCounts},
    telemetry::Refused,
};

/// Most routes that are listed: the busiest.
const MOST_ROUTES: usize = 500;

/// A time since something, in one or two units.
pub fn ago(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

fn quantile(times: &Times, quantile: f64) -> String {
    let value = times.quantile(quantile);
    value.map_or_else(|| "–".to_owned(), |value| Unit::Seconds.show(value))
}

fn percent(part: u64, whole: u64) -> String {
    #[allow(clippy::cast_precision_loss)] // exact up to 2^53
    match whole {
        0 => "–".to_owned(),
        _ => Unit::Ratio.show(part as f64 / whole as f64),
    }
}

/// Opens a section with a table of these columns; those that begin with `#` hold numbers.
pub fn open(html: &mut Html, title: &'static str, note: &str, columns: &[&'static str]) {
    html.raw("<section class=table><h2>").text(title);
    html.raw(" <small>")
        .text(note)
        .raw("</small></h2><div class=scroll><table><thead><tr>");
    for column in columns {
        match column.strip_prefix('#') {
            Some(column) => html.raw("<th class=n>").text(column),
            None => html.raw("<th>").text(column),
        };
        html.raw("</th>");
    }
    html.raw("</tr></thead><tbody>");
}

/// Closes it; a table without rows says so.
pub fn close(html: &mut Html, rows: usize, nothing: &'static str) {
    html.raw("</tbody></table></div>");
    if rows == 0 {
        html.raw("<p class=none>").text(nothing).raw("</p>");
    }
    html.raw("</section>");
}

pub fn routes(html: &mut Html, routes: &[Route], history: &History, metrics: &Metrics) {
    let mut busiest: Vec<(u64, &Route)> = routes
        .iter()
        .map(|route| (history.of_route(&route.name), route))
        .collect();
    busiest.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.name.cmp(&other.1.name)));
    let note = match busiest.len() {
        count @ 0..=MOST_ROUTES => count.to_string(),
        count => format!("the busiest {MOST_ROUTES} of {count}"),
    };
    let columns = [
        "route",
        "matches",
        "needs",
        "#in last minute",
        "#in flight",
        "#in all",
        "#4xx",
        "#5xx",
        "#p50",
        "#p99",
    ];
    open(html, "Routes", &note, &columns);
    for (recent, route) in busiest.iter().take(MOST_ROUTES) {
        if let Some(counts) = metrics.route_counts(&route.name) {
            let needs = route.access.to_string();
            row(html, &counts, *recent, &matched(route), &needs);
        }
    }
    let unmatched = metrics.route_counts(NO_ROUTE);
    if let Some(counts) = unmatched.filter(|counts| counts.requests() > 0) {
        let recent = history.of_route(NO_ROUTE);
        row(html, &counts, recent, "no route", "–");
    }
    close(
        html,
        routes.len(),
        "There are no routes: every request is answered 404.",
    );
}

fn row(html: &mut Html, counts: &RouteCounts, recent: u64, matched: &str, needed: &str) {
    let all = counts.requests();
    html.raw("<tr>").cell(&counts.name);
    html.raw("<td><code>").text(matched).raw("</code></td>");
    html.cell(needed);
    html.number(recent).number(counts.in_flight).number(all);
    html.number(percent(counts.classes[3], all));
    html.number(percent(counts.classes[4], all));
    html.number(quantile(&counts.latency, 0.5));
    html.number(quantile(&counts.latency, 0.99));
    html.raw("</tr>");
}

/// Which requests a route is for.
fn matched(route: &Route) -> String {
    let hosts: Vec<String> = route.hosts.iter().map(ToString::to_string).collect();
    let host = hosts.join(",");
    let methods = route.methods.to_string();
    // What all methods but two are is a list that nobody reads.
    match methods.matches(',').count() {
        0..=3 => format!("{methods} {host}{}", route.path),
        _ => format!("{host}{}", route.path),
    }
}

pub fn upstreams(html: &mut Html, upstreams: &[UpstreamCounts]) {
    let columns = [
        "upstream",
        "addresses",
        "#answers",
        "#5xx",
        "#failed",
        "#connections reused",
        "#p50",
        "#p99",
    ];
    open(html, "Upstreams", &upstreams.len().to_string(), &columns);
    for upstream in upstreams {
        let all = upstream.classes.iter().sum();
        let connections = upstream.connections_new + upstream.connections_reused;
        html.raw("<tr>").cell(&upstream.name).raw("<td class=path>");
        for (address, healthy) in &upstream.addresses {
            html.raw(match healthy {
                true => "<span class=pill>",
                false => "<span class=\"pill bad\">out: ",
            });
            html.text(address).raw("</span> ");
        }
        html.raw("</td>").number(all);
        html.number(percent(upstream.classes[4], all));
        html.number(upstream.errors);
        html.number(percent(upstream.connections_reused, connections));
        html.number(quantile(&upstream.latency, 0.5));
        html.number(quantile(&upstream.latency, 0.99));
        html.raw("</tr>");
    }
    close(html, upstreams.len(), "No route has an upstream.");
}

/// `now`: since 1970.
pub fn issuers(html: &mut Html, issuers: &[IssuerCounts], now: Duration) {
    let columns = [
        "key manager",
        "last good answer",
        "calls by outcome",
        "#joined calls",
        "#in flight",
        "#p50",
        "#p99",
        "own token ends",
    ];
    open(html, "Key managers", "", &columns);
    for issuer in issuers {
        html.raw("<tr>").cell(&issuer.name);
        html.cell(match since(issuer.last_success, now) {
            Some(time) => format!("{} ago", ago(time)),
            None => "never".to_owned(),
        });
        html.raw("<td>");
        for (word, count) in &issuer.outcomes {
            let good = matches!(*word, "active" | "inactive");
            html.raw(if good {
                "<span class=pill>"
            } else {
                "<span class=\"pill bad\">"
            });
            html.text(word).raw(" ").text(count).raw("</span> ");
        }
        html.raw("</td>")
            .number(issuer.coalesced)
            .number(issuer.in_flight);
        html.number(quantile(&issuer.duration, 0.5));
        html.number(quantile(&issuer.duration, 0.99));
        html.cell(until(issuer.credential_expiry, now));
        html.raw("</tr>");
    }
    close(html, issuers.len(), "No route asks for a token.");
}

pub fn listeners(html: &mut Html, listeners: &[ListenerCounts]) {
    let columns = ["listener", "#connections", "#in all"];
    open(html, "Listeners", "", &columns);
    for listener in listeners {
        html.raw("<tr>").cell(&listener.name);
        html.number(listener.open).number(listener.accepted);
        html.raw("</tr>");
    }
    close(html, listeners.len(), "Nothing listens.");
}

/// Files with the dates of their ends; nothing where there is none.
pub fn certificates(html: &mut Html, certificates: &[(String, f64)], now: Duration) {
    const SOON: Duration = Duration::from_secs(14 * 86_400);
    if certificates.is_empty() {
        return;
    }
    open(html, "Certificates", "", &["file", "ends"]);
    for (file, end) in certificates {
        let soon = *end < (now + SOON).as_secs_f64();
        html.raw("<tr>").cell(file);
        html.raw(if soon { "<td class=bad>" } else { "<td>" });
        html.text(until(*end, now)).raw("</td></tr>");
    }
    close(html, certificates.len(), "");
}

/// How long ago a date was; `None` when it is none.
pub fn since(date: f64, now: Duration) -> Option<Duration> {
    let date = Duration::try_from_secs_f64(date).ok()?;
    (!date.is_zero()).then(|| now.saturating_sub(date))
}

/// How far away a date is.
fn until(date: f64, now: Duration) -> String {
    match Duration::try_from_secs_f64(date) {
        Ok(Duration::ZERO) | Err(_) => "–".to_owned(),
        Ok(date) if date <= now => format!("{} ago", ago(now - date)),
        Ok(date) => format!("in {}", ago(date - now)),
    }
}

pub fn refusals(html: &mut Html, refused: &[Refused], now: SystemTime) {
    let columns = [
        "when", "status", "reason", "request", "route", "client", "trace",
    ];
    open(html, "Refused last", "the newest first", &columns);
    for one in refused {
        let time = now.duration_since(one.at).unwrap_or_default();
        let bad = one.status.is_server_error();
        html.raw("<tr><td>").text(format_args!("{} ago", ago(time)));
        html.raw(if bad {
            "</td><td class=bad>"
        } else {
            "</td><td>"
        });
        html.text(one.status.as_u16())
            .raw("</td>")
            .cell(one.reason.word());
        html.raw("<td class=path><code>")
            .text(one.method.word())
            .raw(" ")
            .text(&one.path);
        html.raw("</code></td>")
            .cell(one.route.as_deref().unwrap_or("–"));
        match one.client {
            Some(client) => html.cell(client),
            None => html.cell("–"),
        };
        html.raw("<td><code>")
            .text(&one.trace_id)
            .raw("</code></td></tr>");
    }
    close(html, refused.len(), "Nothing yet.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        for (seconds, shown) in [
            (5, "5 s"),
            (125, "2 min"),
            (3_720, "1 h 2 min"),
            (180_000, "2 d 2 h"),
        ] {
            assert_eq!(ago(Duration::from_secs(seconds)), shown);
        }
        let now = Duration::from_secs(1_000);
        assert_eq!(until(0.0, now), "–");
        assert_eq!(until(1_060.0, now), "in 1 min");
        assert_eq!(until(940.0, now), "1 min ago");
        assert_eq!(until(f64::NAN, now), "–");
        assert_eq!(since(0.0, now), None);
    }
}
