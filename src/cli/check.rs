//! `portcullis check`: what is wrong with a configuration, without starting anything.

use std::path::PathBuf;

use super::Exit;
use crate::config::{self, Environment, Loaded, Problems, Settings, Severity};

/// Checks each file; the worst result counts.
pub fn run(files: &[PathBuf], deny_warnings: bool) -> Exit {
    let environment = Environment::of_process();
    let mut exit = Exit::Done;
    for file in files {
        let passed = match config::load(file, &environment) {
            Ok(Loaded { settings, warnings }) => {
                eprint!("{warnings}");
                println!("{}", verdict(&settings, &warnings));
                !deny_warnings || warnings.count(Severity::Warning) == 0
            }
            Err(problems) => {
                eprint!("{problems}");
                println!("{}: {}", problems.source.name, problems.summary());
                false
            }
        };
        if !passed {
            exit = Exit::BadConfig;
        }
    }
    exit
}

fn verdict(settings: &Settings, warnings: &Problems) -> String {
    let name = &warnings.source.name;
    let routes = settings.routes.routes().len();
    let plural = if routes == 1 { "" } else { "s" };
    let key_manager = match &settings.key_manager {
        Some(key_manager) => format!("key manager {}", key_manager.name),
        None => "no key manager".to_owned(),
    };
    let mut text = format!(
        "{name}: ok: listens on {}, {key_manager}, {routes} route{plural}",
        settings.listen.http
    );
    if !warnings.list.is_empty() {
        text.push_str(&format!("; {}", warnings.summary()));
    }
    text
}
