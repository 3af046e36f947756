//! Which of several key managers a token is one of, by how it looks.

use super::AccessToken;

/// The tokens that a key manager is asked about, on routes that name none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskedAbout {
    /// Those that are nobody else's.
    Others,
    /// Those that one of these fits. Without any it is asked on routes that name it, and nowhere else.
    Fitting(Box<[TokenPattern]>),
}

impl AskedAbout {
    /// The position of the one to ask about `token`; `None`: it is nobody's. Patterns of different key
    /// managers never fit one token, so their order means nothing.
    pub fn whom<'a>(
        all: impl Iterator<Item = &'a Self> + Clone,
        token: AccessToken<'_>,
    ) -> Option<usize> {
        let fits = |about: &Self| match about {
            Self::Others => false,
            Self::Fitting(patterns) => patterns.iter().any(|pattern| pattern.fits(token)),
        };
        all.clone()
            .position(fits)
            .or_else(|| all.clone().position(|about| *about == Self::Others))
    }
}

/// `abc*`, `*.abc` or `a*c`: the star stands for any characters, and for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPattern {
    start: Box<str>,
    end: Box<str>,
}

impl TokenPattern {
    /// # Errors
    /// A hint what to write instead.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (start, end) = text
            .split_once('*')
            .filter(|(_, end)| !end.contains('*'))
            .ok_or("one `*` stands for any characters, as in \"ptk_*\"")?;
        // What cannot stand in a token would fit none.
        let legal = |part: &str| part.is_empty() || AccessToken::parse(part.as_bytes()).is_ok();
        match (start, end) {
            ("", "") => Err("this fits every token: write [keyManager] for all others"),
            _ if !legal(start) || !legal(end) => {
                Err("letters, digits and `-._~+/` are what tokens are made of")
            }
            _ => Ok(Self {
                start: start.into(),
                end: end.into(),
            }),
        }
    }

    pub fn fits(&self, token: AccessToken<'_>) -> bool {
        let token = token.as_bytes();
        token.len() >= self.start.len() + self.end.len()
            && token.starts_with(self.start.as_bytes())
            && token.ends_with(self.end.as_bytes())
    }

    /// Whether there are tokens that both fit.
    pub fn meets(&self, other: &Self) -> bool {
        let one_starts = |one: &Self, other: &Self| one.start.starts_with(&*other.start);
        let one_ends = |one: &Self, other: &Self| one.end.ends_with(&*other.end);
        (one_starts(self, other) || one_starts(other, self))
            && (one_ends(self, other) || one_ends(other, self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TokenPattern {
        TokenPattern::parse(text).unwrap_or_else(|hint| panic!("{text}: {hint}"))
    }

    fn token(text: &str) -> AccessToken<'_> {
        AccessToken::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (text, fitting, others) in [
            (
                "ptk_*",
                &["ptk_", "ptk_1"][..],
                &["ptk", "xptk_1", "PTK_1"][..],
            ),
            ("*-eu", &["-eu", "a-eu"], &["a-eu-b", "eu"]),
            ("a*a", &["aa", "aba"], &["a", "ab", "ba"]),
        ] {
            for (tokens, expected) in [(fitting, true), (others, false)] {
                for one in tokens {
                    assert_eq!(pattern(text).fits(token(one)), expected, "{text} {one}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "*", "ptk_", "a*b*c", "a b*", "ä*", "\"*"] {
            assert!(TokenPattern::parse(text).is_err(), "{text}");
        }
    }

    /// All texts of these letters, the empty one among them.
    fn texts(longest: usize) -> Vec<String> {
        let mut texts = vec![String::new()];
        let mut begin = 0;
        for _ in 0..longest {
            let end = texts.len();
            for position in begin..end {
                let text = texts[position].clone();
                texts.extend(["a", "b"].map(|letter| format!("{text}{letter}")));
            }
            begin = end;
        }
        texts
    }

    #[test]
    fn patterns_meet_where_a_token_fits_both() {
        let parts = texts(2);
        let both = |start: &String| {
            parts
                .iter()
                .map(|end| format!("{start}*{end}"))
                .collect::<Vec<_>>()
        };
        let all: Vec<TokenPattern> = parts
            .iter()
            .flat_map(both)
            .filter(|text| text != "*")
            .map(|text| pattern(&text))
            .collect();
        // Whatever fits two of them: the longer start, then the longer end, does.
        let tokens = texts(4);
        for one in &all {
            for other in &all {
                let both = tokens[1..]
                    .iter()
                    .any(|text| one.fits(token(text)) && other.fits(token(text)));
                assert_eq!(one.meets(other), both, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn the_one_that_fits_comes_before_the_one_for_all_others() {
        let fitting = |text: &str| AskedAbout::Fitting([pattern(text)].into());
        let all = [
            AskedAbout::Others,
            AskedAbout::Fitting(Box::default()),
            fitting("a*"),
            fitting("b*"),
        ];
        let whom = |text: &str| AskedAbout::whom(all.iter(), token(text));
        assert_eq!(
            [whom("a1"), whom("b1"), whom("c1")],
            [Some(2), Some(3), Some(0)]
        );
        assert_eq!(AskedAbout::whom(all[1..].iter(), token("c1")), None);
    }
}
