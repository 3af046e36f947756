//! Tells the program which revision and compiler it was built from, for `portcullis_build_info`.

use std::process::Command;

#[allow(clippy::disallowed_methods)] // a build script has no config/env.rs
fn main() {
    let revision = first_line("git", &["rev-parse", "--short=12", "HEAD"]);
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let compiler = first_line(&rustc, &["--version"]);
    println!("cargo::rustc-env=PORTCULLIS_REVISION={revision}");
    println!("cargo::rustc-env=PORTCULLIS_RUSTC={compiler}");
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=build.rs");
}

/// What a command says of itself; `unknown` where there is no such command or no repository.
fn first_line(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output().ok();
    output
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .and_then(|text| text.lines().next().map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned())
}
