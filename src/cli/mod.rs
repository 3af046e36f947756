//! The command line: what was asked for, done, and told by an exit code.

mod check;
mod introspect;
mod logging;
mod online;
mod reload;
mod routes;

use std::{path::PathBuf, process::ExitCode};

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
    Run {
        #[arg(default_value = DEFAULT_CONFIG)]
        file: PathBuf,
        /// Take the place of the gateway that runs, once it gets SIGQUIT
        #[arg(long)]
        upgrade: bool,
    },
    /// Check configuration files: all problems at once, nothing is started, nothing is asked
    #[command(alias = "validate")]
    Check {
        #[arg(default_value = DEFAULT_CONFIG)]
        files: Vec<PathBuf>,
        /// Let warnings fail the check too
        #[arg(long)]
        deny_warnings: bool,
        /// Also ask each file's key manager, with the credentials of the file
        #[arg(long)]
        online: bool,
        /// Also list all routes: name, requests, what callers need, where they go
        #[arg(long)]
        routes: bool,
    },
    /// Let the running gateway take up its changed file; a bad one changes nothing
    Reload {
        /// The file that it runs with
        #[arg(default_value = DEFAULT_CONFIG)]
        file: PathBuf,
    },
    /// Ask the key manager about a token, which is read from standard input or a file
    ///
    /// A token on the command line could be read by everybody on this machine, so it cannot be
    /// given there.
    Introspect(introspect::Arguments),
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

/// Does what the command line asks for.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { file, upgrade } => run(file, upgrade),
        Command::Reload { file } => reload::run(&file),
        Command::Check {
            files,
            deny_warnings,
            online,
            routes,
        } => {
            logging::init(config::LogLevel::Warn);
            check::run(&files, deny_warnings, online, routes)
        }
        Command::Introspect(arguments) => {
            logging::init(config::LogLevel::Warn);
            introspect::run(&arguments)
        }
        Command::Demo { write, port } => run_demo(write, port),
    }
    .into()
}

fn run(file: PathBuf, upgrade: bool) -> Exit {
    let environment = Environment::of_process();
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
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
