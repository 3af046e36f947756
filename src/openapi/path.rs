//! Path templates as route patterns.

/// The pattern for a path of a document. `Err`: why there is none.
pub fn pattern(template: &str) -> Result<String, &'static str> {
    if !template.is_empty() && !template.starts_with('/') {
        return Err("a path begins with `/`");
    }
    let mut names = Vec::new();
    let mut pattern = String::with_capacity(template.len());
    let body = template.strip_prefix('/').unwrap_or(template);
    let last = body.split('/').count() - 1;
    for (position, segment) in body.split('/').enumerate() {
        pattern.push('/');
        match segment {
            "*" if position == last => pattern.push('*'),
            "" if position < last => return Err("it has an empty segment"),
            _ => {
                let start = pattern.len();
                add_segment(segment, &mut names, &mut pattern)?;
                match &pattern[start..] {
                    "." | ".." => return Err("it has a dot segment"),
                    added if added.starts_with(':') => return Err(AFTER_COLON),
                    _ => {}
                }
            }
        }
    }
    Ok(pattern)
}

const AFTER_COLON: &str = "a segment that begins with `:` cannot be told from a parameter";

/// Parameters get names that a pattern can have, and each its own.
fn add_segment(
    segment: &str,
    names: &mut Vec<String>,
    pattern: &mut String,
) -> Result<(), &'static str> {
    const UNBALANCED: &str = "its braces do not fit";
    let mut rest = segment;
    while let Some((literal, behind)) = rest.split_once('{') {
        let (name, behind) = behind.split_once('}').ok_or(UNBALANCED)?;
        add_literal(literal, pattern)?;
        let name = own_name(name, names);
        pattern.push('{');
        pattern.push_str(&name);
        pattern.push('}');
        names.push(name);
        rest = behind;
    }
    add_literal(rest, pattern)
}

fn add_literal(literal: &str, pattern: &mut String) -> Result<(), &'static str> {
    let literal = decoded(literal).ok_or("it has a broken `%` escape")?;
    if literal.contains('}') {
        return Err("its braces do not fit");
    }
    if literal.contains(['{', '*', '/', '\\', ';', '%', '?', '#'])
        || literal.contains(char::is_control)
    {
        return Err("it has one of `*`, `;`, `\\`, `%` or control characters");
    }
    pattern.push_str(&literal);
    Ok(())
}

fn own_name(name: &str, names: &[String]) -> String {
    let plain = |letter: char| match letter.is_ascii_alphanumeric() {
        true => letter,
        false => '_',
    };
    let name: String = name.chars().map(plain).collect();
    let name = match name.is_empty() {
        true => "p".to_owned(),
        false => name,
    };
    if !names.contains(&name) {
        return name;
    }
    let mut number = 2;
    loop {
        let numbered = format!("{name}_{number}");
        if !names.contains(&numbered) {
            return numbered;
        }
        number += 1;
    }
}

/// The same for what stands before the paths of a document, as [`base`] gives it. Its parameters have names of their own.
///
/// # Errors
/// Why there is none.
pub fn base_pattern(base: &str) -> Result<String, &'static str> {
    match base {
        "" => Ok(String::new()),
        base if base.ends_with("/*") => Err("it ends in `*`"),
        base => pattern(&base.replace('{', "{base_")),
    }
}

/// Without percent escapes; `None` where one is broken.
pub fn decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        match (first, behind) {
            (b'%', [high, low, behind @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
                rest = behind;
            }
            (b'%', _) => return None,
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// A base path as it is put before others: with a slash in front and none behind, so that the root is empty. What stands
/// behind `?` or `#` goes.
pub fn base(text: &str) -> String {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let path = path.trim().trim_matches('/');
    match path.is_empty() {
        true => String::new(),
        false => format!("/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PathPattern;

    #[test]
    fn templates_become_patterns() {
        for (template, expected) in [
            ("/pets", "/pets"),
            ("/", "/"),
            ("", "/"),
            ("/pets/", "/pets/"),
            ("/pets/{petId}", "/pets/{petId}"),
            ("/{pet-id}/{pet_id}", "/{pet_id}/{pet_id_2}"),
            ("/{a}.{b}/x", "/{a}.{b}/x"),
            ("/{}/{}", "/{p}/{p_2}"),
            ("/jobs/{id}:cancel", "/jobs/{id}:cancel"),
            ("/a%20b/caf%C3%A9", "/a b/caf\u{e9}"),
            ("/v1/*", "/v1/*"),
            ("/near/.{ext}", "/near/.{ext}"),
        ] {
            assert_eq!(pattern(template).as_deref(), Ok(expected), "{template}");
            assert!(PathPattern::parse(expected).is_ok(), "{expected}");
        }
        assert_eq!(base_pattern("").as_deref(), Ok(""));
        assert_eq!(base_pattern("/{id}/v1").as_deref(), Ok("/{base_id}/v1"));
        assert!(base_pattern("/v1/*").is_err());
    }

    #[test]
    fn what_no_pattern_can_say_is_told() {
        for template in [
            "pets",
            "/a//b",
            "/{a",
            "/a}",
            "/a/*/b",
            "/a*",
            "/a/../b",
            "/a/%2e%2e/b",
            "/a%2fb",
            "/a%",
            "/:x",
            "/%3Ax",
            "/:{x}",
            "/a;b",
        ] {
            assert!(pattern(template).is_err(), "{template}");
        }
    }

    #[test]
    fn bases_have_no_slash_at_the_end() {
        for (text, expected) in [
            ("", ""),
            ("/", ""),
            ("v1/", "/v1"),
            ("//v1//", "/v1"),
            ("/v1?x", "/v1"),
        ] {
            assert_eq!(base(text), expected, "{text}");
        }
    }
}
