//! What is wrong with a configuration, and where: one [`Problem`] for each mistake, all of them
//! collected before anything is refused.

use std::{cell::RefCell, collections::HashSet, fmt, ops::Range, path::Path};

use super::{
    hidden::{hide_passwords, hide_secrets},
    include::next_offset,
};

/// The text that a configuration was read from.
#[derive(Debug, Default)]
pub struct Source {
    /// As the user gave it; `<memory>` when there is no file.
    pub name: String,
    pub text: String,
    /// Whether others than owner and group may read the file.
    pub world_readable: bool,
    /// Whether it describes an API for everybody, so that its lines may be shown.
    pub is_description: bool,
}

/// Where a value stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Bytes of the source text; those of included files are counted on.
    Text(Range<usize>),
    /// The same twice: the first is at fault because of the second.
    Pair(Range<usize>, Range<usize>),
    /// An environment variable, by name. Its value is never printed.
    Variable(String),
    /// An argument of the command line, by name. Its value is never printed.
    Argument(String),
    /// Nowhere: something is missing altogether.
    #[default]
    Nowhere,
}

impl Place {
    /// This place, for which there is a problem because of `other`.
    pub fn beside(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => Self::Pair(one.clone(), other.clone()),
            _ => self.clone(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// One mistake of the operator: what, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub what: String,
    pub place: Place,
    /// The part of the configuration, as in `route[0] ("orders")`.
    pub section: String,
    pub hint: Option<String>,
}

/// Collects problems while a configuration is read. Shared by all sections of one file.
#[derive(Default)]
pub struct Report {
    problems: RefCell<Vec<Problem>>,
}

impl Report {
    pub fn add(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// The same, unless it has been said already.
    pub fn add_once(&self, problem: Problem) {
        let mut problems = self.problems.borrow_mut();
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    pub fn has_errors(&self) -> bool {
        self.problems
            .borrow()
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }

    pub fn count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// All problems, in the order of the file; what has no place in it comes last. What is said twice of one place, as of
    /// a key that many routes share, stands here once.
    pub fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| match &problem.place {
            Place::Text(range) | Place::Pair(range, _) => (0, range.start),
            Place::Variable(_) | Place::Argument(_) => (1, 0),
            Place::Nowhere => (2, 0),
        });
        let mut said: HashSet<(usize, usize, String)> = HashSet::new();
        problems.retain(|problem| match &problem.place {
            Place::Text(range) => said.insert((range.start, range.end, problem.what.clone())),
            _ => true,
        });
        problems
    }
}

/// Problems together with the text they are about, ready to be printed.
#[derive(Debug)]
pub struct Problems {
    pub source: Source,
    /// In the order in which they were read.
    pub included: Vec<Source>,
    pub list: Vec<Problem>,
}

/// Of the files, whose places go on from one to the next, the one with the byte `at`, and where it begins.
pub fn source_at<'s>(main: &'s Source, included: &'s [Source], at: usize) -> (&'s Source, usize) {
    let (mut offset, mut found) = (0, main);
    for source in included {
        let next = next_offset(offset, found);
        if at < next {
            break;
        }
        (offset, found) = (next, source);
    }
    (found, offset)
}

impl Problems {
    /// The file that has a place, and the place within it.
    fn locate(&self, range: &Range<usize>) -> (&Source, Range<usize>) {
        let (source, offset) = source_at(&self.source, &self.included, range.start);
        (source, range.start - offset..range.end - offset)
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.list
            .iter()
            .filter(|problem| problem.severity == severity)
            .count()
    }

    /// `2 errors, 1 warning`.
    pub fn summary(&self) -> String {
        let plural = |count: usize, word: &str| match count {
            1 => format!("1 {word}"),
            _ => format!("{count} {word}s"),
        };
        let errors = self.count(Severity::Error);
        let warnings = self.count(Severity::Warning);
        match (errors, warnings) {
            (_, 0) => plural(errors, "error"),
            (0, _) => plural(warnings, "warning"),
            _ => format!(
                "{}, {}",
                plural(errors, "error"),
                plural(warnings, "warning")
            ),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            Rendered {
                problem,
                problems: self,
            }
            .fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

struct Rendered<'a> {
    problem: &'a Problem,
    problems: &'a Problems,
}

impl fmt::Display for Rendered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem {
            severity,
            what,
            place,
            section,
            hint,
        } = self.problem;
        let word = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(f, "{word}: {what}")?;
        let section = match section.as_str() {
            "" => String::new(),
            section => format!("   {section}"),
        };
        let name = &self.problems.source.name;
        match place {
            Place::Text(range) => self.write_spot(f, range, &section, hint.as_deref()),
            Place::Pair(range, other) => {
                self.write_spot(f, range, &section, hint.as_deref())?;
                self.write_spot(f, other, "   the other one", None)
            }
            Place::Variable(variable) => {
                writeln!(f, "  ┌ environment variable {variable}{section}")?;
                write_hint(f, hint.as_deref())
            }
            Place::Argument(argument) => {
                writeln!(f, "  ┌ argument --{argument}{section}")?;
                write_hint(f, hint.as_deref())
            }
            Place::Nowhere => {
                writeln!(f, "  ┌ {name}{section}")?;
                write_hint(f, hint.as_deref())
            }
        }
    }
}

impl Rendered<'_> {
    /// File, line and column; the line; what is wrong in it, and a hint.
    fn write_spot(
        &self,
        f: &mut fmt::Formatter<'_>,
        range: &Range<usize>,
        section: &str,
        hint: Option<&str>,
    ) -> fmt::Result {
        let (source, range) = self.problems.locate(range);
        let spot = Spot::find(source, &range);
        let gutter = " ".repeat(spot.line.to_string().len());
        let Spot { line, column, .. } = spot;
        writeln!(f, "{gutter} ┌ {}:{line}:{column}{section}", source.name)?;
        writeln!(f, "{line} │ {}", spot.shown)?;
        let hint = hint.unwrap_or_default();
        let carets = format!("{}{} {hint}", " ".repeat(spot.indent), spot.carets());
        writeln!(f, "{gutter} │ {}", carets.trim_end())
    }
}

fn write_hint(f: &mut fmt::Formatter<'_>, hint: Option<&str>) -> fmt::Result {
    match hint {
        Some(hint) => writeln!(f, "  │ {hint}"),
        None => Ok(()),
    }
}

/// In bytes.
const LONG_LINE: usize = 400;

/// A place of the text as people count: from one, in characters.
struct Spot {
    line: usize,
    column: usize,
    /// The line, with tabs as single spaces and secrets of it left out; of a long one the part around the place.
    shown: String,
    indent: usize,
    width: usize,
}

impl Spot {
    fn find(source: &Source, range: &Range<usize>) -> Self {
        let text = &source.text;
        let safe = |line: &str| match source.is_description {
            true => hide_passwords(line),
            false => hide_secrets(line),
        };
        let start = text.floor_char_boundary(range.start);
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let column = before[line_start..].chars().count() + 1;
        let end = text
            .floor_char_boundary(range.end.min(line_start + line.len()))
            .max(start);
        let number = before.matches('\n').count() + 1;
        let width = text[start..end].chars().count().max(1);
        if line.len() > LONG_LINE {
            return Self::in_long_line(number, column, line, safe);
        }
        Self {
            line: number,
            column,
            shown: safe(line).replace('\t', " "),
            indent: column - 1,
            width,
        }
    }

    /// Nobody reads all of such a line.
    fn in_long_line(line: usize, column: usize, text: &str, safe: impl Fn(&str) -> String) -> Self {
        const BEFORE: usize = 20;
        let skipped = (column - 1).saturating_sub(BEFORE);
        let part: String = text.chars().skip(skipped).take(4 * BEFORE).collect();
        Self {
            line,
            column,
            shown: format!("… {}", safe(&part).replace('\t', " ")),
            indent: column - 1 - skipped + 2,
            width: 1,
        }
    }

    fn carets(&self) -> String {
        "^".repeat(self.width)
    }
}

impl Source {
    /// # Errors
    /// The file cannot be read, or is not UTF-8.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        Ok(Self {
            name: path.display().to_string(),
            text: std::fs::read_to_string(path)?,
            world_readable: is_world_readable(path),
            is_description: false,
        })
    }

    pub fn memory(text: impl Into<String>) -> Self {
        Self {
            name: "<memory>".to_owned(),
            text: text.into(),
            ..Self::default()
        }
    }
}

/// Whether everybody on the machine may read `path`.
pub fn is_world_readable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_place_line_caret_and_hint() {
        let problems = Problems {
            source: Source {
                name: "a.toml".to_owned(),
                text: "[x]\n\tüps = 1\n".to_owned(),
                ..Source::default()
            },
            included: Vec::new(),
            list: vec![Problem {
                severity: Severity::Error,
                what: "unknown key `üps`".to_owned(),
                place: Place::Text(5..9),
                section: "x".to_owned(),
                hint: Some("did you mean `ups`?".to_owned()),
            }],
        };
        assert_eq!(
            problems.to_string(),
            "error: unknown key `üps`\n  ┌ a.toml:2:2   x\n2 │  üps = [redacted]\n  │  ^^^ did you mean `ups`?\n"
        );
        assert_eq!(problems.summary(), "1 error");
    }

    #[test]
    fn secrets_in_the_quoted_line_are_left_out() {
        for line in [
            "password = \"hunter2\"",
            "clientSecret=\"hunter2\"",
            " access_token = 'hunter2'",
            "passwort = \"hunter2\"",
            "tokn = \"hunter2\"",
            "clientSecert = \"hunter2\"",
            "nonsense = \"hunter2\"",
            "password: \"hunter2\"",
            "basic = { username = \"g\", password = \"hunter2\" }",
            "upstream = \"http://user:hunter2@localhost\"",
            "keystore_password = \"hunter2\"",
            "trustStorePassword = \"hunter2\"",
            "hunter2\"\"\"",
            "[\"hunter2\"",
        ] {
            assert!(!hide_secrets(line).contains("hunter2"), "{line}");
        }
        for line in [
            "path = \"x\"",
            "[keyManager]",
            "[[route]]",
            "# a comment",
            "\tlevel = \"x\"",
            "keystore_file = \"x\"",
        ] {
            assert_eq!(hide_secrets(line), line);
        }
    }
}
