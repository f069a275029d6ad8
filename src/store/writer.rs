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
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::apply::{self, Applied, Work, Written};
use super::backend;
use super::error::StoreError;
use super::feed::Feed;
use super::generation::Generations;
use super::journal;
use super::watch::{self, Seen, Watch};

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
/// erasure, `generations` and then `feed` of every change, be it of this process or of another one.
pub(super) fn start(
    path: PathBuf,
    erased: Arc<Notify>,
    generations: Arc<Generations>,
    feed: Arc<Feed>,
    closing: CancellationToken,
) -> (mpsc::Sender<Job>, JoinHandle<()>) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let writer =
        Writer { path, connection: None, watch: Watch::default(), watches: true, erased, generations, feed };
    (sender, tokio::spawn(writer.run(queue, closing)))
}

struct Writer {
    path: PathBuf,
    connection: Option<SqliteConnection>,
    /// Of that connection.
    watch: Watch,
    /// Whether the last look at others worked.
    watches: bool,
    erased: Arc<Notify>,
    generations: Arc<Generations>,
    feed: Arc<Feed>,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Job>, closing: CancellationToken) {
        let mut jobs = Vec::with_capacity(BATCH);
        let mut look = tokio::time::interval(watch::EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let taken = tokio::select! {
                biased;
                // First, so that it happens between two batches however busy the writer is.
                _ = look.tick() => {
                    self.look().await;
                    continue;
                }
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
            // A commit that failed may have happened nevertheless.
            self.generations.touch_all();
        }
        let written = written?;
        self.watch.wrote(written.version);
        self.generations.touch(&written.touched);
        self.generations.advance(written.last_applied_ms);
        self.feed.know(self.watch.seen());
        if written.erased {
            self.erased.notify_one();
        }
        Ok(written.outcomes)
    }

    async fn transact(&mut self, work: &[&Work]) -> Result<Written, StoreError> {
        let connection = self.connect().await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let written = apply::batch(&mut transaction, work).await?;
        transaction.commit().await?;
        Ok(written)
    }

    async fn connect(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        Ok(match &mut self.connection {
            Some(open) => open,
            none => {
                self.watch = Watch::default();
                none.insert(backend::connect(&self.path).await?)
            }
        })
    }

    /// Looks whether others have written; then anything may have changed.
    async fn look(&mut self) {
        let looked = self.look_at_others().await;
        let watched = std::mem::replace(&mut self.watches, looked.is_ok());
        if let Err(error) = looked {
            // Nobody can tell what others do now, so nothing that is kept is to be believed.
            self.generations.touch_all();
            self.connection = None;
            if watched {
                tracing::warn!(error = &error as &dyn std::error::Error, "the database cannot be watched");
            }
        }
    }

    async fn look_at_others(&mut self) -> Result<(), StoreError> {
        self.connect().await?;
        let Some(connection) = &mut self.connection else { return Ok(()) };
        match self.watch.look(connection).await? {
            Seen::Nothing => return Ok(()),
            Seen::Organizations(organizations) => self.generations.touch(&organizations),
            Seen::Anything => self.generations.touch_all(),
        }
        self.feed.know(self.watch.seen());
        self.generations.advance(journal::as_of_ms(connection).await?);
        Ok(())
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
