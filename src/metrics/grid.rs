//! Counters over fixed sets of label values, as plain numbers in one block for each row.
//!
//! A thousand routes, ten methods and thirty status codes are 300,000 counters. As objects of the
//! metrics library they would cost start-up time and memory for series that nobody ever sees; here
//! they are zeroed memory, and one add on the request path. Everything else uses the library.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use prometheus::{
    core::{Collector, Desc},
    proto,
};

/// A counter for each pair of a row and a column; rows come and go.
#[derive(Clone)]
pub struct Grid(Arc<Inner>);

struct Inner {
    desc: Desc,
    name: &'static str,
    help: &'static str,
    row_label: &'static str,
    columns: Vec<Vec<(&'static str, &'static str)>>,
    rows: Mutex<BTreeMap<String, Arc<Row>>>,
}

/// The counters of one row.
pub struct Row {
    cells: Box<[AtomicU64]>,
    /// Which cells are shown while they are zero.
    shown: Mutex<Box<[bool]>>,
}

impl Row {
    pub fn inc(&self, column: usize) {
        self.cells[column].fetch_add(1, Ordering::Relaxed);
    }

    /// `shown(column)`: whether a zero is shown there. At first all are.
    pub fn show(&self, shown: impl Fn(usize) -> bool) {
        *self.shown.lock() = (0..self.cells.len()).map(shown).collect();
    }

    pub fn get(&self, column: usize) -> u64 {
        self.cells[column].load(Ordering::Relaxed)
    }
}

impl Grid {
    /// `columns`: label names with values; all have the same names in the same order.
    pub fn new(
        name: &'static str,
        help: &'static str,
        row_label: &'static str,
        columns: Vec<Vec<(&'static str, &'static str)>>,
    ) -> prometheus::Result<Self> {
        let mut labels = vec![row_label.to_owned()];
        if let Some(first) = columns.first() {
            labels.extend(first.iter().map(|(label, _)| (*label).to_owned()));
        }
        Ok(Self(Arc::new(Inner {
            desc: Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())?,
            name,
            help,
            row_label,
            columns,
            rows: Mutex::default(),
        })))
    }

    /// A new row in the place of the old one of this name.
    pub fn row(&self, name: &str) -> Arc<Row> {
        let columns = self.0.columns.len();
        let row = Arc::new(Row {
            cells: (0..columns).map(|_| AtomicU64::new(0)).collect(),
            shown: Mutex::new(vec![true; columns].into()),
        });
        let mut rows = self.0.rows.lock();
        rows.insert(name.to_owned(), Arc::clone(&row));
        row
    }

    pub fn remove(&self, name: &str) {
        self.0.rows.lock().remove(name);
    }
}

impl Collector for Grid {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut metrics = Vec::new();
        for (name, row) in self.0.rows.lock().iter() {
            let shown = row.shown.lock();
            for (column, values) in self.0.columns.iter().enumerate() {
                let count = row.get(column);
                if count > 0 || shown[column] {
                    metrics.push(self.metric(name, values, count));
                }
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
