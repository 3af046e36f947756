//! What the operator wrote, checked.
//!
//! Text → tree with places (`tree.rs`) → variables over it (`env.rs`) → [`Settings`] (`check.rs`).
//! Every mistake is found in one run; nothing starts while there is one.

mod api;
mod check;
mod credential;
mod env;
mod errors;
mod fingerprint;
mod headers;
mod hidden;
mod include;
mod key_manager;
mod keystore;
mod limits;
mod listen;
mod oauth2;
mod pem;
mod policies;
mod problem;
mod process;
mod response_cache;
mod route;
mod secret;
mod section;
mod settings;
mod tracing;
mod tree;
mod upstream;

use std::path::Path;

use include::Included;

pub use env::Environment;
pub use keystore::Keystore;
pub use listen::{ClientCertificates, ConnectionLimits, Listen, ServerCertificate, Unusable};
pub use policies::{PolicyFault, parse as parse_policies};
pub use problem::{Place, Problem, Problems, Report, Severity, Source};
pub use route::NO_ROUTE;
pub use settings::{
    AdminSettings, ApiSettings, ClientCertificate, ClientSettings, CredentialBearer,
    CredentialEncoding, CredentialSettings, EndpointSettings, GrantSettings, KeyManagerSettings,
    LimitSettings, LogFormat, LogLevel, LogSettings, OAuth2Settings, PrivateKeyJwtSettings,
    ProcessSettings, RefreshSettings, ResponseCacheSettings, Settings, TierSettings, TlsSettings,
    TokenCacheSettings, TracingSettings,
};
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
    let mut root = tree::Table::parse(&source.text, 0, &report);
    let mut included = match report.has_errors() {
        true => Included::default(),
        false => include::read(&mut root, &source, &report),
    };
    // What a broken text means is guesswork: only what breaks it is told.
    let settings = match included.complete {
        false => None,
        true => {
            environment.overlay(&mut root, &report);
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

/// A name without case and underscores.
fn fold(name: &str) -> String {
    name.trim()
        .chars()
        .filter(|letter| *letter != '_')
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}
