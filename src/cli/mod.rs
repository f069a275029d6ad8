//! The command line: a file per command.
//!
//! Every command ends in one of three ways: done (0), failed (1), or wrong usage or configuration (2).

pub mod backup;
pub mod completions;
pub mod dev;
pub mod doctor;
pub mod events;
pub mod health;
pub mod man;
pub mod migrate_store;
pub mod openapi;
mod paint;
pub mod reconcile;
pub mod replay;
pub mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::app::ClaimError;
use crate::config::{Database, Flags, Problems};
use crate::telemetry::causes;

/// A durable local copy of your Clerk users and organizations.
#[derive(Debug, Parser)]
#[command(
    name = "roster",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Every setting is a flag, an environment variable, a line of .env or a key of roster.toml: \
                  see `roster --help`.\n\n\
                  Exit codes: 0 done, 1 failed, 2 wrong usage or configuration."
)]
pub struct Cli {
    /// Settings, before or after the command.
    #[command(flatten)]
    pub settings: Flags,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service
    #[command(after_help = "Example: roster serve --listen 0.0.0.0:8080")]
    Serve,
    /// Run the service beside a simulated Clerk, with people in it, and print lines to try
    #[command(after_help = "Example: ROSTER_LISTEN=127.0.0.1:8081 roster dev")]
    Dev(dev::Dev),
    /// Compare the copy with Clerk, put right what differs, and say what did
    #[command(after_help = "Examples: roster reconcile --dry-run\n          roster reconcile --json")]
    Reconcile(reconcile::Reconcile),
    /// Send events from files to a running service, signed with the webhook secret
    #[command(after_help = "Example: roster replay events/ --to http://127.0.0.1:8080")]
    Replay(replay::Replay),
    /// Look into the journal of events, try dead letters again, erase a person
    #[command(subcommand)]
    Events(events::Events),
    /// Check the configuration and everything it names, and say how to mend what is wrong
    #[command(after_help = "Example: roster doctor")]
    Doctor,
    /// Copy the SQLite database to a new file, beside a running service
    #[command(after_help = "Example: roster backup roster-$(date +%F).db")]
    Backup(backup::Backup),
    /// Move a site to another database, for example from SQLite to PostgreSQL
    #[command(
        after_help = "Example: roster migrate-store --from sqlite:roster.db --to postgres://roster@db/roster"
    )]
    MigrateStore(migrate_store::MigrateStore),
    /// Ask the running service for a sign of life (for container health checks)
    #[command(after_help = "Example: roster health --port 8080")]
    Health,
    /// Print the description of the public API (OpenAPI 3.1)
    #[command(after_help = "Example: roster openapi > openapi.json")]
    Openapi,
    /// Print shell completions
    #[command(after_help = "Example: roster completions bash > /etc/bash_completion.d/roster")]
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Print the manual page
    #[command(
        after_help = "Examples: roster man | man -l -\n          roster man --to /usr/local/share/man/man1"
    )]
    Man(man::Man),
}

/// Why a command did not do it; decides the exit code.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration has mistakes.
    #[error(transparent)]
    Configuration(#[from] Problems),
    /// The command was not used as it must be; a sentence that names the mend.
    #[error("{0}")]
    Usage(String),
    /// It was tried and did not work.
    #[error("{}", causes(.0.as_ref()))]
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast_ref::<ClaimError>() {
            Some(taken @ ClaimError::Taken(_)) => Self::Usage(taken.to_string()),
            _ => Self::Failed(error),
        }
    }
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) | Self::Usage(_) => 2,
            Self::Failed(_) => 1,
        }
    }
}

/// Runs a command and says how it ended.
pub async fn run(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Serve => serve::run(&cli.settings).await,
        Command::Dev(dev) => dev.run(&cli.settings).await,
        Command::Reconcile(reconcile) => reconcile.run(&cli.settings).await,
        Command::Replay(replay) => replay.run(&cli.settings).await,
        Command::Events(events) => events.run(&cli.settings).await,
        Command::Doctor => doctor::run(&cli.settings).await,
        Command::Backup(backup) => backup.run(&cli.settings).await,
        Command::MigrateStore(migrate_store) => migrate_store.run().await,
        Command::Health => health::run(&cli.settings).await,
        Command::Openapi => openapi::run(),
        Command::Completions { shell } => completions::run(shell),
        Command::Man(man) => man.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// A SQLite database must be there already: a command that looks at one must not make it.
fn existing(database: &Database) -> Result<(), Failure> {
    match database {
        Database::Sqlite(path) if !path.exists() => Err(Failure::Failed(anyhow::anyhow!(
            "there is no database {}: set DATABASE_URL to the one of your service, or run `roster serve` first",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// The file of a SQLite database that is there.
fn database_file(database: &Database) -> Result<PathBuf, Failure> {
    existing(database)?;
    match database {
        Database::Sqlite(path) => Ok(path.clone()),
        Database::Postgres(_) => Err(Failure::Usage(
            "this is for SQLite; PostgreSQL has its own means, for example pg_dump".to_owned(),
        )),
    }
}
