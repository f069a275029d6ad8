//! `roster`: parse, dispatch, exit code; nothing else.

use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    roster::cli::run(roster::cli::Cli::parse()).await
}
