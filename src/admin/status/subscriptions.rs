//! How many rows are known of subscriptions, and how old they are.

use std::time::Duration;

use super::{
    html::Html,
    tables::{ago, close, open},
};
use crate::{domain::RowKind, subscription::Subscriptions};

pub fn write(html: &mut Html, known: &Subscriptions) {
    let (table, health) = (&known.table, &known.health);
    let age = ago(Duration::from_secs_f64(health.age()));
    let note = match (table.is_ready(), health.failure()) {
        (true, None) => format!("as the source had them {age} ago"),
        (true, Some(why)) => format!("of {age} ago: the source cannot be read now ({why})"),
        (false, None) => "not loaded yet".to_owned(),
        (false, Some(why)) => format!("not loaded yet: {why}"),
    };
    open(html, "Subscriptions", &note, &["rows", "#known"]);
    for kind in RowKind::ALL {
        html.raw("<tr>")
            .cell(kind.word().replace('_', " "))
            .number(table.count(kind));
        html.raw("</tr>");
    }
    close(html, RowKind::ALL.len(), "");
}
