//! What the operator wrote, checked.
//!
//! Text → tree with places (`tree.rs`) → variables over it (`env.rs`) → [`Settings`] (`check.rs`). A file of
//! WSO2 API Microgateway becomes such a tree first (`microgateway/`).
//! Every mistake is found in one run; nothing starts while there is one.

mod api;
mod apim;
mod backend_jwt;
mod broker;
mod check;
mod credential;
mod env;
mod errors;
mod fingerprint;
mod headers;
mod hidden;
mod include;
mod jwt_issuer;
mod key_manager;
mod key_managers;
mod keystore;
mod limits;
mod listen;
mod microgateway;
mod oauth2;
mod pem;
mod policies;
mod problem;
mod process;
mod response_cache;
mod revocation;
mod route;
mod secret;
mod section;
mod settings;
mod subscriptions;
mod tracing;
mod tree;
mod upstream;

use std::path::Path;

use include::Included;
use microgateway::Translation;

pub use apim::EventHubSettings;
pub use broker::BrokerSettings;
pub use env::Environment;
pub use keystore::Keystore;
pub use listen::{ClientCertificates, ConnectionLimits, Listen, ServerCertificate, Unusable};
pub use policies::{PolicyFault, parse as parse_policies};
pub use problem::{Place, Problem, Problems, Report, Severity, Source};
pub use process::ProcessSettings;
pub use response_cache::ResponseCacheSettings;
pub use revocation::{RevocationListSettings, RevocationSettings};
pub use route::NO_ROUTE;
pub use settings::{
    AdminSettings, ApiSettings, ClientCertificate, ClientSettings, CredentialBearer,
    CredentialEncoding, CredentialSettings, EndpointSettings, GrantSettings, Introspection,
    JwtIssuerSettings, KeyManagerSettings, KeySource, LimitSettings, LogFormat, LogLevel,
    LogSettings, OAuth2Settings, PrivateKeyJwtSettings, RefreshSettings, Settings, TierSettings,
    TlsSettings, TokenCacheSettings, TracingSettings,
};
pub use subscriptions::{SourcePlace, SourceSettings, SubscriptionSettings, UrlSettings};
pub use upstream::{
    Balance, BreakerSettings, EjectionSettings, ExpectedStatus, HashKey, HealthCheckSettings,
    Protocol, RetrySettings, ServerSettings, TimeoutSettings, UpstreamSettings,
    UpstreamTlsSettings,
};

/// Settings that may be used, and what the operator should know about them.
pub struct Loaded {
    pub settings: Settings,
    /// Warnings only.
    pub warnings: Problems,
}

/// Reads a configuration from a file.
///
/// # Errors
/// All mistakes at once; a file that cannot be read is one.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, Problems> {
    match Source::read(path) {
        Ok(source) => load_source(source, environment),
        Err(fault) => Err(Problems {
            source: Source {
                name: path.display().to_string(),
                ..Source::default()
            },
            included: Vec::new(),
            list: vec![Problem {
                severity: Severity::Error,
                what: format!("the file cannot be read: {fault}"),
                place: Place::Nowhere,
                section: String::new(),
                hint: None,
            }],
        }),
    }
}

/// Reads a configuration from a text.
///
/// # Errors
/// All mistakes at once.
pub fn load_source(source: Source, environment: &Environment) -> Result<Loaded, Problems> {
    let report = Report::default();
    let (mut root, is_whole, arguments) = match is_original(&source) {
        false => {
            let root = tree::Table::parse(&source.text, 0, &report);
            (root, !report.has_errors(), None)
        }
        true => {
            let translation = microgateway::translate(&source, environment, &report);
            let Translation {
                root,
                is_whole,
                arguments,
                ..
            } = translation;
            (root, is_whole, Some(arguments))
        }
    };
    let mut included = match is_whole {
        false => Included::default(),
        true => include::read(&mut root, &source, &report),
    };
    // What a broken text means is guesswork: only what breaks it is told.
    let settings = match included.complete {
        false => None,
        true => {
            match arguments {
                None => environment.overlay(&mut root, &report),
                Some(arguments) => environment.overlay_own(&mut root, &arguments, &report),
            }
            let apis = api::expand(&mut root, &source, &mut included, &report);
            let settings = check::settings(root, &source, environment, &report);
            settings.map(|settings| Settings { apis, ..settings })
        }
    };
    let failed = report.has_errors();
    let problems = Problems {
        source,
        included: included.sources,
        list: report.into_problems(),
    };
    match settings {
        Some(settings) if !failed => Ok(Loaded {
            settings,
            warnings: problems,
        }),
        _ => Err(problems),
    }
}

/// A file of WSO2 API Microgateway as a text in our own form, with all that a gateway would say of it: mistakes
/// too, such as key stores that are not on this machine. Secrets are in it only `with_secrets`; in
/// their place are the names of variables for them.
///
/// # Errors
/// The file cannot be read, or is none of the original's.
pub fn migrate(
    path: &Path,
    environment: &Environment,
    with_secrets: bool,
) -> Result<(String, Problems), Problems> {
    let said = match load(path, environment) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    let translation = match is_original(&said.source) {
        true => microgateway::translate(&said.source, environment, &Report::default()),
        false => Translation::default(),
    };
    match translation.is_whole {
        true => Ok((translation.print(&said.source.name, with_secrets), said)),
        false if said.count(Severity::Error) > 0 => Err(said),
        false => Err(Problems {
            list: vec![Problem {
                severity: Severity::Error,
                what: "this is no file of WSO2 API Microgateway".to_owned(),
                place: Place::Nowhere,
                section: String::new(),
                hint: Some(
                    "its name is micro-gw.conf, or it has tables such as [listenerConfig]".into(),
                ),
            }],
            ..said
        }),
    }
}

/// By its name, or by tables that only the original has.
fn is_original(source: &Source) -> bool {
    microgateway::is_original(&source.name, &source.text)
}

/// What becomes of each key of WSO2 API Microgateway, as tables of Markdown.
pub fn keys_of_the_original() -> String {
    microgateway::as_markdown()
}

/// A name without case and underscores.
fn fold(name: &str) -> String {
    name.trim()
        .chars()
        .filter(|letter| *letter != '_')
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}
