//! JSON, level by level: each value is first a piece of the text, and read only if it is wanted.

use std::{borrow::Cow, fmt, ops::Range, rc::Rc};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Entry, Fault, MAX_DEPTH, Node, Scalar, Value, Wanted, repeated, too_deep, twice};

pub fn parse<'t>(text: &'t str, wanted: Wanted<'_>) -> Result<Node<'t>, Fault> {
    let reader = Reader { text, wanted };
    let whole: &RawValue = reader.read(text)?;
    reader.node(whole, &mut Vec::new(), 0)
}

struct Reader<'t, 'w> {
    text: &'t str,
    wanted: Wanted<'w>,
}

impl<'t> Reader<'t, '_> {
    fn node(
        &self,
        raw: &'t RawValue,
        path: &mut Vec<Cow<'t, str>>,
        depth: usize,
    ) -> Result<Node<'t>, Fault> {
        let piece = raw.get();
        let at = self.place(piece);
        if !(self.wanted)(path) {
            return Ok(Node::nothing(at));
        }
        if depth > MAX_DEPTH {
            return Err(too_deep(at));
        }
        let value = match piece.as_bytes().first() {
            Some(b'{') => Value::Map(self.map(piece, path, depth)?),
            Some(b'[') => {
                let items: Vec<&RawValue> = self.read(piece)?;
                let items = items
                    .into_iter()
                    .map(|item| self.node(item, path, depth + 1).map(Rc::new));
                Value::List(items.collect::<Result<_, _>>()?)
            }
            Some(b'"') => Value::Scalar(Scalar {
                text: self.read::<Text<'_>>(piece)?.0,
                is_plain: false,
            }),
            _ => Value::Scalar(Scalar {
                text: Cow::Borrowed(piece),
                is_plain: true,
            }),
        };
        Ok(Node { value, at })
    }

    fn map(
        &self,
        piece: &'t str,
        path: &mut Vec<Cow<'t, str>>,
        depth: usize,
    ) -> Result<Vec<Entry<'t>>, Fault> {
        let Pairs(pairs) = self.read(piece)?;
        if let Some(position) = repeated(pairs.iter().map(|(key, _)| &*key.0)) {
            let (key, value) = &pairs[position];
            return Err(twice(&key.0, self.place(value.get())));
        }
        let mut entries = Vec::with_capacity(pairs.len());
        for (Text(key), raw) in pairs {
            path.push(key.clone());
            let node = self.node(raw, path, depth + 1);
            path.pop();
            let node = Rc::new(node?);
            entries.push(Entry { key, node });
        }
        Ok(entries)
    }

    /// Where `piece`, a part of the text, stands in it.
    fn place(&self, piece: &str) -> Range<usize> {
        let start = piece.as_ptr() as usize - self.text.as_ptr() as usize;
        start..start + piece.len()
    }

    fn read<T: Deserialize<'t>>(&self, piece: &'t str) -> Result<T, Fault> {
        serde_json::from_str(piece).map_err(|fault| {
            let start = self.place(piece).start;
            let at = start + offset(piece, fault.line(), fault.column());
            let what = fault.to_string();
            let what = what.split(" at line ").next().unwrap_or_default();
            Fault {
                what: format!("this is not JSON: {what}"),
                at: at..at,
            }
        })
    }
}

/// Line and column as serde_json counts them: both from one, columns in bytes.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let lines = text.split_inclusive('\n').take(line.saturating_sub(1));
    let start: usize = lines.map(str::len).sum();
    (start + column.saturating_sub(1)).min(text.len())
}

/// A string, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Text<'t>(#[serde(borrow)] Cow<'t, str>);

/// The pairs of an object, all of them, in their order.
struct Pairs<'t>(Vec<(Text<'t>, &'t RawValue)>);

impl<'t> Deserialize<'t> for Pairs<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'t> Visitor<'t> for All {
            type Value = Pairs<'t>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = access.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(All)
    }
}
