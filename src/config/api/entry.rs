//! Tables made by hand.

use super::{Entry, Node, Place, Table, Value};

pub fn entry(key: &str, value: Value, place: &Place) -> Entry {
    Entry {
        key: key.to_owned(),
        key_place: place.clone(),
        node: Node {
            value,
            place: place.clone(),
        },
    }
}

pub fn text(key: &str, value: impl Into<String>, place: &Place) -> Entry {
    entry(key, Value::Text(value.into()), place)
}

pub fn texts<'t>(key: &str, values: impl IntoIterator<Item = &'t String>, place: &Place) -> Entry {
    entry(key, list(values, place), place)
}

pub fn list<'t>(values: impl IntoIterator<Item = &'t String>, place: &Place) -> Value {
    let node = |value: &String| Node {
        value: Value::Text(value.clone()),
        place: place.clone(),
    };
    Value::Array(values.into_iter().map(node).collect())
}

pub fn table(key: &str, entries: Vec<Entry>, place: &Place) -> Entry {
    entry(key, Value::Table(Table { entries }), place)
}
