//! The command line: what was asked for, done, and told by an exit code.

mod api_manager;
mod check;
mod introspect;
mod logging;
mod migrate;
mod online;
mod reload;
mod routes;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    config::{self, Environment, Loaded, Problems},
    demo,
    server::{Legacy, Loader, Server, StartFailure, Until},
};

const DEFAULT_CONFIG: &str = "conf/portcullis.toml";
const DEFAULT_DEMO_PORT: u16 = 8080;

/// Exit codes: 0 done, 1 run-time failure or a token that is not active, 2 wrong command line (by
/// clap), and those of sysexits.h for what a script wants to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done,
    Failed,
    /// `EX_UNAVAILABLE`: the key manager cannot be reached.
    KeyManagerUnavailable,
    /// `EX_NOPERM`: it refuses the gateway's credentials.
    CredentialsRefused,
    /// `EX_CONFIG`: the configuration is wrong.
    BadConfig,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::KeyManagerUnavailable => 69,
            Exit::CredentialsRefused => 77,
            Exit::BadConfig => 78,
        })
    }
}

/// An edge gateway that lets a request through only when its OAuth2 token is good.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway in the foreground
    ///
    /// FILE may be a micro-gw.conf of WSO2 API Microgateway 3.x.
    ///
    /// Arguments of the form --TABLE.KEY=VALUE count over file and environment.
    Run {
        #[command(flatten)]
        file: File,
        /// Take the place of the gateway that runs, once it gets SIGQUIT
        #[arg(long)]
        upgrade: bool,
    },
    /// Check configuration files: all problems at once, nothing is started, nothing is asked
    #[command(alias = "validate")]
    Check {
        #[arg(default_value = DEFAULT_CONFIG)]
        files: Vec<PathBuf>,
        /// Folder of a project of WSO2 API Microgateway, for its micro-gw.conf
        #[arg(long, value_name = "DIR")]
        project: Option<PathBuf>,
        /// Let warnings fail the check too
        #[arg(long)]
        deny_warnings: bool,
        /// Also ask each file's key manager and API Manager, with their credentials
        #[arg(long)]
        online: bool,
        /// Also list all routes: name, requests, what callers need, where they go
        #[arg(long)]
        routes: bool,
    },
    /// Let the running gateway take up its changed file; a bad one changes nothing
    Reload {
        #[command(flatten)]
        file: File,
    },
    /// Ask the key manager about a token, which is read from standard input or a file
    ///
    /// A token on the command line could be read by everybody on this machine, so it cannot be
    /// given there.
    Introspect(introspect::Arguments),
    /// Print a micro-gw.conf of WSO2 API Microgateway as a configuration of Portcullis
    Migrate(migrate::Arguments),
    /// See it work: gateway, fake key manager and echo upstream in one process
    Demo {
        /// Write the configuration that the demo runs with into a folder, and end
        #[arg(long, value_name = "DIR")]
        write: Option<PathBuf>,
        /// First of four ports
        #[arg(long, default_value_t = DEFAULT_DEMO_PORT)]
        port: u16,
    },
}

/// A configuration, and what goes with it.
#[derive(clap::Args)]
struct File {
    /// The configuration
    #[arg(default_value = DEFAULT_CONFIG)]
    file: PathBuf,
    /// The same, as an option
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
    /// Folder of a project of WSO2 API Microgateway, for its micro-gw.conf
    #[arg(long, value_name = "DIR")]
    project: Option<PathBuf>,
}

/// Does what the command line asks for.
pub fn main() -> ExitCode {
    let (rest, keys) = split_keys(std::env::args_os());
    let environment = |project| Environment::of_process().told(keys.clone(), project);
    match Arguments::parse_from(rest).command {
        Command::Run { file, upgrade } => {
            let environment = environment(file.project);
            run(file.config.unwrap_or(file.file), environment, upgrade)
        }
        Command::Reload { file } => {
            let environment = environment(file.project);
            reload::run(&file.config.unwrap_or(file.file), &environment)
        }
        Command::Check {
            files,
            project,
            deny_warnings,
            online,
            routes,
        } => {
            logging::init(config::LogLevel::Warn);
            check::run(&files, &environment(project), deny_warnings, online, routes)
        }
        Command::Introspect(arguments) => {
            logging::init(config::LogLevel::Warn);
            introspect::run(&arguments, &environment(None))
        }
        Command::Migrate(arguments) => {
            migrate::run(&arguments, &environment(arguments.project.clone()))
        }
        Command::Demo { write, port } => match &keys[..] {
            [] => run_demo(write, port),
            [(key, _), ..] => {
                eprintln!("error: the demo has keys of its own: --{key} changes nothing");
                return ExitCode::from(2);
            }
        },
    }
    .into()
}

/// Takes `--table.key=value` out of the arguments: WSO2 API Microgateway's way to set single keys.
fn split_keys(arguments: impl Iterator<Item = OsString>) -> (Vec<OsString>, Vec<(String, String)>) {
    let mut keys = Vec::new();
    let rest = arguments.filter(|argument| {
        let key = argument.to_str().and_then(|argument| {
            let (name, value) = argument.strip_prefix("--")?.split_once('=')?;
            let is_key = name.contains('.') && name.split('.').all(|part| !part.is_empty());
            is_key.then(|| (name.to_owned(), value.to_owned()))
        });
        let is_other = key.is_none();
        keys.extend(key);
        is_other
    });
    (rest.collect(), keys)
}

fn run(file: PathBuf, environment: Environment, upgrade: bool) -> Exit {
    let Loaded { settings, warnings } = match config::load(&file, &environment) {
        Ok(loaded) => loaded,
        Err(problems) => return refuse(&problems, "nothing was started"),
    };
    eprint!("{warnings}");
    // With it goes the text of the file, and what secrets stood in it.
    drop(warnings);
    let counting = logging::init(settings.log.level);
    let loader: Loader = Box::new(move || config::load(&file, &environment));
    let legacy = upgrade.then(|| Legacy::take(&settings.process.upgrade_socket));
    let (inherited, predecessor) = match legacy.transpose() {
        Ok(legacy) => legacy.map(Legacy::split).unzip(),
        Err(fault) => return tell(&fault.into()),
    };
    let inherited = inherited.unwrap_or_default();
    match Server::build(
        settings,
        Some(loader),
        inherited,
        Box::new(std::io::stdout()),
    ) {
        Ok(server) => {
            count_panics(&server);
            counting.into_metrics(server.metrics());
            server.run(Until::Signals, || {
                tracing::info!("listening");
                if let Some(predecessor) = predecessor {
                    Legacy::ready(predecessor);
                }
            });
            Exit::Done
        }
        Err(failure) => tell(&failure),
    }
}

fn run_demo(write: Option<PathBuf>, port: u16) -> Exit {
    let ports = match demo::Ports::from_base(port) {
        Ok(ports) => ports,
        Err(fault) => return tell(&fault.into()),
    };
    let result = match write {
        Some(folder) => demo::write(&folder, ports).map_err(StartFailure::from),
        None => {
            logging::init(config::LogLevel::Warn);
            demo::run(ports)
        }
    };
    match result {
        Ok(()) => Exit::Done,
        Err(failure) => tell(&failure),
    }
}

/// Prints what is wrong with a configuration.
fn refuse(problems: &Problems, consequence: &str) -> Exit {
    eprint!("{problems}");
    eprintln!(
        "{}: {}; {consequence}",
        problems.source.name,
        problems.summary()
    );
    Exit::BadConfig
}

fn tell(failure: &StartFailure) -> Exit {
    eprintln!("error: {failure}");
    match failure {
        StartFailure::KeyManagerUnknown(_) => Exit::KeyManagerUnavailable,
        StartFailure::Other(_) => Exit::Failed,
    }
}

/// Pingora leaves panics to the runtime, which says nothing of them: they are counted, and logged
/// without their message, which could repeat what a request carried.
fn count_panics(server: &Server) {
    let metrics = server.metrics();
    std::panic::set_hook(Box::new(move |panic| {
        metrics.panics.inc();
        let place = panic.location().map(ToString::to_string);
        tracing::error!(
            place = place.as_deref().unwrap_or("?"),
            "panic: please report it"
        );
    }));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn keys_are_told_from_options() {
        let arguments = [
            "portcullis",
            "run",
            "--a.b=c=d",
            "--config",
            "x",
            "--a=b",
            "--.=x",
            "a.b=c",
        ];
        let (rest, keys) = split_keys(arguments.into_iter().map(OsString::from));
        assert_eq!(rest.len(), 7);
        assert_eq!(keys, [("a.b".to_owned(), "c=d".to_owned())]);
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
