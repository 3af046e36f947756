//! YAML from the parser's events. An alias is the same node once more, not a copy.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    ops::Range,
    rc::Rc,
};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::{
    Entry, Fault, MAX_DEPTH, MAX_REPEATED, Node, Scalar, Value, Wanted, repeated, too_deep, twice,
};

pub fn parse<'t>(text: &'t str, wanted: Wanted<'_>) -> Result<Node<'t>, Fault> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        places: Places::new(text),
        wanted,
        path: Vec::new(),
        anchors: HashMap::new(),
        repeated: 0,
    };
    loop {
        match reader.next()? {
            (Event::StreamEnd, at) => return Ok(Node::nothing(at)),
            (Event::DocumentStart(_), _) => break,
            _ => {}
        }
    }
    let event = reader.next()?;
    let Sized { node, .. } = reader.node(event, 0)?;
    reader.expect_end()?;
    // Nobody else has it but the anchors, which are gone.
    drop(reader);
    Rc::try_unwrap(node).map_err(|node| Fault {
        what: "this stands within itself".to_owned(),
        at: node.at.clone(),
    })
}

struct Reader<'t, 'w> {
    parser: Parser<'t, StrInput<'t>>,
    places: Places<'t>,
    wanted: Wanted<'w>,
    path: Vec<Cow<'t, str>>,
    /// Complete nodes by the number of their anchor. One that is not complete is not here, so nothing can stand within itself.
    anchors: HashMap<usize, Sized<'t>>,
    /// Values that aliases have stood for so far.
    repeated: usize,
}

/// A node with the number of values in it, those of aliases included.
#[derive(Clone)]
struct Sized<'t> {
    node: Rc<Node<'t>>,
    size: usize,
}

type Spotted<'t> = (Event<'t>, Range<usize>);

impl<'t> Reader<'t, '_> {
    fn next(&mut self) -> Result<Spotted<'t>, Fault> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, self.places.range(&span))),
            Some(Err(fault)) => Err(self.not_yaml(&fault)),
            None => Ok((Event::StreamEnd, 0..0)),
        }
    }

    fn not_yaml(&mut self, fault: &ScanError) -> Fault {
        let at = self.places.byte(fault.marker().index());
        Fault {
            what: format!("this is not YAML: {}", fault.info()),
            at: at..at,
        }
    }

    /// A text may have several documents; one is all that anybody means here.
    fn expect_end(&mut self) -> Result<(), Fault> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentStart(_), at) => {
                    return Err(Fault {
                        what: "a second document begins here".to_owned(),
                        at,
                    });
                }
                _ => {}
            }
        }
    }

    /// The node that begins with `event`.
    fn node(&mut self, (event, at): Spotted<'t>, depth: usize) -> Result<Sized<'t>, Fault> {
        if depth > MAX_DEPTH {
            return Err(too_deep(at));
        }
        let is_wanted = (self.wanted)(&self.path);
        let (anchor, value, size) = match event {
            Event::Alias(anchor) => return self.alias(anchor, at),
            Event::Scalar(text, style, anchor, tag) => {
                // `!!str 1` is a text; what other tags make of a value nobody here asks.
                let is_text = tag.is_some_and(|tag| tag.suffix == "str");
                let scalar = Scalar {
                    text,
                    is_plain: style == ScalarStyle::Plain && !is_text,
                };
                (anchor, Value::Scalar(scalar), 1)
            }
            Event::SequenceStart(anchor, _) => {
                let (items, size) = self.list(depth)?;
                (anchor, Value::List(items), size)
            }
            Event::MappingStart(anchor, _) => {
                let (entries, size) = self.map(depth)?;
                (anchor, Value::Map(entries), size)
            }
            _ => {
                return Err(Fault {
                    what: "this is not YAML: a value is missing".to_owned(),
                    at,
                });
            }
        };
        let sized = match is_wanted || anchor != 0 {
            true => Sized {
                node: Rc::new(Node { value, at }),
                size,
            },
            false => Sized {
                node: Rc::new(Node::nothing(at)),
                size: 1,
            },
        };
        if anchor != 0 {
            self.anchors.insert(anchor, sized.clone());
        }
        Ok(sized)
    }

    fn list(&mut self, depth: usize) -> Result<(Vec<Rc<Node<'t>>>, usize), Fault> {
        let (mut items, mut size) = (Vec::new(), 1_usize);
        loop {
            let event = self.next()?;
            if event.0 == Event::SequenceEnd {
                return Ok((items, size));
            }
            let item = self.node(event, depth + 1)?;
            size = size.saturating_add(item.size);
            items.push(item.node);
        }
    }

    fn map(&mut self, depth: usize) -> Result<(Vec<Entry<'t>>, usize), Fault> {
        let (mut entries, mut size) = (Vec::new(), 1_usize);
        let mut merged = Vec::new();
        loop {
            let event = self.next()?;
            if event.0 == Event::MappingEnd {
                break;
            }
            let key = self.key(event)?;
            self.path.push(key.clone());
            let value = self.next().and_then(|event| self.node(event, depth + 1));
            self.path.pop();
            let Sized { node, size: more } = value?;
            size = size.saturating_add(more);
            match &*key {
                MERGE => merged.push(node),
                _ => entries.push(Entry { key, node }),
            }
        }
        if let Some(position) = repeated(entries.iter().map(|entry| &*entry.key)) {
            let Entry { key, node } = &entries[position];
            return Err(twice(key, node.at.clone()));
        }
        for node in merged {
            merge(&mut entries, &node);
        }
        Ok((entries, size))
    }

    fn key(&mut self, (event, at): Spotted<'t>) -> Result<Cow<'t, str>, Fault> {
        let key = match event {
            Event::Scalar(text, ..) => Some(text),
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor);
                known.and_then(|known| known.node.text().map(|text| Cow::Owned(text.to_owned())))
            }
            _ => None,
        };
        key.ok_or(Fault {
            what: "a key is a text here".to_owned(),
            at,
        })
    }

    fn alias(&mut self, anchor: usize, at: Range<usize>) -> Result<Sized<'t>, Fault> {
        let Some(known) = self.anchors.get(&anchor) else {
            return Err(Fault {
                what: "this is not YAML: an alias of what is not there yet".to_owned(),
                at,
            });
        };
        self.repeated = self.repeated.saturating_add(known.size);
        match self.repeated > MAX_REPEATED {
            true => Err(Fault {
                what: format!("aliases repeat more than {MAX_REPEATED} values"),
                at,
            }),
            false => Ok(known.clone()),
        }
    }
}

/// YAML 1.1's key for "and all that is there, too", which many documents still use.
const MERGE: &str = "<<";

/// Adds the entries of `from`, a mapping or a list of them, that are not there already.
fn merge<'t>(entries: &mut Vec<Entry<'t>>, from: &Node<'t>) {
    for item in from.items() {
        merge(entries, item);
    }
    let known: HashSet<&str> = entries.iter().map(|entry| &*entry.key).collect();
    let is_new = |entry: &&Entry<'t>| !known.contains(&*entry.key);
    let more: Vec<Entry<'t>> = from.entries().iter().filter(is_new).cloned().collect();
    entries.extend(more);
}

/// From the parser's positions, which are characters, to bytes. They mostly go forward, so that this is one walk.
struct Places<'t> {
    text: &'t str,
    is_ascii: bool,
    /// The last one that was asked for: characters, bytes.
    last: (usize, usize),
}

impl<'t> Places<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            is_ascii: text.is_ascii(),
            last: (0, 0),
        }
    }

    fn range(&mut self, span: &Span) -> Range<usize> {
        let start = self.byte(span.start.index());
        start..self.byte(span.end.index())
    }

    fn byte(&mut self, index: usize) -> usize {
        if self.is_ascii {
            return index.min(self.text.len());
        }
        let (characters, bytes) = self.last;
        let byte = match index.checked_sub(characters) {
            Some(further) => {
                let rest = self.text.get(bytes..).unwrap_or_default();
                let step = rest.char_indices().nth(further);
                step.map_or(self.text.len(), |(step, _)| bytes + step)
            }
            None => {
                let before = self.text.get(..bytes).unwrap_or_default();
                let step = before.char_indices().nth_back(characters - index - 1);
                step.map_or(0, |(step, _)| step)
            }
        };
        self.last = (index, byte);
        byte
    }
}
