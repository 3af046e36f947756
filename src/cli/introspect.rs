//! `portcullis introspect`: what the key manager says of one token, and what that would mean.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::Context as _;

use super::{DEFAULT_CONFIG, Exit, online, refuse};
use crate::{
    auth::{Moment, life},
    config::{self, Environment, KeyManagerSettings, Settings},
    domain::{Access, AccessToken, Grant, Route, Secret, UnixSeconds, Verdict},
};

#[derive(clap::Args)]
pub struct Arguments {
    /// `-`: read the token from standard input
    #[arg(value_parser = ["-"], required_unless_present = "token_file", conflicts_with = "token_file")]
    stdin: Option<String>,
    /// Read the token from a file
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The gateway's configuration
    #[arg(long, default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Ask this one of [keyManagers], instead of whoever the token is one of by its look
    #[arg(long, value_name = "NAME")]
    key_manager: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Most that is read as a token, in bytes.
const MAX_INPUT: u64 = 64 * 1024;

pub fn run(arguments: &Arguments, environment: &Environment) -> Exit {
    let loaded = match config::load(&arguments.config, environment) {
        Ok(loaded) => loaded,
        Err(problems) => return refuse(&problems, "nothing was asked"),
    };
    match ask(arguments, &loaded.settings) {
        Ok(exit) => exit,
        Err(fault) => {
            eprintln!("error: {fault:#}");
            Exit::Failed
        }
    }
}

fn ask(arguments: &Arguments, settings: &Settings) -> anyhow::Result<Exit> {
    anyhow::ensure!(
        !settings.key_managers.is_empty(),
        "the configuration has no [keyManager] to ask"
    );
    let token = read_token(arguments.token_file.as_deref())?;
    let usual = match AccessToken::parse(token.expose().as_bytes()) {
        Ok(token) => settings.key_manager_of(token),
        Err(denial) => anyhow::bail!("this is no bearer token: {}", denial.detail()),
    };
    let key_manager = match &arguments.key_manager {
        Some(name) => settings
            .key_manager_named(name)
            .with_context(|| format!("there is no [keyManagers.{name}]"))?,
        None => {
            usual.context("only routes say who is asked about such a token: use --key-manager")?
        }
    };
    let asked = online::ask(key_manager, &token)?;
    let report = Report {
        settings,
        key_manager,
        usual,
        took: asked.took,
        now: Moment::now().unix,
    };
    Ok(match asked.result {
        Ok(Verdict::Active(grant)) => report.active(&grant, arguments.json),
        Ok(Verdict::Inactive) => report.inactive(arguments.json),
        Err(unavailable) => online::explain(key_manager, unavailable),
    })
}

/// Without the newline that `echo` and editors add.
fn read_token(file: Option<&Path>) -> anyhow::Result<Secret> {
    let mut text = zeroize::Zeroizing::new(String::new());
    match file {
        Some(path) => std::fs::File::open(path)
            .with_context(|| format!("cannot open {}", path.display()))?
            .take(MAX_INPUT)
            .read_to_string(&mut text),
        None => std::io::stdin().take(MAX_INPUT).read_to_string(&mut text),
    }
    .context("cannot read the token")?;
    Ok(Secret::new(text.trim()))
}

struct Report<'a> {
    settings: &'a Settings,
    key_manager: &'a KeyManagerSettings,
    /// Who is asked on routes that name nobody.
    usual: Option<&'a KeyManagerSettings>,
    took: Duration,
    now: UnixSeconds,
}

impl Report<'_> {
    fn active(&self, grant: &Arc<Grant>, json: bool) -> Exit {
        let life = life(grant, self.settings.token_cache.max_ttl, self.now);
        let routes = self.routes(grant);
        if json {
            let claims: serde_json::Map<String, serde_json::Value> = grant
                .claims()
                .iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect();
            let routes: serde_json::Map<String, serde_json::Value> = routes
                .iter()
                .map(|(name, outcome)| (name.clone(), (*outcome).into()))
                .collect();
            let report = serde_json::json!({
                "active": true,
                "claims": claims,
                "cached_for_seconds": life.as_secs(),
                "routes": routes,
            });
            println!("{report:#}");
            return Exit::Done;
        }
        println!("active      yes, {}", self.until(grant));
        self.print_answer();
        for (name, value) in grant.claims().iter().filter(|(name, _)| *name != "active") {
            println!("claim       {name} = {value}");
        }
        println!(
            "cached for  {} (token_cache.max_ttl is {})",
            humantime::format_duration(life),
            humantime::format_duration(self.settings.token_cache.max_ttl)
        );
        for (name, outcome) in routes {
            println!("route       {name}: {outcome}");
        }
        Exit::Done
    }

    fn inactive(&self, json: bool) -> Exit {
        if json {
            println!("{:#}", serde_json::json!({ "active": false }));
            return Exit::Failed;
        }
        println!("active      no: unknown, expired or revoked");
        self.print_answer();
        println!("hint        {}", online::inactive_hint(self.key_manager));
        Exit::Failed
    }

    fn print_answer(&self) {
        println!(
            "answered    by {} in {} ms",
            self.key_manager.name,
            self.took.as_millis()
        );
    }

    fn until(&self, grant: &Grant) -> String {
        let Some(exp) = grant.expires_at() else {
            return "without an end".to_owned();
        };
        let left = u64::try_from(exp.saturating_sub(self.now)).unwrap_or(0);
        let date = u64::try_from(exp)
            .ok()
            .and_then(|exp| UNIX_EPOCH.checked_add(Duration::from_secs(exp)))
            .filter(|_| exp < 253_402_300_800)
            .map(|date| humantime::format_rfc3339_seconds(date).to_string());
        match (left, date) {
            (0, _) => "but its exp has passed".to_owned(),
            (left, Some(date)) => format!(
                "until {date} (in {})",
                humantime::format_duration(Duration::from_secs(left))
            ),
            (_, None) => "until further notice".to_owned(),
        }
    }

    /// What each route would say, in the order of the file.
    fn routes(&self, grant: &Arc<Grant>) -> Vec<(String, &'static str)> {
        let verdict = Verdict::Active(Arc::clone(grant));
        let usual = self.usual.map(|usual| &*usual.name);
        let is_asked =
            |route: &Route| route.key_manager.as_deref().or(usual) == Some(&*self.key_manager.name);
        let outcome = |route: &Route| match &route.access {
            Access::Public => "public",
            Access::Token(_) if !is_asked(route) => "another_key_manager",
            Access::Token(policy) => match policy.check(&verdict, self.now, false) {
                Ok(_) => "passes",
                Err(denial) => denial.reason().word(),
            },
        };
        self.settings
            .routes
            .routes()
            .iter()
            .map(|route| (route.name.to_string(), outcome(route)))
            .collect()
    }
}
