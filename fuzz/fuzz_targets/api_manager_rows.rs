//! Lists of an API Manager. The first byte says of which kind, and how much of the rest is read at once.

#![no_main]

use std::{
    io::{self, Read},
    sync::{Arc, LazyLock},
};

use libfuzzer_sys::fuzz_target;
use portcullis::{
    domain::{Millis, Row, RowKind},
    feed::api_manager::{Sink, read},
    metrics::RowFault,
    subscription::{Names, Table},
};

/// Names are never forgotten.
static NAMES: LazyLock<Arc<Names>> = LazyLock::new(Arc::default);

/// Gives its text in pieces of one length.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.1.min(into.len()).min(self.0.len());
        into[..length].copy_from_slice(&self.0[..length]);
        self.0 = &self.0[length..];
        Ok(length)
    }
}

#[derive(Debug, Default, PartialEq)]
struct Rows(Vec<Result<Row, RowFault>>);

impl Sink for Rows {
    fn begin(&mut self, _: Millis) -> bool {
        true
    }

    fn put(&mut self, row: Row) {
        self.0.push(Ok(row));
    }

    fn skip(&mut self, fault: RowFault) {
        self.0.push(Err(fault));
    }
}

fn rows(kind: RowKind, text: &[u8], piece: usize) -> (bool, Rows) {
    let mut rows = Rows::default();
    let whole = read(kind, Pieces(text, piece), &mut rows).is_ok();
    (whole, rows)
}

fuzz_target!(|data: &[u8]| {
    let Some((first, text)) = data.split_first() else {
        return;
    };
    let kind = RowKind::ALL[usize::from(*first) % RowKind::ALL.len()];
    let (whole, all) = rows(kind, text, usize::MAX);
    // How the text comes changes nothing.
    assert_eq!(rows(kind, text, usize::from(*first / 6) + 1), (whole, Rows(all.0.clone())));
    let table = Table::new(Arc::clone(&NAMES));
    let good = all.0.into_iter().flatten();
    if let Some(mut load) = table.begin(kind, 1) {
        good.inspect(|row| assert_eq!(row.kind(), kind)).for_each(|row| load.put(row));
        load.finish();
    }
});
