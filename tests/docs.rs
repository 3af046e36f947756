//! The documentation says what the code does: reasons, metrics, keys, defaults, outputs, links.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use http::StatusCode;
use portcullis::{
    auth::Unavailable,
    config::{Environment, Loaded, Settings, Source, load_source},
    domain::{Denial, Methods, Reason},
    metrics::Metrics,
};

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|fault| panic!("{path}: {fault}"))
}

fn load(text: &str) -> Loaded {
    let environment = Environment::from([("KEY_MANAGER_PASSWORD", "s3cret")]);
    load_source(Source::memory(text), &environment).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Both lists, so that the message names what is missing on either side.
fn assert_same(what: &str, code: &BTreeSet<String>, docs: &BTreeSet<String>) {
    let missing: Vec<_> = code.difference(docs).collect();
    let made_up: Vec<_> = docs.difference(code).collect();
    assert!(
        missing.is_empty() && made_up.is_empty(),
        "{what}: not documented {missing:?}, not there {made_up:?}"
    );
}

#[test]
fn every_reason_has_its_heading() {
    let code = Reason::ALL
        .iter()
        .map(|reason| reason.word().to_owned())
        .collect();
    let text = read("docs/reasons.md");
    let docs = text
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(str::to_owned)
        .collect();
    assert_same("reasons", &code, &docs);
    for reason in Reason::ALL {
        let (_, section) = text
            .split_once(&format!("\n### {}\n", reason.word()))
            .unwrap();
        let decision = format!("\n**Decision** {}. ", reason.decision().word());
        assert!(section.starts_with(&decision), "{}", reason.word());
    }
}

#[test]
fn statuses_of_the_reasons_are_those_of_the_code() {
    let text = read("docs/reasons.md");
    let assert_shown = |reason: Reason, status: StatusCode| {
        let heading = format!("\n### {}\n", reason.word());
        let section = text.split_once(&heading).unwrap().1;
        let shown = section.split_once("**Client sees** ").unwrap().1;
        assert!(shown.starts_with(status.as_str()), "{}", reason.word());
    };
    let required = Box::from("orders.read");
    for denial in [
        Denial::AudienceMismatch,
        Denial::Expired,
        Denial::Inactive { cached: false },
        Denial::Inactive { cached: true },
        Denial::InsufficientScope { required },
        Denial::IssuerMismatch,
        Denial::MalformedRequest,
        Denial::MalformedToken,
        Denial::MethodNotAllowed {
            allowed: Methods::ANY,
        },
        Denial::MultipleTokens,
        Denial::NotYetValid,
        Denial::NoToken,
        Denial::RouteNotFound,
        Denial::TokenTooLong,
        Denial::WrongTokenType,
    ] {
        assert_shown(denial.reason(), denial.status());
    }
    for unavailable in [
        Unavailable::Unreachable,
        Unavailable::Timeout,
        Unavailable::ServerError,
        Unavailable::RateLimited(None),
        Unavailable::ClientRefused,
        Unavailable::UnexpectedStatus(404),
        Unavailable::BadAnswer,
        Unavailable::TooLarge,
        Unavailable::Overloaded,
        Unavailable::Lost,
    ] {
        assert_shown(unavailable.reason(), unavailable.status());
    }
}

#[test]
fn every_metric_has_its_line() {
    let Loaded { settings, .. } = load(&read("conf/minimal.toml"));
    let metrics = Metrics::new(&settings).unwrap().encode().unwrap();
    let metrics = String::from_utf8(metrics).unwrap();
    let code = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter(|line| line.starts_with("portcullis_"))
        .map(|line| line.replacen(' ', " | ", 1))
        .collect();
    let docs = read("docs/metrics.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `portcullis_"))
        .map(|line| {
            let (name, rest) = line.split_once("` | ").unwrap();
            format!("portcullis_{name} | {}", rest.split(' ').next().unwrap())
        })
        .collect();
    assert_same("metrics", &code, &docs);
}

#[test]
fn every_metric_that_a_page_names_is_there() {
    let Loaded { settings, .. } = load(&read("conf/minimal.toml"));
    let metrics = Metrics::new(&settings).unwrap().encode().unwrap();
    let metrics = String::from_utf8(metrics).unwrap();
    for path in pages() {
        let text = fs::read_to_string(&path).unwrap();
        let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        for name in text.split(|letter| !word(letter)) {
            // A prefix, as in `portcullis_`, names nothing.
            if name.starts_with("portcullis_") && !name.ends_with('_') {
                assert!(metrics.contains(name), "{}: {name}", path.display());
            }
        }
    }
}

#[test]
fn the_readme_shows_the_nine_lines() {
    let text = read("conf/minimal.toml");
    assert_eq!(block(&read("README.md"), "```toml\n"), text);
    assert_eq!(
        text.lines().filter(|line| !line.trim().is_empty()).count(),
        9
    );
    let Loaded { warnings, .. } = load(&text);
    assert!(warnings.list.is_empty(), "{warnings}");
}

/// The first block that begins with `start`, without its last fence.
fn block<'a>(text: &'a str, start: &str) -> &'a str {
    let (_, rest) = text
        .split_once(start)
        .unwrap_or_else(|| panic!("no block begins with {start:?}"));
    rest.split("```").next().unwrap()
}

/// The file with all keys, as paragraphs: comments, and the key or table they are about.
fn reference(keep: impl Fn(&str, bool) -> bool) -> String {
    let text = read("conf/portcullis.toml");
    let mut lines = Vec::new();
    let mut comment = String::new();
    for line in text.lines() {
        match line.strip_prefix('#') {
            Some(key)
                if key.contains(" = ") && key.starts_with(|c: char| c.is_ascii_lowercase()) =>
            {
                let name = key.split(' ').next().unwrap();
                if keep(name, comment.contains("No default")) {
                    lines.push(key.to_owned());
                }
                comment.clear();
            }
            Some(prose) => comment.push_str(prose),
            None => {
                comment.clear();
                lines.push(line.to_owned());
            }
        }
    }
    lines.join("\n")
}

#[test]
fn defaults_in_the_file_are_those_of_the_code() {
    let bare = reference(|_, _| false);
    let with_defaults = reference(|_, example| !example);
    assert!(with_defaults.lines().count() >= bare.lines().count() + 14);
    assert_eq!(
        printed(&load(&bare).settings),
        printed(&load(&with_defaults).settings)
    );
    assert_eq!(load(&read("conf/portcullis.toml")).warnings.list, []);
}

fn printed(settings: &Settings) -> String {
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        settings.listen,
        settings.key_manager,
        settings.token_cache,
        settings.routes.routes(),
        settings.upstreams,
        settings.admin,
        settings.log
    )
}

#[test]
fn every_key_of_the_file_is_known() {
    let all = reference(|_, _| true);
    // Some keys exclude each other; that is not what is asked here.
    let problems = match load_source(Source::memory(all), &Environment::default()) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    for problem in &problems.list {
        assert!(
            problem.what.contains("given twice") || problem.what.contains("twice"),
            "{problems}"
        );
    }
}

#[test]
fn keys_of_the_file_are_those_of_the_reference() {
    let mut table = String::new();
    let mut file = BTreeSet::new();
    for line in reference(|_, _| true).lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_matches(['[', ']']).to_owned();
        } else if let Some((key, _)) = line.split_once(" = ") {
            file.insert(format!("{table}.{key}"));
        }
    }
    let mut docs = BTreeSet::new();
    for line in read("docs/configuration.md").lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            table = heading.trim_matches(['`', '[', ']']).to_owned();
        } else if let Some((key, _)) = line
            .strip_prefix("| `")
            .and_then(|line| line.split_once('`'))
        {
            docs.insert(format!("{table}.{key}"));
        }
    }
    assert!(file.len() > 30, "{file:?}");
    assert_same("keys", &file, &docs);
}

#[test]
fn defaults_of_the_reference_are_those_of_the_file() {
    let docs = read("docs/configuration.md");
    let defaults = reference(|_, example| !example);
    let given = reference(|_, _| false);
    for line in defaults.lines().filter(|line| !given.contains(line)) {
        let (key, value) = line.split_once(" = ").unwrap();
        let row = docs
            .lines()
            .find(|row| row.starts_with(&format!("| `{key}` | ")))
            .unwrap();
        let cell = row.split(" | ").nth(2).unwrap();
        assert_eq!(cell.trim_matches('`'), value, "{key}");
    }
}

#[test]
fn variables_of_the_reference_are_known() {
    let text = "[keyManager]\nserverUrl = \"http://localhost\"\n\
                [[route]]\nname = \"name\"\npath = \"/\"\nupstream = \"http://localhost\"\n";
    let docs = read("docs/configuration.md");
    let names: Vec<&str> = docs
        .split('`')
        .filter(|name| name.starts_with("PORTCULLIS__") || name.starts_with("keymanager_"))
        .filter(|name| {
            !name.contains(['=', ' '])
                && *name != "PORTCULLIS__"
                && *name != "PORTCULLIS__SECTION__KEY"
        })
        .collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        // Whatever is wrong with this value: the name is known, and the variable is what is read.
        let environment = Environment::from([(name, "\u{1}")]);
        let what = match load_source(Source::memory(text), &environment) {
            Ok(loaded) => loaded.warnings.to_string(),
            Err(problems) => problems.to_string(),
        };
        for wrong in ["unknown key", "names no key", "has this name"] {
            assert!(!what.contains(wrong), "{name}: {what}");
        }
    }
}

#[test]
fn help_is_shown_as_it_is_printed() {
    let page = read("docs/cli.md");
    for command in ["", "run ", "check ", "introspect ", "demo "] {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(arguments)
            .output()
            .unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        let shown = block(
            &page,
            &format!("```console\n$ portcullis {command}--help\n"),
        );
        assert_eq!(trimmed(&help), trimmed(shown), "{command}");
    }
}

fn trimmed(text: &str) -> Vec<&str> {
    text.trim_end().lines().map(str::trim_end).collect()
}

#[test]
fn the_readme_shows_what_check_says() {
    let folder = std::env::temp_dir().join(format!("portcullis-docs-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let text = read("conf/minimal.toml")
        .replace(":9443\"\n", ":9443\"\ntimeout = 2\n")
        .replace("upstream", "upsteam");
    let bad = format!("[listne]\nhttp = \"0.0.0.0:8080\"\n{text}");
    fs::write(folder.join("bad.toml"), bad).unwrap();
    let check = |folder: &Path, file: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["check", file])
            .env_clear()
            .env("KEY_MANAGER_PASSWORD", "s3cret")
            .current_dir(folder)
            .output()
            .unwrap();
        String::from_utf8([output.stderr, output.stdout].concat()).unwrap()
    };
    let readme = read("README.md");
    let shown = block(&readme, "```console\n$ portcullis check ");
    let (good, bad) = shown.split_once("\n\n$ portcullis check ").unwrap();
    for (folder, shown) in [(Path::new("."), good), (&folder, bad)] {
        let (file, shown) = shown.split_once('\n').unwrap();
        assert_eq!(check(folder, file).trim_end(), shown.trim_end());
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_readme_shows_the_demo_as_it_is() {
    let readme = read("README.md");
    let shown: Vec<&str> = block(&readme, "$ portcullis demo\n").lines().collect();
    let port = free_ports();
    let mut demo = Demo(
        portcullis(&["demo", "--port", &port.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let out = BufReader::new(demo.0.stdout.take().unwrap());
    let printed: Vec<String> = out
        .lines()
        .take(shown.len())
        .map(|line| with_default_ports(&line.unwrap(), port))
        .collect();
    assert_eq!(printed, shown);

    let folder = std::env::temp_dir().join(format!("portcullis-try-{}", std::process::id()));
    let shown = block(&readme, "```console\n$ portcullis demo --write try");
    let (_, shown) = shown
        .split_once("introspect --config try/portcullis.toml -\n")
        .unwrap();
    let written = portcullis(&["demo", "--port", &port.to_string(), "--write"])
        .arg(&folder)
        .output();
    assert!(written.unwrap().status.success());
    fs::write(folder.join("token"), "demo-read").unwrap();
    let output = portcullis(&[
        "introspect",
        "--token-file",
        "token",
        "--config",
        "portcullis.toml",
    ])
    .current_dir(&folder)
    .output()
    .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let printed = with_default_ports(&printed, port);
    assert_eq!(without_times(&printed), without_times(shown));
    fs::remove_dir_all(folder).unwrap();
}

fn portcullis(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(arguments);
    command
}

/// Ends with the test, however that ends.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn with_default_ports(text: &str, port: u16) -> String {
    (0..4).fold(text.to_owned(), |text, offset| {
        text.replace(
            &format!(":{}", port + offset),
            &format!(":{}", 8080 + offset),
        )
    })
}

/// Dates, times and durations differ from run to run.
fn without_times(text: &str) -> Vec<String> {
    let varies = ["yes, until", " in ", "exp = ", "iat = "];
    text.trim_end()
        .lines()
        .map(|line| {
            let end = varies
                .iter()
                .filter_map(|words| Some(line.find(words)? + words.len()))
                .min();
            line[..end.unwrap_or(line.len())].to_owned()
        })
        .collect()
}

/// The first of four that are free.
fn free_ports() -> u16 {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    (0..100)
        .map(|_| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        })
        .find(|port| *port < u16::MAX - 4 && (0..4).all(|offset| free(port + offset)))
        .unwrap()
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    assert!(pages.len() >= 12, "{pages:?}");
    let mut broken = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => page.clone(),
                _ => page.parent().unwrap().join(file),
            };
            let found = match anchor {
                "" => path.exists(),
                _ => fs::read_to_string(&path).is_ok_and(|text| has_heading(&text, anchor)),
            };
            if !found {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_file_that_a_page_names_is_there() {
    let mut missing = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        // Every second piece stands between backticks.
        for name in text.split('`').skip(1).step_by(2) {
            let folder = name.split('/').next().unwrap();
            let ours = ["src", "tests", "benches", "conf", "docs"].contains(&folder);
            let is_source = name.ends_with(".rs") && name.contains('/');
            if name.contains(['*', ' ', '\n']) || !(ours && name.contains('/') || is_source) {
                continue;
            }
            if !Path::new(name).exists() && !Path::new("src").join(name).exists() {
                missing.push(format!("{}: {name}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Anchors are made of headings: lower case, dashes for spaces, no punctuation.
fn has_heading(text: &str, anchor: &str) -> bool {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept =
                |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
            words
                .chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
                == anchor
        })
}

/// All pages of this repository.
fn pages() -> Vec<PathBuf> {
    fn collect(folder: &Path, pages: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                let foreign = name.starts_with('.') || name == "target" || name == "node_modules";
                if !foreign && name != "corpus" {
                    collect(&path, pages);
                }
            } else if name.ends_with(".md") {
                pages.push(path);
            }
        }
    }
    let mut pages = Vec::new();
    collect(Path::new("."), &mut pages);
    pages
}
