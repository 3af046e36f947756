//! Configurations and what is said of them: `tests/config/*.case`, each a TOML text, a line `----`,
//! and the messages. A line `==== NAME` begins another file. `PORTCULLIS_UPDATE=1 cargo test --test config` writes the messages anew.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use portcullis::config::{Environment, KeyManagerSettings, Loaded, Source, load, load_source};

#[test]
fn each_case_says_what_it_said() {
    #[allow(clippy::disallowed_methods)] // a switch of this test, not of the program
    let update = std::env::var("PORTCULLIS_UPDATE").is_ok();
    let mut cases = 0;
    for entry in fs::read_dir("tests/config").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "case") {
            continue;
        }
        cases += 1;
        let case = fs::read_to_string(&path).unwrap();
        let (input, expected) = case.split_once("----\n").unwrap_or((&case, ""));
        let said = say(input);
        if update {
            fs::write(&path, format!("{input}----\n{said}")).unwrap();
        } else {
            assert_eq!(said, expected, "{}", path.display());
        }
    }
    assert!(cases >= 8, "{cases} cases were found");
}

/// The messages, and `ok` where the text may be used. Variables stand in comments at the top:
/// `# env NAME=value`.
fn say(input: &str) -> String {
    let mut environment = Vec::new();
    for line in input.lines() {
        if let Some(variable) = line.strip_prefix("# env ") {
            environment.push(variable.split_once('=').unwrap());
        }
    }
    let environment = match environment[..] {
        [] => Environment::default(),
        [one] => Environment::from([one]),
        [one, two] => Environment::from([one, two]),
        [one, two, three] => Environment::from([one, two, three]),
        _ => panic!("no case has more than three variables"),
    };
    let folder = Folder::new();
    let mut files = input.split("==== ");
    let source = Source {
        name: format!("{}case.toml", folder.prefix()),
        text: files.next().unwrap().to_owned(),
        ..Source::default()
    };
    for file in files {
        let (name, text) = file.split_once('\n').unwrap();
        folder.write(name, text);
    }
    let said = say_of(source, &environment);
    said.replace(&folder.prefix(), "")
}

fn asked(key_managers: &[KeyManagerSettings]) -> String {
    let of = |known: &KeyManagerSettings| known.endpoint.url().to_string();
    match key_managers {
        [] => "nobody".to_owned(),
        known => known.iter().map(of).collect::<Vec<_>>().join(", "),
    }
}

fn say_of(source: Source, environment: &Environment) -> String {
    match load_source(source, environment) {
        Ok(Loaded { settings, warnings }) => format!(
            "{warnings}ok: {} routes, {} upstreams, asks {}\n",
            settings.routes.routes().len(),
            settings.upstreams.len(),
            asked(&settings.key_managers)
        ),
        Err(problems) => format!("{problems}{}\n", problems.summary()),
    }
}

/// Where the files of one case are.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("portcullis-config-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn prefix(&self) -> String {
        format!("{}/", self.0.display())
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn included_files_are_read_each_time() {
    let folder = Folder::new();
    folder.write("main.toml", "include = [\"conf.d/*.toml\"]\n");
    let route = |path: &str| format!("[[route]]\npath = {path:?}\npublic = true\nrespond = {{}}\n");
    let load = || load(&folder.0.join("main.toml"), &Environment::default());
    folder.write("conf.d/a.toml", &route("/a"));
    assert_eq!(load().unwrap().settings.routes.routes().len(), 1);
    folder.write("conf.d/b.toml", &route("/b"));
    assert_eq!(load().unwrap().settings.routes.routes().len(), 2);
    folder.write("conf.d/b.toml", &route("/a"));
    let problems = load().err().unwrap().to_string();
    for file in ["conf.d/b.toml:1:1", "conf.d/a.toml:1:1"] {
        assert!(problems.contains(file), "{problems}");
    }
}

#[test]
fn no_text_is_too_odd() {
    let long = "a".repeat(100_000);
    for text in [
        "\0",
        "[[route]]\n[[route]]",
        "[route]\npath = \"/\"",
        "route = 7",
        "= = =",
        "[keyManager]\n[keymanager]\n[KEYMANAGER.security.basic]",
        "[[keyManager]]",
        "[listen]\nhttp = [1, {a = 2}]",
        "[token_cache]\nmax_entries = 99999999999999999999999999",
        "[token_cache]\nmax_entries = -1",
        "[log]\nlevel = 1979-05-27",
        &long,
        &format!("a = {}", "[".repeat(5_000)),
        "[[route]]\nidentity_headers = 7\nscopes = {any = []}\nmethods = []\npath = \"\"\nhost = \"\"",
    ] {
        let said = say(text);
        let summary = said.lines().last().unwrap_or_default();
        assert!(summary.contains(" error"), "{text:.40}: {said:.400}");
    }
}
