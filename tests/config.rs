//! Configurations and what is said of them: `tests/config/*.case`, each a TOML text, a line `----`,
//! and the messages. `PORTCULLIS_UPDATE=1 cargo test --test config` writes the messages anew.

use std::fs;

use portcullis::config::{Environment, Loaded, Source, load_source};

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
    let source = Source {
        name: "case.toml".to_owned(),
        text: input.to_owned(),
        world_readable: false,
    };
    match load_source(source, &environment) {
        Ok(Loaded { settings, warnings }) => format!(
            "{warnings}ok: {} routes, {} upstreams, asks {}\n",
            settings.routes.routes().len(),
            settings.upstreams.len(),
            settings
                .key_manager
                .map_or("nobody".to_owned(), |key_manager| key_manager
                    .endpoint
                    .url()
                    .to_string())
        ),
        Err(problems) => format!("{problems}{}\n", problems.summary()),
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
