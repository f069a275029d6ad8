//! The one writer: takes what has queued up into one transaction, and answers when it is durable.
//!
//! One `fsync` then serves every delivery of the batch, so durability is cheap exactly when load is high,
//! and a lone delivery waits for nothing. The queue is bounded: past it the caller is told to come again,
//! before memory grows.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;

use super::apply::{self, Applied, Work, Written};
use super::connection::{Connection, Pool, WriteLock};
use super::error::StoreError;
use super::feed::Feed;
use super::files::DatabaseFiles;
use super::generation::Generations;
use super::postgres::SIGN_OF_LIFE;
use super::versions;
use super::wal_checkpoint::WalCheckpointer;
use super::wal_truncate::WalTruncator;
use super::watch::{self, Own, Watch};
use crate::telemetry::causes;

/// How many deliveries may wait.
const QUEUE: usize = 4_096;
/// How much memory they may take, in KiB.
pub(super) const BUDGET_KIB: usize = 64 * 1024;
/// How many of them one transaction takes.
const BATCH: usize = 512;
/// How long PostgreSQL may go by a plan. It plans for as much as there is, and keeps to it until the tables are counted
/// again, minutes later: a plan for an empty table reads the whole table, and then ever more.
const PLANNED_FOR: Duration = Duration::from_secs(1);
/// How often a batch is tried that was lost for a reason that passes.
const TRIES: usize = 3;

/// A piece of work, and who waits for it.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) reply: oneshot::Sender<Answer>,
    /// Given back when the work is done.
    pub(super) _budget: OwnedSemaphorePermit,
}

type Answer = Result<Vec<Applied>, StoreError>;

/// Writes on a connection of its own.
pub(super) struct Writer {
    pool: Pool,
    connection: Option<Connection>,
    /// No plan of that connection is older.
    planned_at: Instant,
    /// What others wrote up to this version is touched, as far as that connection knows.
    touched_until: i64,
    /// Of that connection, to a file.
    watch: Watch,
    /// Whether the last look at others worked.
    watches: bool,
    own: Own,
    /// Hears of every change of this process, and, in a file, of another one.
    generations: Arc<Generations>,
    /// Hears of it after that.
    feed: Arc<Feed>,
    /// Where a file has to be.
    files: Option<DatabaseFiles>,
    /// Of a file: others of this process write to it too.
    write_lock: Option<WriteLock>,
    /// Keeps the file open, and thus its log in place, whatever becomes of the others.
    anchor: Option<SqliteConnection>,
    /// Of a file.
    checkpointer: Option<WalCheckpointer>,
    /// Of a file; hears of every erasure.
    truncator: Option<WalTruncator>,
}

impl Writer {
    /// On a pool of one connection.
    pub(super) fn new(pool: Pool, generations: Arc<Generations>, feed: Arc<Feed>) -> Self {
        let own = Own::default();
        let watch = Watch::new(own.clone());
        Self {
            pool,
            connection: None,
            planned_at: Instant::now(),
            touched_until: i64::MIN,
            watch,
            watches: true,
            own,
            generations,
            feed,
            files: None,
            write_lock: None,
            anchor: None,
            checkpointer: None,
            truncator: None,
        }
    }

    /// Into a file that `anchor` keeps open.
    pub(super) fn on_file(
        self,
        files: DatabaseFiles,
        write_lock: WriteLock,
        anchor: SqliteConnection,
        checkpointer: WalCheckpointer,
        truncator: WalTruncator,
    ) -> Self {
        let (files, write_lock, anchor) = (Some(files), Some(write_lock), Some(anchor));
        let (checkpointer, truncator) = (Some(checkpointer), Some(truncator));
        Self { files, write_lock, anchor, checkpointer, truncator, ..self }
    }

    pub(super) fn files(&self) -> Option<DatabaseFiles> {
        self.files.clone()
    }

    /// What it writes.
    pub(super) fn own(&self) -> Own {
        self.own.clone()
    }

    pub(super) fn generations(&self) -> Arc<Generations> {
        Arc::clone(&self.generations)
    }

    pub(super) fn feed(&self) -> Arc<Feed> {
        Arc::clone(&self.feed)
    }

    /// Starts it. Told to close, it takes no more, finishes what waits, and ends.
    pub(super) fn start(self, closing: CancellationToken) -> (mpsc::Sender<Job>, JoinHandle<()>) {
        let (sender, queue) = mpsc::channel(QUEUE);
        (sender, tokio::spawn(self.run(queue, closing)))
    }

    async fn run(mut self, mut queue: mpsc::Receiver<Job>, closing: CancellationToken) {
        let mut jobs = Vec::with_capacity(BATCH);
        let mut look = tokio::time::interval(watch::EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let taken = tokio::select! {
                biased;
                // First, so that it happens between two batches however busy the writer is.
                _ = look.tick(), if matches!(self.pool, Pool::Sqlite(..)) => {
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
        drop(self.connection);
        self.pool.close().await;
        if let Some(checkpointer) = self.checkpointer {
            checkpointer.stop().await;
        }
        if let Some(anchor) = self.anchor
            && let Err(error) = anchor.close().await
        {
            tracing::warn!(error = %causes(&error), "the database was not closed");
        }
        if let Some(truncator) = self.truncator {
            truncator.finish().await;
        }
    }

    /// Writes a batch. When it fails as a whole, each piece of work is tried alone, so that one that the
    /// database does not take never fails its neighbours.
    async fn write_all(&mut self, jobs: Vec<Job>) -> Vec<(Job, Answer)> {
        let work: Vec<_> = jobs.iter().map(|job| &job.work).collect();
        match self.write(&work).await {
            Ok(outcomes) => jobs.into_iter().zip(outcomes.into_iter().map(Ok)).collect(),
            Err(error) if jobs.len() == 1 || error.is_outage() => {
                let failed = |job| (job, Err(error.clone()));
                jobs.into_iter().map(failed).collect()
            }
            Err(_) => {
                let mut answers = Vec::with_capacity(jobs.len());
                let mut outage = None;
                for job in jobs {
                    let answer = match &outage {
                        // Each would wait for the database anew.
                        Some(error) => Err(StoreError::clone(error)),
                        None => self.write(&[&job.work]).await,
                    };
                    outage =
                        outage.or_else(|| answer.as_ref().err().filter(|error| error.is_outage()).cloned());
                    answers.push((job, answer.map(|outcomes| outcomes.into_iter().flatten().collect())));
                }
                answers
            }
        }
    }

    /// Writes a batch in one transaction, and survives what is wrong with it. A try after a commit that failed finds
    /// what it may have written.
    async fn write(&mut self, work: &[&Work]) -> Result<Vec<Vec<Applied>>, StoreError> {
        let mut tried = 1;
        let written = loop {
            match caught(self.transact(work)).await {
                Ok(written) => break written,
                Err(error) => {
                    // Whatever broke the connection, the next try starts from a new one.
                    self.connection = None;
                    // A commit that failed may have happened nevertheless.
                    self.generations.touch_all();
                    let waiting = work.len();
                    if tried == TRIES || !error.is_transient() {
                        tracing::error!(
                            error = %causes(&error),
                            waiting,
                            "nothing was written"
                        );
                        return Err(error);
                    }
                    tracing::warn!(
                        error = %causes(&error),
                        waiting,
                        "a batch is tried again"
                    );
                    tried += 1;
                }
            }
        };
        self.generations.touch(&written.touched);
        self.generations.advance(written.last_applied_ms);
        self.own.wrote(written.version);
        self.feed.wrote(written.version);
        if let Some(truncator) = self.truncator.as_ref().filter(|_| written.erased) {
            truncator.erased();
        }
        if let Some(checkpointer) = &mut self.checkpointer {
            checkpointer.wrote(work.iter().map(|work| work.weight()).sum());
        }
        Ok(written.outcomes)
    }

    async fn transact(&mut self, work: &[&Work]) -> Result<Written, StoreError> {
        let feed = self.feed();
        let files = self.files();
        let still_there = || files.as_ref().map_or(Ok(()), DatabaseFiles::check);
        still_there()?;
        self.connect().await?;
        let Some(connection) = &mut self.connection else { return Err(StoreError::Closed) };
        let _guard = match &self.write_lock {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        connection.begin_writing().await?;
        let mut known = feed.known();
        let mut written = apply::batch(connection, work).await?;
        // Others may have written what makes this stale, or a duplicate, and whoever is told so must find it.
        let before = written.version_before;
        if self.touched_until <= before {
            known = known.max(self.touched_until);
        }
        if before != known {
            match versions::between(connection, known, before).await? {
                Some(others) => written.touched.extend(others),
                None => self.generations.touch_all(),
            }
        }
        connection.commit().await?;
        self.touched_until = before;
        still_there()?;
        Ok(written)
    }

    async fn connect(&mut self) -> Result<(), StoreError> {
        if let Some(open) = &mut self.connection
            && self.planned_at.elapsed() > PLANNED_FOR
        {
            match timeout(SIGN_OF_LIFE, open.forget_plans()).await {
                Ok(Ok(())) => self.planned_at = Instant::now(),
                // While nobody wrote it fell silent, or was cut.
                _ => self.connection = None,
            }
        }
        if self.connection.is_none() {
            self.watch = Watch::new(self.own.clone());
            // It may lead to another server, with other numbers.
            self.touched_until = i64::MIN;
            self.connection.insert(self.pool.acquire().await?).forget_plans().await?;
            self.planned_at = Instant::now();
        }
        Ok(())
    }

    /// Looks at what others have written, and touches the organizations that it is about: all of them when nobody can tell.
    async fn look(&mut self) {
        let looked = self.look_at_others().await;
        let watched = std::mem::replace(&mut self.watches, looked.is_ok());
        if let Err(error) = looked {
            // Nobody can tell what others do now, so nothing that is kept is to be believed.
            self.generations.touch_all();
            self.connection = None;
            if watched {
                tracing::warn!(error = %causes(&error), "the database cannot be watched");
            }
        }
    }

    async fn look_at_others(&mut self) -> Result<(), StoreError> {
        self.files.as_ref().map_or(Ok(()), DatabaseFiles::check)?;
        self.connect().await?;
        let Some(connection) = &mut self.connection else { return Ok(()) };
        self.watch.tell(connection, &self.generations, &self.feed).await
    }
}

/// A panic that one piece of work leads to must not end the writer, and with it every write until a restart.
async fn caught<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or(Err(StoreError::Panicked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_of_the_work_that_led_to_it() {
        let panics = async {
            tokio::task::yield_now().await;
            panic!("a mistake")
        };
        let caught = caught::<()>(panics).await.unwrap_err();
        assert!(matches!(caught, StoreError::Panicked));
        assert!(!caught.is_outage() && !caught.is_transient(), "each piece of work is tried alone, and once");
    }
}
