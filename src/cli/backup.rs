//! `roster backup FILE`

use std::io::Write as _;
use std::path::PathBuf;

use super::{Failure, database_file};
use crate::config::{self, Flags};
use crate::store::backup::{self, BackupError};

/// Where the copy goes.
#[derive(Debug, clap::Args)]
pub struct Backup {
    /// The new file; nothing that is there is overwritten
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

impl Backup {
    /// Copies the database beside whatever runs on it.
    pub async fn run(self, flags: &Flags) -> Result<(), Failure> {
        let config = config::values(flags).keep(&["DATABASE_URL"]).check()?;
        let database = database_file(&config.database)?;
        let bytes = backup::copy(&database, &self.file).await.map_err(|error| match error {
            taken @ (BackupError::Exists(_) | BackupError::Reserved(_) | BackupError::UnderWay(_)) => {
                Failure::Failed(taken.into())
            }
            error => Failure::Failed(anyhow::Error::from(error).context("no backup was made")),
        })?;
        let megabytes = bytes.div_ceil(1 << 20);
        // Whoever closed the pipe does not want to know.
        let _ = writeln!(
            std::io::stdout(),
            "{} is a copy of {}, checked, {megabytes} MiB. It names people: keep it as safe as the original.",
            self.file.display(),
            database.display()
        );
        Ok(())
    }
}
