//! Counters over a fixed set of label values, as plain numbers in one block.
//!
//! A thousand routes, ten methods and thirty status codes are 300,000 counters. As objects of the
//! metrics library they would cost start-up time and memory for series that nobody ever sees; here
//! they are zeroed memory, and one add on the request path. Everything else uses the library.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::{
    core::{Collector, Desc},
    proto,
};

/// A counter for each pair of a row and a column.
#[derive(Clone)]
pub struct Grid(std::sync::Arc<Inner>);

struct Inner {
    desc: Desc,
    name: &'static str,
    help: &'static str,
    row_label: &'static str,
    rows: Vec<String>,
    columns: Vec<Vec<(&'static str, &'static str)>>,
    cells: Box<[AtomicU64]>,
    /// Whether a cell is shown while it is zero: `shown(row, column)`.
    shown: Box<dyn Fn(usize, usize) -> bool + Send + Sync>,
}

impl Grid {
    /// `columns`: label names with values; all have the same names in the same order.
    pub fn new(
        name: &'static str,
        help: &'static str,
        row_label: &'static str,
        rows: Vec<String>,
        columns: Vec<Vec<(&'static str, &'static str)>>,
        shown: impl Fn(usize, usize) -> bool + Send + Sync + 'static,
    ) -> prometheus::Result<Self> {
        let mut labels = vec![row_label.to_owned()];
        if let Some(first) = columns.first() {
            labels.extend(first.iter().map(|(label, _)| (*label).to_owned()));
        }
        let cells = (0..rows.len() * columns.len())
            .map(|_| AtomicU64::new(0))
            .collect();
        Ok(Self(std::sync::Arc::new(Inner {
            desc: Desc::new(
                name.to_owned(),
                help.to_owned(),
                labels,
                std::collections::HashMap::new(),
            )?,
            name,
            help,
            row_label,
            rows,
            columns,
            cells,
            shown: Box::new(shown),
        })))
    }

    pub fn inc(&self, row: usize, column: usize) {
        self.cell(row, column).fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self, row: usize, column: usize) -> u64 {
        self.cell(row, column).load(Ordering::Relaxed)
    }

    fn cell(&self, row: usize, column: usize) -> &AtomicU64 {
        &self.0.cells[row * self.0.columns.len() + column]
    }
}

impl Collector for Grid {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut metrics = Vec::new();
        for (row, row_value) in self.0.rows.iter().enumerate() {
            for (column, values) in self.0.columns.iter().enumerate() {
                let count = self.get(row, column);
                if count == 0 && !(self.0.shown)(row, column) {
                    continue;
                }
                metrics.push(self.metric(row_value, values, count));
            }
        }
        let mut family = proto::MetricFamily::default();
        family.set_name(self.0.name.to_owned());
        family.set_help(self.0.help.to_owned());
        family.set_field_type(proto::MetricType::COUNTER);
        family.set_metric(metrics);
        vec![family]
    }
}

impl Grid {
    fn metric(&self, row: &str, values: &[(&str, &str)], count: u64) -> proto::Metric {
        let mut labels = vec![label(self.0.row_label, row)];
        labels.extend(values.iter().map(|(name, value)| label(name, value)));
        // The text format wants them sorted, as the library's own metrics have them.
        labels.sort_by(|one, other| one.name().cmp(other.name()));
        let mut counter = proto::Counter::default();
        // Exact up to 2^53, as every number of the format is.
        #[allow(clippy::cast_precision_loss)]
        counter.set_value(count as f64);
        let mut metric = proto::Metric::default();
        metric.set_label(labels);
        metric.set_counter(counter);
        metric
    }
}

fn label(name: &str, value: &str) -> proto::LabelPair {
    let mut pair = proto::LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}
