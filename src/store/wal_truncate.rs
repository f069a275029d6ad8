//! Takes what was erased out of the write-ahead log.
//!
//! An erasure blanks rows, but the log still holds the pages as they were until something overwrites them,
//! which on a quiet site may be never. Writing the log back and cutting it to nothing ends that. It waits
//! for readers, so it is done beside the writer, in short tries.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::Connection as _;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::sqlite;
use crate::telemetry::causes;

/// How long one try may keep the writer waiting.
const PATIENCE: Duration = Duration::from_millis(250);
/// How often it is tried when the store closes.
const LAST_TRIES: u32 = 4;
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

/// Whether the log may hold what this process has erased.
#[derive(Default)]
struct Debt {
    erasures: AtomicU64,
    /// How many of them there were before the log was last cut.
    cut: AtomicU64,
}

/// Hears of every erasure, and cuts the log after it.
pub(super) struct WalTruncator {
    path: PathBuf,
    erased: Arc<Notify>,
    debt: Arc<Debt>,
    task: AbortOnDropHandle<()>,
}

impl WalTruncator {
    /// Starts the task. A log that was there before may hold what was erased by a process that was killed.
    pub(super) fn start(path: PathBuf, has_old_log: bool) -> Self {
        let (erased, debt) = (Arc::new(Notify::new()), Arc::new(Debt::default()));
        if has_old_log {
            erased.notify_one();
        }
        let task = tokio::spawn(run(path.clone(), Arc::clone(&erased), Arc::clone(&debt)));
        Self { path, erased, debt, task: AbortOnDropHandle::new(task) }
    }

    /// Something was erased.
    pub(super) fn erased(&self) {
        self.debt.erasures.fetch_add(1, Ordering::SeqCst);
        self.erased.notify_one();
    }

    /// Ends the task. Whoever closes the file last takes the log away; another process, such as the service beside a
    /// command, does not know what this one has erased.
    pub(super) async fn finish(self) {
        self.task.abort();
        _ = self.task.await;
        let is_owed = self.debt.erasures.load(Ordering::SeqCst) > self.debt.cut.load(Ordering::SeqCst);
        if !is_owed || !has_log(&self.path) {
            return;
        }
        match cut_patiently(&self.path, LAST_TRIES).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!("the log is in use; what was erased leaves it later"),
            Err(error) => {
                tracing::warn!(error = %causes(&error), "the write-ahead log could not be truncated");
            }
        }
    }
}

async fn run(path: PathBuf, erased: Arc<Notify>, debt: Arc<Debt>) {
    loop {
        erased.notified().await;
        let mut pause = PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
            // What is erased while the log is cut may still be in it.
            let erasures = debt.erasures.load(Ordering::SeqCst);
            match truncate_log(&path).await {
                Ok(true) => {
                    debt.cut.store(erasures, Ordering::SeqCst);
                    break;
                }
                Ok(false) => tracing::debug!("the log is in use; what was erased leaves it later"),
                Err(error) => {
                    tracing::warn!(error = %causes(&error), "the write-ahead log could not be truncated");
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
