//! The structure of the house, checked: imports point one way, foreign crates stay in their rooms,
//! files stay small. `ARCHITECTURE.md` says why.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A module may use those to its left, and itself.
const ORDER: &[&str] = &[
    "domain",
    "markup",
    "openapi",
    "config",
    "metrics",
    "lifecycle",
    "telemetry",
    "auth",
    "subscription",
    "feed",
    "upstream",
    "response_cache",
    "limits",
    "gateway",
    "listener",
    "admin",
    "server",
    "demo",
    "cli",
    "lib",
    "main",
];

/// Foreign crates, and the modules that may name them.
const ROOMS: &[(&str, &[&str])] = &[
    ("clap", &["cli"]),
    (
        "prometheus",
        &[
            "metrics",
            "auth",
            "upstream",
            "response_cache",
            "limits",
            "gateway",
            "listener",
        ],
    ),
    (
        "pingora",
        &[
            "upstream",
            "response_cache",
            "gateway",
            "listener",
            "admin",
            "server",
            "demo",
        ],
    ),
    ("socket2", &["listener"]),
    ("saphyr_parser", &["markup"]),
    ("lapin", &["feed"]),
    ("futures_util", &["feed"]),
    ("async_rs", &["feed"]),
    ("async_compat", &["feed"]),
    ("tokio_rustls", &["feed", "listener"]),
    ("toml", &["config", "feed"]),
    ("p12_keystore", &["config"]),
    ("x509_parser", &["config", "upstream"]),
    ("hyper_util", &["auth"]),
    ("hyper_rustls", &["auth"]),
    (
        "tokio",
        &[
            "lifecycle",
            "telemetry",
            "auth",
            "subscription",
            "feed",
            "upstream",
            "response_cache",
            "gateway",
            "listener",
            "server",
            "demo",
            "cli",
        ],
    ),
    ("tracing_subscriber", &["cli"]),
    ("mimalloc", &["main"]),
    ("brotli", &["gateway"]),
    ("flate2", &["gateway"]),
    ("zstd", &["gateway"]),
];

const MAX_LINES: usize = 400;

/// Without their test modules.
fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    collect(Path::new("src"), &mut files);
    assert!(files.len() > 30, "the sources were not found");
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
            (path, code.to_owned())
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// `src/config/env.rs` → `config`.
fn module(path: &Path) -> String {
    let inside = path.strip_prefix("src").unwrap();
    let first = inside.components().next().unwrap().as_os_str();
    first.to_str().unwrap().trim_end_matches(".rs").to_owned()
}

fn rank(module: &str) -> usize {
    ORDER
        .iter()
        .position(|other| *other == module)
        .unwrap_or_else(|| panic!("{module} has no place in the order of modules"))
}

/// The first words after each `prefix`, those in braces included.
fn used<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut found = Vec::new();
    for (position, _) in code.match_indices(prefix) {
        let rest = &code[position + prefix.len()..];
        if let Some(inside) = rest.strip_prefix('{') {
            found.extend(top_level(inside));
        } else {
            found.push(rest.split(|letter| !is_word(letter)).next().unwrap());
        }
    }
    found
}

/// The first word of each item between braces, without what is nested deeper.
fn top_level(inside: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut depth, mut start) = (1, 0);
    for (position, letter) in inside.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if (letter == ',' && depth == 1) || depth == 0 {
            items.push(inside[start..position].trim());
            start = position + 1;
        }
        if depth == 0 {
            break;
        }
    }
    items
        .into_iter()
        .filter(|item| !item.is_empty())
        .map(|item| item.split("::").next().unwrap().trim())
        .collect()
}

#[test]
fn imports_point_one_way() {
    for (path, code) in sources() {
        let own = module(&path);
        for other in used(&code, "crate::") {
            assert!(
                rank(other) <= rank(&own),
                "{}: {own} may not use {other}, which stands to its right",
                path.display()
            );
        }
    }
}

#[test]
fn foreign_crates_stay_in_their_rooms() {
    for (path, code) in sources() {
        let own = module(&path);
        for (name, rooms) in ROOMS {
            let named = code
                .match_indices(&format!("{name}::"))
                .any(|(position, _)| {
                    let before = code[..position].chars().next_back();
                    before.is_none_or(|letter| {
                        !letter.is_ascii_alphanumeric() && letter != '_' && letter != ':'
                    })
                });
            assert!(
                !named || rooms.contains(&own.as_str()),
                "{}: {name} belongs into {rooms:?}",
                path.display()
            );
        }
    }
}

#[test]
fn the_domain_is_pure() {
    const IMPURE: [&str; 8] = [
        "std::fs",
        "std::env",
        "std::net::Tcp",
        "SystemTime",
        "Instant",
        "async ",
        "tokio",
        "pingora",
    ];
    for (path, code) in sources() {
        if module(&path) != "domain" {
            continue;
        }
        let code: Vec<&str> = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        for word in IMPURE {
            assert!(
                !code.iter().any(|line| line.contains(word)),
                "{}: {word} has no place in the domain",
                path.display()
            );
        }
    }
}

#[test]
fn only_policy_makes_permits() {
    for (path, code) in sources() {
        let makes = code.contains("Permit {") && !path.ends_with("domain/policy.rs");
        assert!(!makes, "{} makes a permit", path.display());
    }
}

#[test]
fn there_are_no_globals() {
    for (path, code) in sources() {
        for line in code.lines() {
            let line = line.trim_start();
            let global = line.starts_with("static ") || line.starts_with("pub static ");
            let allowed = path.ends_with("src/main.rs") || line.contains("const {");
            assert!(!global || allowed, "{}: {line}", path.display());
        }
    }
}

#[test]
fn files_say_what_they_are_for_and_stay_small() {
    for (path, code) in sources() {
        assert!(
            code.starts_with("//!"),
            "{} opens without a word",
            path.display()
        );
        let lines = code.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
    }
}
