//! YAML and JSON as one tree that knows where things stand: other people's documents, as far as the gateway reads them.
//!
//! Bytes in, tree out. What the values mean is decided elsewhere. A text that is too long, too deep or that repeats
//! itself by aliases without end is refused before it costs much; what nobody asks for is not kept.

mod json;
mod yaml;

use std::{borrow::Cow, collections::HashSet, ops::Range, rc::Rc};

/// Longest text that is read, in bytes. The longest description of a public API that is known has 37 MB.
pub const MAX_BYTES: usize = 64 << 20;
/// Deepest nesting of lists and mappings.
const MAX_DEPTH: usize = 100;
/// Most values that aliases may stand for, counted as often as they are repeated.
const MAX_REPEATED: usize = 1_000_000;

/// A value, and where it stands in the text.
#[derive(Debug)]
pub struct Node<'t> {
    pub value: Value<'t>,
    /// Bytes of the text.
    pub at: Range<usize>,
}

#[derive(Debug)]
pub enum Value<'t> {
    Scalar(Scalar<'t>),
    List(Vec<Rc<Node<'t>>>),
    Map(Vec<Entry<'t>>),
}

/// Anything that is one word or one text, as it was written: `1.0` stays `1.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar<'t> {
    pub text: Cow<'t, str>,
    /// Without quotes: it may be a number, a boolean or nothing at all.
    pub is_plain: bool,
}

#[derive(Clone, Debug)]
pub struct Entry<'t> {
    pub key: Cow<'t, str>,
    pub node: Rc<Node<'t>>,
}

/// What is wrong with a text as such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// In words that can stand alone.
    pub what: String,
    pub at: Range<usize>,
}

/// Says whether the value at the end of a path of keys is wanted; the items of a list have its path. What is not wanted
/// becomes nothing.
pub type Wanted<'f> = &'f dyn Fn(&[Cow<'_, str>]) -> bool;

/// Reads a text: JSON if it begins with a brace or a bracket, YAML otherwise.
///
/// # Errors
/// It is neither, says something twice, or goes beyond a limit.
pub fn parse<'t>(text: &'t str, wanted: Wanted<'_>) -> Result<Node<'t>, Fault> {
    if text.len() > MAX_BYTES {
        return Err(Fault {
            what: format!("the text is longer than {} MiB", MAX_BYTES >> 20),
            at: 0..0,
        });
    }
    match text.trim_start().starts_with(['{', '[']) {
        true => json::parse(text, wanted),
        false => yaml::parse(text, wanted),
    }
}

impl<'t> Node<'t> {
    fn nothing(at: Range<usize>) -> Self {
        let scalar = Scalar {
            text: Cow::Borrowed(""),
            is_plain: true,
        };
        Self {
            value: Value::Scalar(scalar),
            at,
        }
    }

    /// The value of a key; `None` also when this is no mapping.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &*entry.node)
    }

    /// Keys and values in the order of the text; none when this is no mapping.
    pub fn entries(&self) -> &[Entry<'t>] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// None when this is no list.
    pub fn items(&self) -> &[Rc<Self>] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// What is written, be it a word, a number or a text in quotes; `None` for lists, mappings and nothing.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if !scalar.is_nothing() => Some(&scalar.text),
            _ => None,
        }
    }

    /// `true` or `false` (YAML 1.2.2 §10.3.2). In quotes it is a text.
    pub fn boolean(&self) -> Option<bool> {
        match &self.value {
            Value::Scalar(scalar) if scalar.is_plain => match &*scalar.text {
                "true" | "True" | "TRUE" => Some(true),
                "false" | "False" | "FALSE" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    pub fn number<T: std::str::FromStr>(&self) -> Option<T> {
        match &self.value {
            Value::Scalar(scalar) if scalar.is_plain => scalar.text.parse().ok(),
            _ => None,
        }
    }

    pub fn is_map(&self) -> bool {
        matches!(self.value, Value::Map(_))
    }

    pub fn is_list(&self) -> bool {
        matches!(self.value, Value::List(_))
    }

    pub fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_nothing())
    }
}

impl Scalar<'_> {
    /// `null`, or nothing at all (YAML 1.2.2 §10.3.2).
    fn is_nothing(&self) -> bool {
        self.is_plain && matches!(&*self.text, "" | "~" | "null" | "Null" | "NULL")
    }
}

/// The first key that stands in `keys` for the second time, by its position.
fn repeated<'k>(keys: impl ExactSizeIterator<Item = &'k str> + Clone) -> Option<usize> {
    const FEW: usize = 12;
    if keys.len() <= FEW {
        let again = |(position, key): &(usize, &str)| {
            keys.clone().take(*position).any(|other| other == *key)
        };
        return keys
            .clone()
            .enumerate()
            .find(again)
            .map(|(position, _)| position);
    }
    let mut seen = HashSet::with_capacity(keys.len());
    keys.enumerate()
        .find(|(_, key)| !seen.insert(*key))
        .map(|(position, _)| position)
}

fn too_deep(at: Range<usize>) -> Fault {
    Fault {
        what: format!("this is nested more than {MAX_DEPTH} deep"),
        at,
    }
}

fn twice(key: &str, at: Range<usize>) -> Fault {
    Fault {
        what: format!("`{key}` stands here twice"),
        at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Node<'_>, Fault> {
        parse(text, &|_| true)
    }

    /// A tree as one line, with quotes around what is no plain word.
    fn shown(node: &Node<'_>) -> String {
        match &node.value {
            Value::Scalar(Scalar { text, is_plain }) if *is_plain => text.to_string(),
            Value::Scalar(Scalar { text, .. }) => format!("{text:?}"),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|item| shown(item)).collect();
                format!("[{}]", items.join(" "))
            }
            Value::Map(entries) => {
                let pair = |entry: &Entry<'_>| format!("{}:{}", entry.key, shown(&entry.node));
                let entries: Vec<String> = entries.iter().map(pair).collect();
                format!("{{{}}}", entries.join(" "))
            }
        }
    }

    fn what(text: &str) -> String {
        all(text).err().map_or_else(String::new, |fault| fault.what)
    }

    #[test]
    fn json_and_yaml_are_the_same_tree() {
        let json = r#"{"a": [1, true, null, "x\u00e9\ud83d\ude00"], "b": {"c": "1.0"}}"#;
        let yaml = "a:\n- 1\n- true\n- null\n- \"x\u{e9}\u{1f600}\"\nb: {c: '1.0'}\n";
        let tree = all(json).unwrap();
        assert_eq!(shown(&tree), shown(&all(yaml).unwrap()));
        assert_eq!(
            shown(&tree),
            "{a:[1 true null \"x\u{e9}\u{1f600}\"] b:{c:\"1.0\"}}"
        );
        let a = tree.get("a").unwrap().items();
        assert_eq!(a[0].number::<u32>(), Some(1));
        assert_eq!(a[1].boolean(), Some(true));
        assert!(a[2].is_nothing() && a[2].text().is_none());
        assert_eq!(tree.get("b").unwrap().get("c").unwrap().text(), Some("1.0"));
        assert!(tree.get("c").is_none() && a[0].get("a").is_none());
    }

    #[test]
    fn places_are_bytes_of_the_text() {
        for text in [
            "{\"\u{e9}\": \"\u{1f600}\", \"k\": [true, 12]}",
            "\u{e9}: \"\u{1f600}\"\r\nk:\r\n  - true # \u{e9}\r\n  - 12\r\n",
            "k: [true, 12]\n",
        ] {
            let tree = all(text).unwrap();
            let items = tree.get("k").unwrap().items();
            assert_eq!(&text[items[0].at.clone()], "true", "{text}");
            assert_eq!(&text[items[1].at.clone()], "12", "{text}");
        }
    }

    #[test]
    fn aliases_and_merges_are_followed() {
        let text = "a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\nd: {<<: [*a, {z: 4}]}\n";
        let tree = shown(&all(text).unwrap());
        assert_eq!(
            tree,
            "{a:{x:1 y:2} b:{x:1 y:2} c:{y:3 x:1} d:{x:1 y:2 z:4}}"
        );
    }

    #[test]
    fn what_is_not_wanted_is_not_kept() {
        for text in [
            "{\"a\": {\"x\": 1, \"y\": {\"z\": 2}}}",
            "a: {x: 1, y: {z: 2}}",
        ] {
            let tree = parse(text, &|path| path != ["a", "y"]).unwrap();
            let a = tree.get("a").unwrap();
            assert_eq!(a.get("x").unwrap().text(), Some("1"), "{text}");
            assert!(a.get("y").unwrap().is_nothing(), "{text}");
        }
        let anchored = parse("a: {x: &x 1}\nb: *x\n", &|path| path != ["a"]).unwrap();
        assert_eq!(shown(&anchored), "{a: b:1}");
    }

    #[test]
    fn faults_say_what_and_where() {
        for (text, fault, spot) in [
            ("a: 1\na: 2\n", "`a` stands here twice", "2"),
            ("{\"a\":1,\n\"a\":2}", "`a` stands here twice", "2"),
            ("[1,\n x]", "this is not JSON: expected value", "x]"),
            (
                "{\"a\": {\"b\": \"\\q\"}}",
                "this is not JSON: invalid escape",
                "q\"}}",
            ),
            (
                "a: 1\n---\nb: 2\n",
                "a second document begins here",
                "---\nb: 2\n",
            ),
            (
                "[a, b]: 1\n",
                "this is not JSON: expected value",
                "a, b]: 1\n",
            ),
            ("? [a, b]\n: 1\n", "a key is a text here", "[a, b]\n: 1\n"),
            (
                "a: &x [*x]\n",
                "this is not YAML: an alias of what is not there yet",
                "*x]\n",
            ),
        ] {
            let found = all(text).unwrap_err();
            assert_eq!(found.what, fault, "{text}");
            assert!(
                text[found.at.start..].starts_with(spot),
                "{text}: {found:?}"
            );
        }
        assert!(what("a: [1\nb: 2\n").starts_with("this is not YAML: "));
        assert!(what("a:\n\t- 1\n b").starts_with("this is not YAML: "));
        assert_eq!(shown(&all("").unwrap()), "");
        assert_eq!(shown(&all("# nothing\n").unwrap()), "");
    }

    #[test]
    fn limits_hold() {
        let deep = |open: &str, close: &str, times: usize| {
            format!("{}{}", open.repeat(times), close.repeat(times))
        };
        for text in [
            deep("[", "]", 200),
            deep("[", "]", 100_000),
            format!("x: {}", deep("[", "]", 120)),
            format!("x: {}", deep("[", "]", 100_000)),
            (0..2000)
                .map(|level| format!("{}a:\n", " ".repeat(level)))
                .collect(),
        ] {
            let what = what(&text);
            assert!(what.contains("deep") || what.contains("limit"), "{what}");
        }
        let mut bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
        for level in 1..30 {
            let below = format!("*a{}, ", level - 1).repeat(10);
            bomb += &format!("a{level}: &a{level} [{below}]\n");
        }
        assert_eq!(what(&bomb), "aliases repeat more than 1000000 values");
        assert_eq!(
            what(&" ".repeat(MAX_BYTES + 1)),
            "the text is longer than 64 MiB"
        );
    }
}
