//! Which paths a route is for.

use std::fmt;

/// `/exact`, `/prefix/*` or `/with/:parameters`, or both of the latter.
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
        match segment {
            "" if !may_be_empty => Err("a path has no empty segment"),
            "." | ".." => Err("a path has no dot segment"),
            _ if segment.contains('*') => Err("`*` stands alone in the last segment"),
            _ if segment.contains('%') => {
                Err("a path is written decoded: write the character itself for its `%` escape")
            }
            _ if segment.contains(['?', '#', ';', '\\']) || segment.contains(char::is_control) => {
                Err("a path has none of `?`, `#`, `;`, `\\` or control characters")
            }
            _ => Ok(Self::Literal(segment.into())),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A parameter stands for one segment.
fn check_names(segments: &[Segment]) -> Result<(), &'static str> {
    for (position, segment) in segments.iter().enumerate() {
        let again = segments[..position].contains(segment);
        if again && matches!(segment, Segment::Parameter(_)) {
            return Err("two parameters have the same name");
        }
    }
    Ok(())
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
