//! The one writer: takes what has queued up into one transaction, and answers when it is durable.
//!
//! One `fsync` then serves every delivery of the batch, so durability is cheap exactly when load is high,
//! and a lone delivery waits for nothing. The queue is bounded: past it the caller is told to come again,
//! before memory grows.

use std::path::{Path, PathBuf};

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::apply::{self, Work};
use super::backend;
use super::error::StoreError;
use crate::domain::Outcome;

/// How many deliveries may wait.
const QUEUE: usize = 4_096;
/// How many of them one transaction takes.
const BATCH: usize = 512;

/// A piece of work, and who waits for it.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) reply: oneshot::Sender<Result<Vec<Outcome>, StoreError>>,
}

/// Starts the writer. Told to close, it takes no more, finishes what waits, and ends.
pub(super) fn start(path: PathBuf, closing: CancellationToken) -> (mpsc::Sender<Job>, JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (sender, tokio::spawn(run(path, receiver, closing)))
}

async fn run(path: PathBuf, mut queue: mpsc::Receiver<Job>, closing: CancellationToken) {
    let mut connection: Option<SqliteConnection> = None;
    let mut jobs = Vec::with_capacity(BATCH);
    loop {
        let taken = tokio::select! {
            biased;
            taken = queue.recv_many(&mut jobs, BATCH) => taken,
            () = closing.cancelled(), if !queue.is_closed() => {
                queue.close();
                continue;
            }
        };
        if taken == 0 {
            break;
        }
        let (work, replies): (Vec<_>, Vec<_>) = jobs.drain(..).map(|job| (job.work, job.reply)).unzip();
        let waiting = work.len();
        let result = write(&path, &mut connection, work).await;
        if let Err(error) = &result {
            tracing::error!(error = error as &dyn std::error::Error, waiting, "nothing was written");
            // Whatever broke the connection, the next batch starts from a new one.
            connection = None;
        }
        let mut outcomes = result.map(Vec::into_iter);
        for reply in replies {
            let answer = match &mut outcomes {
                Ok(outcomes) => Ok(outcomes.next().unwrap_or_default()),
                Err(error) => Err(error.clone()),
            };
            // A caller that has gone away does not undo what is written.
            let _ = reply.send(answer);
        }
    }
    if let Some(connection) = connection
        && let Err(error) = connection.close().await
    {
        tracing::warn!(error = &error as &dyn std::error::Error, "the database was not closed cleanly");
    }
}

async fn write(
    path: &Path,
    connection: &mut Option<SqliteConnection>,
    work: Vec<Work>,
) -> Result<Vec<Vec<Outcome>>, StoreError> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(backend::connect(path).await?),
    };
    let mut transaction = open.begin_with("BEGIN IMMEDIATE").await?;
    let outcomes = apply::batch(&mut transaction, work).await?;
    transaction.commit().await?;
    Ok(outcomes)
}
