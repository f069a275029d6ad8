//! The one writer: takes what has queued up into one transaction, and answers when it is durable.
//!
//! One `fsync` then serves every delivery of the batch, so durability is cheap exactly when load is high,
//! and a lone delivery waits for nothing. The queue is bounded: past it the caller is told to come again,
//! before memory grows.

use std::path::{Path, PathBuf};

use sqlx::Connection as _;
use sqlx::error::ErrorKind;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::apply::{self, Work};
use super::backend;
use super::error::StoreError;
use crate::domain::Outcome;

/// How many deliveries may wait.
const QUEUE: usize = 4_096;
/// How much memory they may take, in KiB.
pub(super) const BUDGET_KIB: usize = 64 * 1024;
/// How many of them one transaction takes.
const BATCH: usize = 512;

/// A piece of work, and who waits for it.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) reply: oneshot::Sender<Answer>,
    /// Given back when the work is done.
    pub(super) _budget: OwnedSemaphorePermit,
}

type Answer = Result<Vec<Outcome>, StoreError>;

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
        for (job, answer) in write_all(&path, &mut connection, std::mem::take(&mut jobs)).await {
            // A caller that has gone away does not undo what is written.
            let _ = job.reply.send(answer);
        }
    }
    if let Some(connection) = connection
        && let Err(error) = connection.close().await
    {
        tracing::warn!(error = &error as &dyn std::error::Error, "the database was not closed cleanly");
    }
}

/// Writes a batch. When it fails as a whole, each piece of work is tried alone, so that one that the database
/// does not take never fails its neighbours.
async fn write_all(
    path: &Path,
    connection: &mut Option<SqliteConnection>,
    jobs: Vec<Job>,
) -> Vec<(Job, Answer)> {
    let work = jobs.iter().map(|job| job.work.clone()).collect();
    match write(path, connection, work).await {
        Ok(outcomes) => jobs.into_iter().zip(outcomes.into_iter().map(Ok)).collect(),
        Err(error) if jobs.len() == 1 || is_outage(&error) => {
            let failed = |job| (job, Err(error.clone()));
            jobs.into_iter().map(failed).collect()
        }
        Err(_) => {
            let mut answers = Vec::with_capacity(jobs.len());
            for job in jobs {
                let answer = write(path, connection, vec![job.work.clone()]).await;
                answers.push((job, answer.map(|outcomes| outcomes.into_iter().flatten().collect())));
            }
            answers
        }
    }
}

/// Whether the database as a whole is to blame, so that trying again now would only take time.
fn is_outage(error: &StoreError) -> bool {
    match error {
        StoreError::Database(error) => match error.as_ref() {
            sqlx::Error::Database(error) => error.kind() == ErrorKind::Other,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_) => false,
            _ => true,
        },
        StoreError::Foreign(_) => false,
        _ => true,
    }
}

/// Writes a batch in one transaction.
async fn write(
    path: &Path,
    connection: &mut Option<SqliteConnection>,
    work: Vec<Work>,
) -> Result<Vec<Vec<Outcome>>, StoreError> {
    let waiting = work.len();
    let written = async {
        let open = match connection {
            Some(open) => open,
            None => connection.insert(backend::connect(path).await?),
        };
        let mut transaction = open.begin_with("BEGIN IMMEDIATE").await?;
        let outcomes = apply::batch(&mut transaction, work).await?;
        transaction.commit().await?;
        Ok(outcomes)
    }
    .await;
    if let Err(error) = &written {
        tracing::error!(error = error as &dyn std::error::Error, waiting, "nothing was written");
        // Whatever broke the connection, the next batch starts from a new one.
        *connection = None;
    }
    written
}
