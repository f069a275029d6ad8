//! `roster`: parse, dispatch, exit code; nothing else.

use std::process::ExitCode;

use clap::Parser as _;

/// Reads that miss the cache allocate a lot; `benches/README.md` has the figures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    roster::cli::run(roster::cli::Cli::parse()).await
}
