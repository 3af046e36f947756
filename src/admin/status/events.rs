//! Which brokers tell the gateway of what happens, and what they have told.

use std::{sync::Arc, time::Duration};

use super::{
    html::Html,
    tables::{ago, close, open, since},
};
use crate::metrics::BrokerMetrics;

/// Nothing where nobody listens. `now`: since 1970.
pub fn write(html: &mut Html, topics: &[Arc<BrokerMetrics>], revoked: i64, now: Duration) {
    if topics.is_empty() {
        return;
    }
    let note = format!("revoked tokens that would not have ended yet: {revoked}");
    let columns = [
        "topic",
        "broker",
        "last event",
        "events by type",
        "#skipped",
    ];
    open(html, "Events", &note, &columns);
    for topic in topics {
        html.raw("<tr>").cell(topic.topic());
        html.raw(match topic.connected.get() {
            0 => "<td class=bad>away</td>",
            _ => "<td>connected</td>",
        });
        html.cell(match since(topic.last_event.get(), now) {
            Some(time) => format!("{} ago", ago(time)),
            None => "never".to_owned(),
        });
        html.raw("<td>");
        for (kind, count) in topic.counts() {
            html.raw("<span class=pill>").text(kind);
            html.raw(" ").text(count).raw("</span> ");
        }
        html.raw("</td>").number(topic.all_skipped());
        html.raw("</tr>");
    }
    close(html, topics.len(), "");
}
