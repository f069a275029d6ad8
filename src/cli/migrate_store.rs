//! `roster migrate-store --from URL --to URL`

use std::io::Write as _;

use anyhow::Context as _;

use super::{Failure, existing};
use crate::app::Claim;
use crate::config::Database;
use crate::store::{Store, transfer};

/// From where to where.
#[derive(Debug, clap::Args)]
pub struct MigrateStore {
    /// The database that holds the site; no service may run on it
    #[arg(long, value_name = "URL")]
    pub from: String,
    /// An empty database, or one to which this move was begun
    #[arg(long, value_name = "URL")]
    pub to: String,
}

impl MigrateStore {
    /// Copies, compares, and says so.
    pub async fn run(self) -> Result<(), Failure> {
        let from = database("--from", &self.from)?;
        let to = database("--to", &self.to)?;
        existing(&from)?;
        // Whoever served one of these would write what is not moved.
        let _claims = (claim(&from)?, claim(&to)?);
        let source = Store::open_to_move(&from).await.context("--from cannot be opened")?;
        let target = Store::open_to_move(&to).await.context("--to cannot be opened")?;
        alone(&source, "--from").await?;
        alone(&target, "--to").await?;
        let moved = transfer::run(&source, &target, |moved| {
            // Whoever closed the pipe does not want to know.
            let _ = writeln!(std::io::stdout(), "{:>12} {}", moved.rows, moved.table);
        });
        let moved = moved.await;
        source.close().await;
        target.close().await;
        moved.context("the site was not moved")?;
        let _ = writeln!(
            std::io::stdout(),
            "The same on both sides. Set DATABASE_URL to the new database and start the service."
        );
        Ok(())
    }
}

fn database(flag: &str, url: &str) -> Result<Database, Failure> {
    Database::parse(url).map_err(|wrong| Failure::Usage(format!("{flag} {wrong}")))
}

fn claim(database: &Database) -> Result<Option<Claim>, Failure> {
    match database {
        Database::Sqlite(path) => Ok(Some(Claim::take(path).map_err(anyhow::Error::from)?)),
        Database::Postgres(_) => Ok(None),
    }
}

async fn alone(store: &Store, flag: &str) -> Result<(), Failure> {
    let others = store.is_in_use().await.with_context(|| format!("{flag} cannot be read"))?;
    if others {
        return Err(Failure::Usage(format!("a service runs on {flag}: stop every instance first")));
    }
    Ok(())
}
