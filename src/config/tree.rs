//! The configuration as a tree of values that know where they come from.
//!
//! A TOML file becomes a tree; environment variables then replace or add values (`env.rs`). What
//! the values mean is decided later (`check.rs`), by one reader for both sources.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::problem::{Place, Problem, Report, Severity};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    pub value: Value,
    pub place: Place,
}

#[derive(Clone, Debug)]
pub enum Value {
    Text(String),
    Integer(i64),
    Fraction(f64),
    Boolean(bool),
    /// A date: nothing in our configuration is one.
    Other(&'static str),
    Array(Vec<Node>),
    Table(Table),
    /// From an environment variable: read as whatever type is asked for.
    Loose(String),
}

impl Value {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Loose(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Fraction(_) => "a fraction",
            Self::Boolean(_) => "a boolean",
            Self::Other(kind) => kind,
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

/// Keys and values in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub key_place: Place,
    pub node: Node,
}

impl Table {
    /// Reads a TOML text whose places begin at `offset`. All syntax errors go to `report`.
    pub fn parse(text: &str, offset: usize, report: &Report) -> Self {
        let place = |range: Range<usize>| Place::Text(range.start + offset..range.end + offset);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            report.add(Problem {
                severity: Severity::Error,
                what: format!("this is not TOML: {}", error.message()),
                place: error.span().map_or(Place::Nowhere, place),
                section: String::new(),
                hint: None,
            });
        }
        Self::from_toml(table.into_inner(), &place)
    }

    fn from_toml(table: DeTable<'_>, place: &impl Fn(Range<usize>) -> Place) -> Self {
        let mut entries: Vec<Entry> = table
            .into_iter()
            .map(|(key, value)| Entry {
                key_place: place(key.span()),
                key: key.into_inner().into_owned(),
                node: Node::from_toml(value, place),
            })
            .collect();
        entries.sort_by_key(|entry| match &entry.key_place {
            Place::Text(range) => range.start,
            _ => usize::MAX,
        });
        Self { entries }
    }

    /// The first entry whose key fits, taken out.
    pub fn take(&mut self, fits: impl Fn(&str) -> bool) -> Option<Entry> {
        let position = self.entries.iter().position(|entry| fits(&entry.key))?;
        Some(self.entries.remove(position))
    }
}

impl Node {
    fn from_toml(value: Spanned<DeValue<'_>>, place_of: &impl Fn(Range<usize>) -> Place) -> Self {
        let place = place_of(value.span());
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Value::Other("an integer out of range"), Value::Integer),
            DeValue::Float(number) => number
                .as_str()
                .parse()
                .map_or(Value::Other("a fraction"), Value::Fraction),
            DeValue::Boolean(boolean) => Value::Boolean(boolean),
            DeValue::Datetime(_) => Value::Other("a date"),
            DeValue::Array(list) => Value::Array(
                list.into_iter()
                    .map(|item| Self::from_toml(item, place_of))
                    .collect(),
            ),
            DeValue::Table(table) => Value::Table(Table::from_toml(table, place_of)),
        };
        Self { value, place }
    }
}
