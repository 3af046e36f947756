//! Files of WSO2 API Microgateway, and what becomes of them: `tests/microgateway/*.conf`, each with a
//! `.said` (the messages) and a `.toml` (what `migrate` prints). `PORTCULLIS_UPDATE=1 cargo test --test
//! microgateway` writes both anew. Comments at the top: `# env NAME=value`, `# argument key=value`,
//! `# file NAME` for a store of `tests/keystores`, `# file NAME from STORE` for a certain one, `# file NAME = TEXT`
//! with `\n` in it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use portcullis::config::{
    Environment, Severity, Source, keys_of_the_original, load, load_source, migrate,
};

/// Leaked: the cases are few, and the environment wants names that live.
fn environment(text: &str) -> Environment {
    let mut arguments = Vec::new();
    let mut variables = Vec::new();
    for line in text.lines() {
        if let Some((name, value)) = line
            .strip_prefix("# env ")
            .and_then(|line| line.split_once('='))
        {
            variables.push((name, value));
        }
        if let Some((name, value)) = line
            .strip_prefix("# argument ")
            .and_then(|line| line.split_once('='))
        {
            arguments.push((name.to_owned(), value.to_owned()));
        }
    }
    let environment = match variables[..] {
        [] => Environment::default(),
        [one] => Environment::from([one]),
        [one, two] => Environment::from([one, two]),
        [one, two, three] => Environment::from([one, two, three]),
        [one, two, three, four] => Environment::from([one, two, three, four]),
        _ => panic!("no case has more than four variables"),
    };
    environment.told(arguments, None)
}

#[test]
fn each_file_becomes_what_it_became() {
    #[allow(clippy::disallowed_methods)] // a switch of this test, not of the program
    let update = std::env::var("PORTCULLIS_UPDATE").is_ok();
    let mut cases = 0;
    for entry in fs::read_dir("tests/microgateway").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "conf") {
            continue;
        }
        cases += 1;
        let text = fs::read_to_string(&path).unwrap();
        let (said, toml) = become_ours(&text);
        for (extension, made) in [("said", said), ("toml", toml)] {
            let expected = path.with_extension(extension);
            match update {
                true => fs::write(&expected, made).unwrap(),
                false => assert_eq!(
                    made,
                    fs::read_to_string(&expected).unwrap_or_default(),
                    "{}",
                    expected.display()
                ),
            }
        }
    }
    assert!(cases >= 10, "{cases} cases were found");
}

/// What is said of a file, and what is printed. The printed text with its secrets says the same as the
/// file.
fn become_ours(text: &str) -> (String, String) {
    let folder = Folder::new();
    let file = folder.write("conf/micro-gw.conf", text.as_bytes());
    for name in text.lines().filter_map(|line| line.strip_prefix("# file ")) {
        let (name, bytes) = match (name.split_once(" = "), name.split_once(" from ")) {
            (Some((name, words)), _) => (name, words.replace("\\n", "\n").into_bytes()),
            (None, Some((name, store))) => (name, store_of_tests(store)),
            (None, None) if name.contains("rust") => (name, store_of_tests("one-round-legacy.p12")),
            (None, None) => (name, store_of_tests("one-round.p12")),
        };
        folder.write(name, &bytes);
    }
    let environment = environment(text);
    let hidden = |text: String| text.replace(&folder.prefix(), "");
    let (printed, said) = match migrate(&file, &environment, false) {
        Ok((printed, said)) => (printed, said),
        Err(problems) => return (hidden(problems.to_string()), String::new()),
    };
    if said.count(Severity::Error) == 0 {
        let direct = load(&file, &environment).unwrap_or_else(|problems| panic!("{problems}"));
        let (whole, _) = migrate(&file, &environment, true).unwrap();
        let source = Source {
            name: folder.path("conf/portcullis.toml").display().to_string(),
            text: whole,
            ..Source::default()
        };
        let again = load_source(source, &Environment::default())
            .unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(
            again.settings.fingerprint(),
            direct.settings.fingerprint(),
            "{printed}"
        );
    }
    for secret in ["s3cret", "changeit", "hunter2"] {
        assert!(!printed.contains(secret), "{printed}");
        assert!(!said.to_string().contains(secret), "{said}");
    }
    (hidden(said.to_string()), hidden(printed))
}

fn store_of_tests(name: &str) -> Vec<u8> {
    fs::read(format!("tests/keystores/{name}")).unwrap()
}

#[test]
fn the_page_has_every_key() {
    #[allow(clippy::disallowed_methods)] // a switch of this test, not of the program
    let update = std::env::var("PORTCULLIS_UPDATE").is_ok();
    let path = "docs/migrate-from-wso2.md";
    let page = fs::read_to_string(path).unwrap();
    let (before, after) = page.split_once("\n## Every key\n\n").unwrap();
    let (_, after) = after.split_once("\n## ").unwrap();
    let whole = format!(
        "{before}\n## Every key\n\n{}\n## {after}",
        keys_of_the_original().trim_end().to_owned() + "\n"
    );
    if update {
        fs::write(path, whole).unwrap();
    } else {
        assert!(
            page == whole,
            "{path} is not what the code does: PORTCULLIS_UPDATE=1 writes it"
        );
    }
}

#[test]
fn no_text_is_too_odd() {
    for text in [
        "\0",
        "[[listenerConfig]]",
        "listenerConfig = 3",
        "[keyManager]\nserverUrl = [[[]]]\n[keymanager]\nserverUrl = {}",
        "[jwtTokenConfig]\n[[jwtTokenConfig]]",
        "[b7a.users]\na = {b = {c = 1}}",
        "[caching]\ntokenCacheExpiryTime = -99999999999999999999",
        "[caching]\ntokenCacheExpiryTime = -9223372036854775808\ntokenCacheCapacity = 0",
        "[listenerConfig]\nhttpPort = \"@env:{\"\nhost = \"@encrypted:{}\"",
        "[server]\ntimestampSkew = 1e9",
        "“",
        "= \"\"\"",
        "a\n\"\"b\n“c”\n",
    ] {
        let source = Source {
            name: "micro-gw.conf".to_owned(),
            text: text.to_owned(),
            ..Source::default()
        };
        let said = match load_source(source, &Environment::default()) {
            Ok(loaded) => loaded.warnings.to_string(),
            Err(problems) => problems.to_string(),
        };
        assert!(!said.is_empty(), "{text}");
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("portcullis-microgateway-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn prefix(&self) -> String {
        format!("{}/", self.0.display())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path: PathBuf = self.path(name);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
