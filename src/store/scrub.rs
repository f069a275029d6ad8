//! Takes what was erased out of the write-ahead log.
//!
//! An erasure blanks rows, but the log still holds the pages as they were until something overwrites them,
//! which on a quiet site may be never. Writing the log back and cutting it to nothing ends that. It waits
//! for readers, so it is done beside the writer, in short tries.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::sqlite;

/// How long one try may keep the writer waiting.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long to wait for a portion that is being written back.
const MOMENT: Duration = Duration::from_millis(10);
/// How long to wait after an erasure, for those that come with it.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between tries. Something like Litestream reads all the time, and each try delays deliveries.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Whether a process has left its log behind.
pub(super) fn has_log(path: &Path) -> bool {
    std::fs::metadata(sqlite::log_of(path)).is_ok_and(|log| log.len() > 0)
}

/// Starts the task; it is to be notified after every erasure. It ends when the store closes, and the log with
/// it. A log that was there before may hold what was erased by a process that was killed.
pub(super) fn start(path: PathBuf, has_old_log: bool, closing: CancellationToken) -> Arc<Notify> {
    let erased = Arc::new(Notify::new());
    if has_old_log {
        erased.notify_one();
    }
    let notified = Arc::clone(&erased);
    tokio::spawn(async move { closing.run_until_cancelled(run(path, notified)).await });
    erased
}

async fn run(path: PathBuf, erased: Arc<Notify>) {
    loop {
        erased.notified().await;
        let mut pause = PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
            match truncate_log(&path).await {
                Ok(true) => break,
                Ok(false) => tracing::debug!("the log is in use; what was erased leaves it later"),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the log was not cut");
                }
            }
        }
    }
}

/// The same for a process that is about to end. False when readers were in the way at every try.
pub(super) async fn cut_patiently(path: &Path, tries: u32) -> Result<bool, sqlx::Error> {
    for _ in 0..tries {
        if truncate_log(path).await? {
            return Ok(true);
        }
        tokio::time::sleep(PATIENCE).await;
    }
    Ok(false)
}

/// False when readers were in the way.
async fn truncate_log(path: &Path) -> Result<bool, sqlx::Error> {
    let mut connection = sqlite::connect_patiently(path, PATIENCE).await?;
    let until = Instant::now() + PATIENCE;
    let is_cut = loop {
        let (busy, _, _): (i64, i64, i64) =
            sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection).await?;
        if busy == 0 || Instant::now() >= until {
            break busy == 0;
        }
        // SQLite waits for readers, but not for another connection that writes the log back.
        tokio::time::sleep(MOMENT).await;
    };
    connection.close().await?;
    Ok(is_cut)
}
