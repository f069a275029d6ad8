//! `roster`: parse, dispatch, exit code; nothing else.

use std::process::ExitCode;

use clap::Parser as _;

/// Reads that miss the cache allocate a lot, and so does SQLite, for which it stands in too; `benches/README.md` has the
/// figures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    roster::cli::run(roster::cli::Cli::parse()).await
}
