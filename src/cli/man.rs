//! `roster man`

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_mangen::Man as Page;

use super::{Cli, Failure};

/// Where the pages go.
#[derive(Debug, clap::Args)]
pub struct Man {
    /// Write one page for the program and one for each command into this folder
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
}

impl Man {
    /// Prints the page of the program, or writes all of them.
    pub fn run(self) -> Result<(), Failure> {
        if let Some(folder) = self.to {
            let failed = || format!("the pages cannot be written to {}", folder.display());
            std::fs::create_dir_all(&folder).with_context(failed)?;
            clap_mangen::generate_to(program(), &folder).with_context(failed)?;
        } else {
            // Written in one go: whoever closes the pipe early sees no half of a page.
            let mut page = Vec::new();
            Page::new(program()).render(&mut page).context("the page could not be written")?;
            std::io::stdout().write_all(&page).context("the page could not be printed")?;
        }
        Ok(())
    }
}

/// The short help leaves the settings out; a page has room for them.
fn program() -> clap::Command {
    Cli::command().mut_args(|arg| match arg.get_help().cloned() {
        Some(help) => arg.long_help(help),
        None => arg,
    })
}
