//! The program: everything is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// A third less CPU for each request than the system's allocator (`docs/performance.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    portcullis::cli::main()
}
