//! `portcullis migrate`: a file of WSO2 API Microgateway in our own form, on standard output.

use std::path::PathBuf;

use super::{Exit, refuse};
use crate::config::{self, Environment, Severity};

#[derive(clap::Args)]
pub struct Arguments {
    /// The micro-gw.conf
    file: PathBuf,
    /// Folder of a project of WSO2 API Microgateway
    #[arg(long, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// Print secrets as they are, instead of names of variables for them
    #[arg(long)]
    with_secrets: bool,
}

/// Prints the text, and on standard error what is said of the file.
pub fn run(arguments: &Arguments, environment: &Environment) -> Exit {
    match config::migrate(&arguments.file, environment, arguments.with_secrets) {
        Ok((text, said)) => {
            eprint!("{said}");
            print!("{text}");
            match said.count(Severity::Error) {
                0 => Exit::Done,
                _ => Exit::BadConfig,
            }
        }
        Err(problems) => refuse(&problems, "nothing was printed"),
    }
}
