//! Writes the log back into the file while deliveries go on.
//!
//! A commit that finds the log long writes it back before it returns, and everybody waits for that. Done here, in small
//! portions, next to nothing is left for that commit, and the log begins anew all the same. `benches/README.md` has the
//! figures. Before 3.51.3 SQLite could damage a file when one connection wrote the log back while another began it anew.

use std::path::{Path, PathBuf};

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::sqlite;
use crate::telemetry::causes;

/// How many deliveries make a portion, some hundred pages; `Work::weight` says what counts as how many.
const PORTION: usize = 128;

/// Counts what is written, and has the log written back.
pub(super) struct WalCheckpointer {
    written: usize,
    due: mpsc::Sender<()>,
    task: JoinHandle<()>,
}

impl WalCheckpointer {
    /// Starts the task.
    pub(super) fn start(path: PathBuf) -> Self {
        let (due, asked) = mpsc::channel(1);
        Self { written: 0, due, task: tokio::spawn(run(path, asked)) }
    }

    /// What so many deliveries write was committed.
    pub(super) fn wrote(&mut self, deliveries: usize) {
        self.written += deliveries;
        // What is committed while one portion waits is written back with it.
        if self.written >= PORTION && self.due.try_send(()).is_ok() {
            self.written = 0;
        }
    }

    /// Ends the task, and with it its connection.
    pub(super) async fn stop(self) {
        drop(self.due);
        if let Err(error) = self.task.await {
            tracing::error!(error = %causes(&error), "writing the write-ahead log back ended badly");
        }
    }
}

async fn run(path: PathBuf, mut asked: mpsc::Receiver<()>) {
    let mut connection = None;
    let mut works = true;
    while asked.recv().await.is_some() {
        let done = write_back(&path, &mut connection).await;
        let worked = std::mem::replace(&mut works, done.is_ok());
        if let Err(error) = done {
            connection = None;
            // Commits write the log back when nobody else does.
            if worked {
                tracing::warn!(error = %causes(&error), "the write-ahead log is not written back");
            }
        }
    }
    if let Some(connection) = connection
        && let Err(error) = connection.close().await
    {
        tracing::warn!(error = %causes(&error), "a connection was not closed");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sqlite_is_one_that_does_not_damage_the_file() {
        let mut db = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut db).await.unwrap();
        let parts: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
        assert!(parts >= vec![3, 51, 3], "{version}");
    }
}
