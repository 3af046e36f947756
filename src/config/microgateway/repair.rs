//! What makes a file of the original no TOML, mended where it is plain what was meant. The text keeps
//! its length, so that places in it stay true.
//!
//! The original ships a template like that: in one comment the `#` is lost, and one value begins with
//! two quotes.

use std::ops::Range;

use crate::config::{
    problem::{Place, Problem, Report, Severity},
    tree::Table,
};

/// Files with more mistakes than this were not written for the original.
const MOST: usize = 64;

/// The text as TOML, as far as that can be had; what was mended is in `report`.
pub fn repair(text: &str, report: &Report) -> String {
    let mut text = text.to_owned();
    for _ in 0..MOST {
        let mut mended = false;
        for line in broken_lines(&text) {
            if let Some((with, what, meant)) = mend(&text[line.clone()]) {
                debug_assert_eq!(with.len(), line.len());
                text.replace_range(line.clone(), &with);
                report.add(Problem {
                    severity: Severity::Warning,
                    what: what.to_owned(),
                    place: Place::Text(line),
                    section: String::new(),
                    hint: Some(meant.to_owned()),
                });
                mended = true;
                // One mistake can make others of what follows it.
                break;
            }
        }
        if !mended {
            break;
        }
    }
    text
}

/// Lines in which TOML ends, from the first on.
fn broken_lines(text: &str) -> Vec<Range<usize>> {
    let report = Report::default();
    Table::parse(text, 0, &report);
    let mut lines: Vec<Range<usize>> = report
        .into_problems()
        .into_iter()
        .filter_map(|problem| match problem.place {
            Place::Text(range) => Some(line_at(text, range.start)),
            _ => None,
        })
        .collect();
    lines.dedup();
    lines
}

fn line_at(text: &str, position: usize) -> Range<usize> {
    let position = text.floor_char_boundary(position.min(text.len()));
    let start = text[..position]
        .rfind('\n')
        .map_or(0, |newline| newline + 1);
    let end = text[start..]
        .find(['\n', '\r'])
        .map_or(text.len(), |length| start + length);
    start..end.max(start)
}

/// The line in as many bytes, what was wrong, and what is taken to be meant.
fn mend(line: &str) -> Option<(String, &'static str, &'static str)> {
    if let Some(with) = without_doubled_quotes(line) {
        let what = "a value has two quotes where one belongs";
        return Some((with, what, "read with one quote at each end"));
    }
    if let Some(with) = with_straight_quotes(line) {
        let what = "a value has the quotes of a word processor";
        return Some((with, what, "read with straight quotes"));
    }
    let with = as_comment(line)?;
    let what = "this is neither a key nor a table";
    Some((with, what, "taken for a comment that has lost its `#`"))
}

/// `= ""value"` and `= "value""`, with a space in the place of the quote that is too many.
fn without_doubled_quotes(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    let inner = value.trim();
    let has_more = inner.len() > 2 && !inner.starts_with("\"\"\"") && !inner.ends_with("\"\"\"");
    if !has_more {
        return None;
    }
    let value = match (inner.strip_prefix("\"\""), inner.strip_suffix("\"\"")) {
        (Some(_), Some(_)) if inner.len() > 4 => {
            let start = value.find('"')?;
            let end = value.rfind('"')?;
            let mut value = value.to_owned();
            value.replace_range(start..=start, " ");
            value.replace_range(end..=end, " ");
            value
        }
        (Some(rest), None) if rest.contains('"') => value.replacen('"', " ", 1),
        (None, Some(rest)) if rest.contains('"') => {
            let end = value.rfind('"')?;
            let mut value = value.to_owned();
            value.replace_range(end..=end, " ");
            value
        }
        _ => return None,
    };
    Some(format!("{key}={value}"))
}

fn with_straight_quotes(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    if !value.contains(['“', '”']) || value.contains('"') {
        return None;
    }
    // Each has three bytes.
    let value = value.replacen('“', "  \"", 1);
    let (before, after) = value.rsplit_once('”')?;
    Some(format!("{key}={before}\"  {after}"))
}

/// Words of prose: no table, and no `=`, or none after what could be a key.
fn as_comment(line: &str) -> Option<String> {
    let trimmed = line.trim_start();
    let first = trimmed.chars().next()?;
    if !first.is_alphanumeric() {
        return None;
    }
    if let Some((key, _)) = trimmed.split_once('=')
        && !key.trim().contains(char::is_whitespace)
    {
        return None;
    }
    let indent = &line[..line.len() - trimmed.len()];
    let rest = &trimmed[first.len_utf8()..];
    let pad = " ".repeat(first.len_utf8() - 1);
    Some(format!("{indent}#{pad}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repaired(text: &str) -> (String, usize) {
        let report = Report::default();
        let text = repair(text, &report);
        (text, report.count())
    }

    #[test]
    fn what_is_toml_stays_as_it_is() {
        for text in [
            "",
            "[a]\nb = \"\"\n",
            "a = \"\"\"\nx\"\"\"\n",
            "# ü\r\n[a]\r\n",
        ] {
            assert_eq!(repaired(text), (text.to_owned(), 0));
        }
    }

    #[test]
    fn what_was_meant_is_found() {
        for (broken, whole) in [
            (
                "[a]\n  Where the keys are\nb = 1",
                "[a]\n  #here the keys are\nb = 1",
            ),
            ("[a]\nÜber b = 1\nb = 2", "[a]\n# ber b = 1\nb = 2"),
            ("a = \"\"https://x\"\nb = 1", "a =  \"https://x\"\nb = 1"),
            (
                "a = \"https://x\"\"\r\nb = 1",
                "a = \"https://x\" \r\nb = 1",
            ),
            ("a = \"\"x\"\"", "a =  \"x\" "),
            ("a = “x”", "a =   \"x\"  "),
        ] {
            assert_eq!(repaired(broken), (whole.to_owned(), 1), "{broken}");
        }
    }

    #[test]
    fn all_of_several_are_mended_and_the_rest_is_left() {
        let (text, mended) = repaired("one two\na = \"\"b\"\nthree\nkey = \n");
        assert_eq!(mended, 3);
        assert!(text.ends_with("key = \n"), "{text}");
    }
}
