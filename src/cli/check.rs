//! `portcullis check`: what is wrong with a configuration, without starting anything.

use std::path::PathBuf;

use super::{
    Exit, api_manager,
    online::{self, Asked},
    routes,
};
use crate::{
    config::{
        self, ApiSettings, Environment, KeyManagerSettings, Loaded, Problems, Settings, Severity,
    },
    domain::Secret,
};

/// Checks each file, with `asks` also by asking its key managers and its API Manager, with `lists` it lists the
/// routes; the last bad result counts.
pub fn run(
    files: &[PathBuf],
    environment: &Environment,
    deny_warnings: bool,
    asks: bool,
    lists: bool,
) -> Exit {
    let mut exit = Exit::Done;
    for file in files {
        let passed = match config::load(file, environment) {
            Ok(Loaded { settings, warnings }) => {
                eprint!("{warnings}");
                println!("{}", verdict(&settings, &warnings));
                for api in &settings.apis {
                    println!("  {}", of_api(api));
                }
                if lists {
                    print!("{}", routes::list(&settings));
                }
                if asks {
                    for key_manager in &settings.key_managers {
                        exit = worse(exit, ask(key_manager));
                    }
                    exit = worse(exit, api_manager::check(&settings));
                }
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

fn worse(one: Exit, other: Exit) -> Exit {
    match other {
        Exit::Done => one,
        other => other,
    }
}

/// Asks about a token that nobody has. Any verdict shows that address and credentials are right.
fn ask(key_manager: &KeyManagerSettings) -> Exit {
    let token = Secret::new(format!("portcullis-check-{:016x}", fastrand::u64(..)));
    match online::ask(key_manager, &token) {
        Ok(Asked {
            result: Ok(_),
            took,
        }) => {
            let name = &key_manager.name;
            println!(
                "key manager {name}: ok: gave a verdict in {} ms",
                took.as_millis()
            );
            Exit::Done
        }
        Ok(Asked {
            result: Err(unavailable),
            ..
        }) => online::explain(key_manager, unavailable),
        Err(fault) => {
            eprintln!("error: {fault:#}");
            Exit::KeyManagerUnavailable
        }
    }
}

/// What a description became.
fn of_api(api: &ApiSettings) -> String {
    let ApiSettings {
        name,
        file,
        title,
        version,
        ..
    } = api;
    let below = match api.base_path.as_str() {
        "" => "/",
        path => path,
    };
    let public = match api.public {
        0 => String::new(),
        public => format!(", {public} of them without a token"),
    };
    let count = api.operations;
    format!("{name}: {file}, {title:?} {version}: {count} operations below {below}{public}")
}

fn verdict(settings: &Settings, warnings: &Problems) -> String {
    let name = &warnings.source.name;
    let routes = settings.routes.routes().len();
    let plural = if routes == 1 { "" } else { "s" };
    let known: Vec<&str> = settings
        .key_managers
        .iter()
        .map(|known| &*known.name)
        .collect();
    let key_managers = match &known[..] {
        [] => "no key manager".to_owned(),
        [name] => format!("key manager {name}"),
        names => format!("key managers {}", names.join(", ")),
    };
    let mut text = format!(
        "{name}: ok: listens on {}, {key_managers}, {}{routes} route{plural}",
        settings.listen.places(),
        match settings.jwt_issuers.len() {
            0 => String::new(),
            1 => "1 issuer of JWTs, ".to_owned(),
            issuers => format!("{issuers} issuers of JWTs, "),
        },
    );
    if !warnings.list.is_empty() {
        text.push_str(&format!("; {}", warnings.summary()));
    }
    text
}
