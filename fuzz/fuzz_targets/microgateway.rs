//! A file of WSO2 API Microgateway: any text, with one argument over it when the first line is `--key=value`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::config::{Environment, Severity, Source, load_source};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Stores and secrets are read from files: devices that never end are no business of this target, nor
    // is what other files say.
    if text.contains("/dev") || text.contains("/proc") || text.contains("include") {
        return;
    }
    let (argument, text) = match text.split_once('\n') {
        Some((line, rest)) if line.starts_with("--") => (line[2..].split_once('='), rest),
        _ => (None, text),
    };
    let arguments = argument.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let environment = Environment::default().told(arguments.into_iter().collect(), None);
    let source = Source {
        name: "micro-gw.conf".to_owned(),
        text: text.to_owned(),
        ..Source::default()
    };
    match load_source(source, &environment) {
        Ok(loaded) => {
            assert_eq!(loaded.warnings.count(Severity::Error), 0);
            let _ = loaded.warnings.to_string();
        }
        Err(problems) => {
            assert!(
                problems.count(Severity::Error) > 0,
                "refused without a reason"
            );
            assert!(!problems.to_string().is_empty());
        }
    }
});
