//! `roster completions SHELL`

use std::io::Write as _;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use super::{Cli, Failure};

/// Prints the completions of one shell.
pub fn run(shell: Shell) -> Result<(), Failure> {
    // Written in one go: the generator would panic on a closed pipe.
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "roster", &mut script);
    std::io::stdout().write_all(&script).context("the completions could not be printed")?;
    Ok(())
}
