//! Times and sizes: values with a unit.

use std::time::Duration;

use super::{Placed, Section};
use crate::config::tree::{Entry, Value};

impl Section<'_> {
    /// A time with its unit, as in `"500ms"`, `"30s"`, `"1h 30m"`.
    pub fn duration(&mut self, key: &'static str) -> Option<Placed<Duration>> {
        const HINT: &str = "write a number with its unit: \"500ms\", \"5s\", \"2m\", \"1h30m\"";
        self.measured(key, "a duration", HINT, |text| {
            humantime::parse_duration(text).ok()
        })
    }

    /// A size with its unit, as in `"64MiB"`, in bytes.
    pub fn size(&mut self, key: &'static str) -> Option<Placed<u64>> {
        const HINT: &str = "write a number with its unit: \"64KiB\", \"128MiB\", \"1GiB\"";
        self.measured(key, "a size", HINT, |text| {
            let has_unit = text.ends_with(|last: char| last.is_ascii_alphabetic());
            let size = text.parse::<bytesize::ByteSize>().ok()?;
            has_unit.then_some(size.as_u64())
        })
    }

    /// As [`Section::size`], or a word for none.
    pub fn size_or(&mut self, key: &'static str, word: &str) -> Option<Placed<Option<u64>>> {
        let is_word = |entry: &Entry| matches!(&entry.node.value, Value::Text(text) | Value::Loose(text) if text == word);
        let entry = self.take(key)?;
        if is_word(&entry) {
            return Some(Placed {
                value: None,
                place: entry.node.place,
            });
        }
        self.table.entries.push(entry);
        self.size(key).map(|size| Placed {
            value: Some(size.value),
            place: size.place,
        })
    }

    fn measured<T>(
        &mut self,
        key: &'static str,
        what: &str,
        hint: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Placed<T>> {
        let node = self.take(key)?.node;
        let parsed = match &node.value {
            Value::Text(text) | Value::Loose(text) => parse(text),
            _ => None,
        };
        if parsed.is_none() {
            self.error(&node.place, format!("`{key}` is not {what}"), hint);
        }
        parsed.map(|value| Placed {
            value,
            place: node.place,
        })
    }
}
