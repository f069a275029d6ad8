//! Writes the log back into the file while deliveries go on.
//!
//! A commit that finds the log long writes it back before it returns, and everybody waits for that. Done here, in small
//! portions, next to nothing is left for that commit, and the log begins anew all the same. `benches/README.md` has the
//! figures.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::sqlite::SqliteConnection;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::sqlite;

/// How many pieces of work make a portion: some hundred pages. A pass writes many pages in each, and most of them
/// again and again; it is left to the commits.
const PORTION: usize = 128;

/// Counts what is written.
pub(super) struct Checkpoints {
    written: usize,
    due: Arc<Notify>,
}

impl Checkpoints {
    /// Starts the task. It ends when the store closes.
    pub(super) fn start(path: PathBuf, closing: CancellationToken) -> Self {
        let due = Arc::new(Notify::new());
        let notified = Arc::clone(&due);
        tokio::spawn(async move { closing.run_until_cancelled(run(path, notified)).await });
        Self { written: 0, due }
    }

    /// So much was committed.
    pub(super) fn wrote(&mut self, work: usize) {
        self.written += work;
        if self.written >= PORTION {
            self.written = 0;
            self.due.notify_one();
        }
    }
}

async fn run(path: PathBuf, due: Arc<Notify>) {
    let mut connection = None;
    loop {
        due.notified().await;
        if let Err(error) = write_back(&path, &mut connection).await {
            // Commits write the log back when nobody else does.
            tracing::warn!(error = &error as &dyn std::error::Error, "the log was not written back");
            connection = None;
        }
    }
}

/// What readers still need stays.
async fn write_back(path: &Path, connection: &mut Option<SqliteConnection>) -> Result<(), sqlx::Error> {
    let connection = match connection {
        Some(open) => open,
        none => none.insert(sqlite::connect(path).await?),
    };
    sqlx::raw_sql("PRAGMA wal_checkpoint(PASSIVE)").execute(connection).await?;
    Ok(())
}
