//! The one writer: takes what has queued up into one transaction, and answers when it is durable.
//!
//! One `fsync` then serves every delivery of the batch, so durability is cheap exactly when load is high,
//! and a lone delivery waits for nothing. The queue is bounded: past it the caller is told to come again,
//! before memory grows.

use std::path::PathBuf;
use std::sync::Arc;

use sqlx::Connection as _;
use sqlx::error::ErrorKind;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::apply::{self, Applied, Work, Written};
use super::backend;
use super::error::StoreError;

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

type Answer = Result<Vec<Applied>, StoreError>;

/// Starts the writer. Told to close, it takes no more, finishes what waits, and ends. `erased` hears of every
/// erasure.
pub(super) fn start(
    path: PathBuf,
    erased: Arc<Notify>,
    closing: CancellationToken,
) -> (mpsc::Sender<Job>, JoinHandle<()>) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let writer = Writer { path, connection: None, erased };
    (sender, tokio::spawn(writer.run(queue, closing)))
}

struct Writer {
    path: PathBuf,
    connection: Option<SqliteConnection>,
    erased: Arc<Notify>,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Job>, closing: CancellationToken) {
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
            for (job, answer) in self.write_all(std::mem::take(&mut jobs)).await {
                // A caller that has gone away does not undo what is written.
                let _ = job.reply.send(answer);
            }
        }
        if let Some(connection) = self.connection
            && let Err(error) = connection.close().await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the database was not closed cleanly");
        }
    }

    /// Writes a batch. When it fails as a whole, each piece of work is tried alone, so that one that the
    /// database does not take never fails its neighbours.
    async fn write_all(&mut self, jobs: Vec<Job>) -> Vec<(Job, Answer)> {
        let work: Vec<_> = jobs.iter().map(|job| &job.work).collect();
        match self.write(&work).await {
            Ok(outcomes) => jobs.into_iter().zip(outcomes.into_iter().map(Ok)).collect(),
            Err(error) if jobs.len() == 1 || is_outage(&error) => {
                let failed = |job| (job, Err(error.clone()));
                jobs.into_iter().map(failed).collect()
            }
            Err(_) => {
                let mut answers = Vec::with_capacity(jobs.len());
                for job in jobs {
                    let answer = self.write(&[&job.work]).await;
                    answers.push((job, answer.map(|outcomes| outcomes.into_iter().flatten().collect())));
                }
                answers
            }
        }
    }

    /// Writes a batch in one transaction.
    async fn write(&mut self, work: &[&Work]) -> Result<Vec<Vec<Applied>>, StoreError> {
        let written = self.transact(work).await;
        if let Err(error) = &written {
            let waiting = work.len();
            tracing::error!(error = error as &dyn std::error::Error, waiting, "nothing was written");
            // Whatever broke the connection, the next batch starts from a new one.
            self.connection = None;
        }
        let written = written?;
        if written.erased {
            self.erased.notify_one();
        }
        Ok(written.outcomes)
    }

    async fn transact(&mut self, work: &[&Work]) -> Result<Written, StoreError> {
        let connection = match &mut self.connection {
            Some(open) => open,
            none => none.insert(backend::connect(&self.path).await?),
        };
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let written = apply::batch(&mut transaction, work).await?;
        transaction.commit().await?;
        Ok(written)
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
