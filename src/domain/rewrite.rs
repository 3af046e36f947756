//! Another path made of a request's: literals, parameters, and the rest of a prefix.
//!
//! Works on the path in its normal form, segment by segment. A segment of the request goes over
//! whole and as it was escaped, and a literal cannot be a dot segment, so what comes out is in
//! normal form again (`tests` below, and a fuzz target, hold it to that).

use super::{
    PathPattern,
    path::encode,
    path_pattern::{Segment, after},
};

/// How a path is made of the one that was matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    pieces: Box<[Piece]>,
    /// The number of segments before the part that is kept as it is at the end.
    rest: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Percent-encoded where it must be.
    Literal(Box<str>),
    /// The request's segment with this number.
    Segment(usize),
}

impl Rewrite {
    /// Reads a template for the paths that `pattern` matches. It is written like a pattern:
    /// `/new/:id/*`, with the pattern's parameters, and `*` for what the pattern's `*` covers.
    ///
    /// # Errors
    /// What is wrong with `text`, in words that end a sentence.
    pub fn parse(text: &str, pattern: &PathPattern) -> Result<Self, &'static str> {
        let template = PathPattern::parse_template(text)?;
        let pieces = template.segments.iter().map(|segment| match segment {
            Segment::Literal(text) => Ok(Piece::Literal(encode(text).into())),
            // What is mixed goes over as a whole.
            Segment::Parameter(_) | Segment::Mixed(_) => pattern
                .segments
                .iter()
                .position(|other| other == segment)
                .map(Piece::Segment)
                .ok_or("this has a parameter that the route's `path` has not"),
        });
        let rest = match (template.prefix, pattern.prefix) {
            (true, false) => return Err("`*` stands for the rest of a path that ends in `/*`"),
            (true, true) => Some(pattern.segments.len()),
            (false, _) => None,
        };
        Ok(Self {
            pieces: pieces.collect::<Result<_, _>>()?,
            rest,
        })
    }

    /// Takes away all that stands before the `/*` of `pattern`.
    ///
    /// # Errors
    /// `pattern` has no `/*`.
    pub fn strip_all(pattern: &PathPattern) -> Result<Self, &'static str> {
        match pattern.prefix {
            true => Ok(Self {
                pieces: Box::default(),
                rest: Some(pattern.segments.len()),
            }),
            false => {
                Err("the route's `path` does not end in `/*`, so there is no telling what goes")
            }
        }
    }

    /// Takes `prefix` away, with which `pattern` begins.
    ///
    /// # Errors
    /// It does not, or `prefix` is no path.
    pub fn strip(prefix: &str, pattern: &PathPattern) -> Result<Self, &'static str> {
        let prefix = PathPattern::parse(prefix)?;
        if prefix.prefix {
            return Err("this is written without `*`, as in \"/api\"");
        }
        if !pattern.segments.starts_with(&prefix.segments) {
            return Err("the route's `path` does not begin with this");
        }
        let stripped = prefix.segments.len();
        let pieces = pattern.segments.iter().enumerate().skip(stripped);
        Ok(Self {
            pieces: pieces
                .map(|(number, segment)| match segment {
                    Segment::Literal(text) => Piece::Literal(encode(text).into()),
                    Segment::Parameter(_) | Segment::Mixed(_) => Piece::Segment(number),
                })
                .collect(),
            rest: pattern.prefix.then_some(pattern.segments.len()),
        })
    }

    /// The new path for `sent`, a path in normal form that the route's pattern matches.
    pub fn apply(&self, sent: &str) -> String {
        let mut path = String::with_capacity(sent.len() + 32);
        self.apply_to(sent, &mut path);
        path
    }

    /// The same behind what `path` has already.
    pub fn apply_to(&self, sent: &str, path: &mut String) {
        let before = path.len();
        for piece in &self.pieces {
            path.push('/');
            path.push_str(match piece {
                Piece::Literal(text) => text,
                Piece::Segment(number) => sent.split('/').nth(number + 1).unwrap_or_default(),
            });
        }
        if let Some(rest) = self.rest.and_then(|number| after(sent, number)) {
            path.push('/');
            path.push_str(rest);
        }
        if path.len() == before {
            path.push('/');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RequestPath;

    fn pattern(text: &str) -> PathPattern {
        PathPattern::parse(text).unwrap()
    }

    #[test]
    fn templates_take_parameters_and_the_rest() {
        for (path, template, sent, expected) in [
            ("/old/*", "/new/*", "/old/a/b", "/new/a/b"),
            ("/old/*", "/new/*", "/old/", "/new/"),
            ("/old/*", "/new/*", "/old", "/new"),
            ("/old/*", "/*", "/old", "/"),
            ("/old/*", "/*", "/old/", "/"),
            ("/old/*", "/new", "/old/a/b", "/new"),
            ("/*", "/v2/*", "/", "/v2/"),
            ("/*", "/v2/*", "/a%20b", "/v2/a%20b"),
            ("/u/:id/o/:order", "/:order/of/:id", "/u/7/o/9", "/9/of/7"),
            ("/u/:id/*", "/x/:id/*", "/u/caf%C3%A9/y/", "/x/caf%C3%A9/y/"),
            ("/r/{y}-{m}.pdf", "/{y}-{m}.pdf", "/r/1-2.pdf", "/1-2.pdf"),
            ("/{id}", "/x/:id", "/7", "/x/7"),
            ("/a", "/café b", "/a", "/caf%C3%A9%20b"),
            ("/a", "/", "/a", "/"),
            ("/a", "/b/", "/a", "/b/"),
        ] {
            let rewrite = Rewrite::parse(template, &pattern(path)).unwrap();
            assert_eq!(rewrite.apply(sent), expected, "{path} {template} {sent}");
        }
    }

    #[test]
    fn prefixes_go() {
        for (path, sent, expected) in [
            ("/api/*", "/api", "/"),
            ("/api/*", "/api/", "/"),
            ("/api/*", "/api/a/", "/a/"),
            ("/t/:tenant/*", "/t/7/x", "/x"),
            ("/*", "/x", "/x"),
        ] {
            let rewrite = Rewrite::strip_all(&pattern(path)).unwrap();
            assert_eq!(rewrite.apply(sent), expected, "{path} {sent}");
        }
        for (path, prefix, sent, expected) in [
            ("/api/orders/:id", "/api", "/api/orders/7", "/orders/7"),
            ("/api/o/*", "/api", "/api/o", "/o"),
            ("/api/o/*", "/api/o", "/api/o/x", "/x"),
            ("/t/:x/a", "/t/:x", "/t/7/a", "/a"),
            ("/api/a b", "/api", "/api/a%20b", "/a%20b"),
            ("/api", "/api", "/api", "/"),
            ("/api/", "/api", "/api/", "/"),
        ] {
            let rewrite = Rewrite::strip(prefix, &pattern(path)).unwrap();
            assert_eq!(rewrite.apply(sent), expected, "{path} {prefix} {sent}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (path, template) in [
            ("/a", "/b/*"),
            ("/a/:x", "/b/:y"),
            ("/a/*", "b"),
            ("/a/*", "/b/../*"),
            ("/a/*", "/b?x=1"),
        ] {
            assert!(Rewrite::parse(template, &pattern(path)).is_err(), "{path}");
        }
        assert!(Rewrite::strip_all(&pattern("/a")).is_err());
        for (path, prefix) in [("/api/*", "/ap"), ("/a/b", "/b"), ("/a/*", "/a/*")] {
            assert!(Rewrite::strip(prefix, &pattern(path)).is_err(), "{path}");
        }
    }

    /// Whatever comes in, what goes out is a normal form. Fixed seed.
    #[test]
    fn the_new_path_is_in_normal_form() {
        let mut random = fastrand::Rng::with_seed(7);
        let segments = [
            "a",
            "b%20c",
            "caf%C3%A9",
            "x:y",
            "...",
            "~",
            "%25",
            "(",
            "*",
        ];
        for _ in 0..20_000 {
            let mut segment = || segments[random.usize(..segments.len())];
            let sent = format!("/p/{}/q/{}/{}", segment(), segment(), segment());
            let sent = match random.u8(..4) {
                0 => format!("{sent}/"),
                _ => sent,
            };
            let path = pattern("/p/:one/q/:two/*");
            for template in ["/:two/*", "/é/:one", "/*", "/:one/:two/:one/*"] {
                let new = Rewrite::parse(template, &path).unwrap().apply(&sent);
                let parsed = RequestPath::parse(&new).unwrap();
                assert_eq!(parsed.sent, new, "{sent} {template}");
            }
        }
    }
}
