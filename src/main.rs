//! The program: everything is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// A request is a few dozen short-lived allocations, which this allocator is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    portcullis::cli::main()
}
