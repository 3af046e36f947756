//! Which paths a route is for.

use std::fmt;

/// `/exact`, `/prefix/*` or `/with/:parameters`, or both of the latter. `{parameter}` is the same as `:parameter`, and can
/// also be a part of a segment, as in `/reports/{year}-{month}.pdf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    text: Box<str>,
    pub(super) segments: Box<[Segment]>,
    /// Ends in `/*`: matches the path before it and everything below.
    pub(super) prefix: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(Box<str>),
    /// With its name, which only rewriting asks for.
    Parameter(Box<str>),
    Mixed(Mixed),
}

/// Parameters and literal text in one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mixed {
    names: Box<[Box<str>]>,
    /// What stands before, between and behind the parameters: one more than there are names.
    literals: Box<[Box<str>]>,
}

impl PathPattern {
    /// # Errors
    /// What is wrong with `text`, in words that end a sentence.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let pattern = Self::parse_template(text)?;
        check_names(&pattern.segments)?;
        Ok(pattern)
    }

    /// The same for a path that is written, not matched: it may name a parameter twice.
    pub(super) fn parse_template(text: &str) -> Result<Self, &'static str> {
        let Some(body) = text.strip_prefix('/') else {
            return Err("a path begins with `/`");
        };
        let (body, prefix) = match body.strip_suffix('*') {
            Some("") => (None, true),
            Some(body) => match body.strip_suffix('/') {
                Some(body) => (Some(body), true),
                None => return Err("`*` stands alone in the last segment, as in `/orders/*`"),
            },
            None => (Some(body), false),
        };
        let segments: Box<[Segment]> = body.map_or(Ok(Box::default()), |body| {
            let last = body.split('/').count() - 1;
            body.split('/')
                .enumerate()
                .map(|(position, segment)| Segment::parse(segment, position == last && !prefix))
                .collect()
        })?;
        Ok(Self {
            text: text.into(),
            segments,
            prefix,
        })
    }
}

impl Segment {
    fn parse(segment: &str, may_be_empty: bool) -> Result<Self, &'static str> {
        if let Some(name) = segment.strip_prefix(':') {
            return match name {
                "" => Err("a parameter needs a name, as in `/users/:id`"),
                _ => Ok(Self::Parameter(name.into())),
            };
        }
        if segment.contains(['{', '}']) {
            return Self::parse_braces(segment);
        }
        match segment {
            "" if !may_be_empty => Err("a path has no empty segment"),
            "." | ".." => Err("a path has no dot segment"),
            _ => check_literal(segment).map(|()| Self::Literal(segment.into())),
        }
    }

    /// A segment in which `{name}` stands.
    fn parse_braces(segment: &str) -> Result<Self, &'static str> {
        const UNBALANCED: &str = "a parameter in braces is `{name}`, within one segment";
        let (mut names, mut literals) = (Vec::new(), Vec::new());
        let mut rest = segment;
        while let Some((literal, behind)) = rest.split_once('{') {
            let (name, behind) = behind.split_once('}').ok_or(UNBALANCED)?;
            if name.is_empty() || name.contains('{') || literal.contains('}') {
                return Err(UNBALANCED);
            }
            check_literal(literal)?;
            literals.push(literal.into());
            names.push(name.into());
            rest = behind;
        }
        if rest.contains('}') {
            return Err(UNBALANCED);
        }
        check_literal(rest)?;
        literals.push(rest.into());
        let mixed = Mixed {
            names: names.into(),
            literals: literals.into(),
        };
        Ok(match (&*mixed.names, mixed.literal_bytes()) {
            ([name], 0) => Self::Parameter(name.clone()),
            _ => Self::Mixed(mixed),
        })
    }

    fn names(&self) -> &[Box<str>] {
        match self {
            Self::Literal(_) => &[],
            Self::Parameter(name) => std::slice::from_ref(name),
            Self::Mixed(mixed) => &mixed.names,
        }
    }
}

impl Mixed {
    /// Whether `segment` has the literals, and something for each parameter between them.
    pub(super) fn fits(&self, segment: &str) -> bool {
        let [first, between @ .., last] = &*self.literals else {
            return false;
        };
        let Some(mut rest) = segment
            .strip_prefix(&**first)
            .and_then(|rest| rest.strip_suffix(&**last))
        else {
            return false;
        };
        // The first place where each literal fits leaves the most for the others.
        for literal in between {
            let Some((_, behind)) =
                without_first(rest).and_then(|rest| rest.split_once(&**literal))
            else {
                return false;
            };
            rest = behind;
        }
        !rest.is_empty()
    }

    /// Whether both are for the same segments, whatever the names.
    pub(super) fn has_form_of(&self, other: &Self) -> bool {
        self.literals == other.literals
    }

    /// The order in which they are tried: the most literal text first.
    pub(super) fn rank(&self) -> (std::cmp::Reverse<usize>, &[Box<str>]) {
        (std::cmp::Reverse(self.literal_bytes()), &self.literals)
    }

    fn literal_bytes(&self) -> usize {
        self.literals.iter().map(|literal| literal.len()).sum()
    }
}

fn without_first(text: &str) -> Option<&str> {
    let mut letters = text.chars();
    letters.next().map(|_| letters.as_str())
}

fn check_literal(text: &str) -> Result<(), &'static str> {
    if text.contains('*') {
        return Err("`*` stands alone in the last segment");
    }
    if text.contains('%') {
        return Err("a path is written decoded: write the character itself for its `%` escape");
    }
    if text.contains(['?', '#', ';', '\\']) || text.contains(char::is_control) {
        return Err("a path has none of `?`, `#`, `;`, `\\` or control characters");
    }
    Ok(())
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A parameter stands for one piece of a path.
fn check_names(segments: &[Segment]) -> Result<(), &'static str> {
    let names: Vec<&str> = segments
        .iter()
        .flat_map(Segment::names)
        .map(|name| &**name)
        .collect();
    let again = |(position, name): (usize, &&str)| names[..position].contains(name);
    match names.iter().enumerate().any(again) {
        true => Err("two parameters have the same name"),
        false => Ok(()),
    }
}

/// What stands behind the first `segments` segments of a path and the slash after them; `None`: the
/// path has no more.
pub(super) fn after(path: &str, segments: usize) -> Option<&str> {
    let mut rest = path.strip_prefix('/');
    for _ in 0..segments {
        rest = rest?.split_once('/').map(|(_, rest)| rest);
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(text: &str) -> Result<Segment, &'static str> {
        Segment::parse(text, false)
    }

    #[test]
    fn braces_are_parameters_too() {
        for path in ["/a/:id/b", "/a/{id}/b", "/a/{pet-id}/b"] {
            let pattern = PathPattern::parse(path).unwrap();
            assert!(matches!(pattern.segments[1], Segment::Parameter(_)));
            assert_eq!(pattern.to_string(), path);
        }
        for wrong in [
            "{", "}", "{}", "a{b", "a}b", "{a}}", "{{a}}", "{a}{}", "{a}*", "{a}%2f",
        ] {
            assert!(segment(wrong).is_err(), "{wrong}");
        }
        for wrong in ["/{a}/{a}", "/:a/{a}.{b}", "/{a}.{a}", "/{a}.{b}/{a}.{b}"] {
            assert!(PathPattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn mixed_segments_fit_what_they_describe() {
        for (text, fits, fits_not) in [
            (
                "{a}.{b}",
                &["x.y", "x..", "x.y.z", "é.é"][..],
                &["", ".", "x.", ".y", "xy"][..],
            ),
            ("{a}-{b}", &["1-2", "---"], &["-", "--", "1-", "-2"]),
            (
                "{id}.json",
                &["1.json", ".json.json"],
                &[".json", "1.jso", "json"],
            ),
            ("v{n}", &["v1", "vv"], &["v", "1"]),
            (
                "{name}:cancel",
                &["x:cancel", "x:y:cancel"],
                &[":cancel", "x:cancelled"],
            ),
            ("{a}{b}", &["xy", "éé"], &["", "x", "é"]),
            ("a{b}a", &["aba", "aaa"], &["aa", "a", "ab"]),
            (
                "{a}aa{b}",
                &["xaay", "aaaa", "xaaaa"],
                &["aaa", "xaa", "aay"],
            ),
        ] {
            let Ok(Segment::Mixed(mixed)) = segment(text) else {
                panic!("{text} is mixed");
            };
            for one in fits {
                assert!(mixed.fits(one), "{text} {one}");
            }
            for one in fits_not {
                assert!(!mixed.fits(one), "{text} {one}");
            }
        }
    }
}
