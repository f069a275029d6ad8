//! The only room with SQL: the read model, the journal, and the one door through which both are written.
//!
//! `apply` is that door. Deliveries and reconciliation both end there, so the order of changes is decided
//! once (`domain::merge`). Reads go to a pool of their own and never wait for a write.

mod apply;
pub mod backup;
mod connection;
mod error;
mod events;
mod feed;
mod files;
mod generation;
mod holder;
mod inventory;
mod invitations;
mod journal;
mod listener;
mod members;
mod migrations;
mod model;
mod parents;
mod passes;
mod postgres;
mod project;
mod rows;
mod sqlite;
mod standing;
mod states;
pub mod transfer;
mod versions;
mod wal_checkpoint;
mod wal_truncate;
mod watch;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Database;
use crate::domain::{
    Change, Cursor, EntryPage, Member, MemberQuery, OrganizationId, Outcome, Page, Shown, Standing, UserId,
};
use crate::telemetry::causes;
pub use apply::Applied;
use apply::Work;
use connection::{Pool, WriteLock};
pub use error::StoreError;
pub use events::{EventCursor, EventFilter, Footprint, StoredEvent, truncate_wal};
use feed::Feed;
pub use feed::{Follower, MemberChange, News, Told};
use files::DatabaseFiles;
pub use files::private;
use generation::Generations;
pub use inventory::Unseen;
pub use journal::Delivery;
pub use passes::StoredPass;
pub use postgres::{ServerLook, address, look_at_server};
use rows::cell;
pub use standing::Unlisted;
use wal_checkpoint::WalCheckpointer;
use wal_truncate::WalTruncator;
use writer::{Job, Writer};

/// How many events one statement forgets.
const FORGOTTEN_AT_ONCE: i64 = 500;
/// How long to rest after that. Another process that waits for the file's lock asks every 100 ms at least, and so gets it.
const FORGETTING_RESTS: Duration = Duration::from_millis(120);

/// One open database: the writer's queue, and a pool of readers.
#[derive(Debug, Clone)]
pub struct Store {
    readers: Pool,
    bookkeeping: Pool,
    queue: mpsc::Sender<Job>,
    budget: Arc<Semaphore>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
    generations: Arc<Generations>,
    feed: Arc<Feed>,
    /// Of a file.
    files: Option<DatabaseFiles>,
    closing: CancellationToken,
}

impl Store {
    /// Opens the database; makes it when it is not there, and brings its schema up to date.
    pub async fn open(database: &Database) -> Result<Self, StoreError> {
        let store = Self::open_as(database, postgres::SERVICE).await?;
        if transfer::is_under_way(&mut store.readers.acquire().await?).await? {
            store.close().await;
            return Err(StoreError::HalfMoved);
        }
        Ok(store)
    }

    /// Opens one out of which, or into which, a site is being moved.
    pub async fn open_to_move(database: &Database) -> Result<Self, StoreError> {
        Self::open_as(database, postgres::MOVE).await
    }

    async fn open_as(database: &Database, name: &str) -> Result<Self, StoreError> {
        match database {
            Database::Sqlite(path) => Self::open_file(path).await,
            Database::Postgres(url) => Self::open_server(url, name).await,
        }
    }

    async fn open_file(path: &Path) -> Result<Self, StoreError> {
        let has_old_log = wal_truncate::has_log(path);
        let anchor = sqlite::prepare(path).await?;
        let files = DatabaseFiles::of(path)?;
        let closing = CancellationToken::new();
        let truncator = WalTruncator::start(path.to_owned(), has_old_log);
        let readers = sqlite::readers(path);
        let generations = Generations::new(journal::as_of_ms(&mut readers.acquire().await?).await?);
        let feed = feed::start(&readers, Duration::ZERO, &closing).await?;
        let writer = Writer::new(sqlite::writer(path), Arc::new(generations), feed);
        let checkpointer = WalCheckpointer::start(path.to_owned());
        let write_lock = WriteLock::default();
        let writer = writer.on_file(files, write_lock.clone(), anchor, checkpointer, truncator);
        Ok(Self::start(readers, sqlite::bookkeeping(path, write_lock), writer, closing))
    }

    async fn open_server(url: &SecretString, name: &str) -> Result<Self, StoreError> {
        let options = postgres::options(url, name)?;
        postgres::prepare(&options).await?;
        let closing = CancellationToken::new();
        let readers = postgres::readers(&options);
        let as_of_ms = journal::as_of_ms(&mut readers.acquire().await?).await?;
        let generations = Arc::new(Generations::new(as_of_ms));
        // Until others are heard.
        generations.doubt();
        let feed = feed::start(&readers, listener::ALL_HEAR, &closing).await?;
        let writer = Writer::new(postgres::writer(&options), Arc::clone(&generations), Arc::clone(&feed));
        listener::start(postgres::listener(&options), writer.own(), generations, feed, closing.clone());
        Ok(Self::start(readers, postgres::bookkeeping(&options), writer, closing))
    }

    fn start(readers: Pool, bookkeeping: Pool, writer: Writer, closing: CancellationToken) -> Self {
        let (generations, feed, files) = (writer.generations(), writer.feed(), writer.files());
        let (queue, writer) = writer.start(closing.clone());
        Self {
            readers,
            bookkeeping,
            queue,
            budget: Arc::new(Semaphore::new(writer::BUDGET_KIB)),
            writer: Arc::new(Mutex::new(Some(writer))),
            generations,
            feed,
            files,
            closing,
        }
    }

    /// Applies what a delivery says, and journals it, in one transaction. The answer comes when it is
    /// durable; an error means that nothing was written.
    pub async fn deliver(&self, delivery: Delivery, changes: Vec<Change>) -> Result<Outcome, StoreError> {
        let applied = self.write(Work::Delivery { delivery, changes }).await?;
        Ok(applied.first().map_or(Outcome::Stale, |applied| applied.outcome))
    }

    /// Keeps a delivery that could not be used as a dead letter, and why. The same message is tried again
    /// when it comes again. `Some` when the message was applied, or stale, before: then nothing is kept.
    pub async fn bury(&self, delivery: Delivery, error: String) -> Result<Option<Outcome>, StoreError> {
        let applied = self.write(Work::DeadLetter { delivery, error }).await?;
        Ok(applied.first().map(|applied| applied.outcome))
    }

    /// Applies what a pass found, and says of each change what became of it. Waits while the queue is full: a pass
    /// has time, and must not crowd out deliveries.
    pub async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Applied>, StoreError> {
        self.write_patiently(Work::Pass { changes, checkpoint: None }).await
    }

    /// Applies what a pass found, and where the pass stands then, in one transaction: it is resumed exactly behind what it
    /// has written.
    pub async fn apply_up_to(
        &self,
        changes: Vec<Change>,
        checkpoint: impl Fn(&[Applied]) -> StoredPass + Send + Sync + 'static,
    ) -> Result<Vec<Applied>, StoreError> {
        self.write_patiently(Work::Pass { changes, checkpoint: Some(Box::new(checkpoint)) }).await
    }

    async fn write_patiently(&self, work: Work) -> Result<Vec<Applied>, StoreError> {
        let budget = Arc::clone(&self.budget).acquire_many_owned(work.kib()).await;
        let budget = budget.map_err(|_| StoreError::Closed)?;
        let permit = self.queue.reserve().await.map_err(|_| StoreError::Closed)?;
        let (reply, answer) = oneshot::channel();
        permit.send(Job { work, reply, _budget: budget });
        answer.await.map_err(|_| StoreError::Closed)?
    }

    async fn write(&self, work: Work) -> Result<Vec<Applied>, StoreError> {
        let budget = Arc::clone(&self.budget).try_acquire_many_owned(work.kib());
        let (reply, answer) = oneshot::channel();
        let job = Job { work, reply, _budget: budget.map_err(|_| StoreError::Busy)? };
        self.queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Closed(_) => StoreError::Closed,
        })?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Members of one organization, in order, filtered and paged.
    pub async fn members(&self, query: &MemberQuery) -> Result<Page, StoreError> {
        let mut members = Vec::new();
        let next = self.each_member(query, |member| members.push(member)).await?;
        Ok(Page { members, next })
    }

    /// Shows the same members one by one, so that a list of any length needs no room here. Answers where the
    /// next page begins.
    pub async fn each_member(
        &self,
        query: &MemberQuery,
        visit: impl FnMut(Member) + Send,
    ) -> Result<Option<Cursor>, StoreError> {
        members::each(&self.readers, query, visit).await
    }

    /// Shows a whole list, and answers what is known at the same moment of the organization and of those who have a
    /// membership there but are not listed.
    pub async fn roll(
        &self,
        whole: &MemberQuery,
        visit: impl FnMut(Member) + Send,
    ) -> Result<Unlisted, StoreError> {
        members::roll(&self.readers, whole, visit).await
    }

    /// A number that grows with every change of what the members of an organization may see, before the one
    /// who brought the change hears of it. What was read after the number was taken is current as long as the
    /// number is the same.
    pub fn generation(&self, organization: &OrganizationId) -> u64 {
        self.generations.of(organization)
    }

    /// Follows the members of an organization for one of its users, from now on.
    pub fn follow(&self, organization: &OrganizationId, user: &UserId) -> Follower {
        self.feed.follow(organization, user)
    }

    /// Members and, where they are `shown`, invitations of one organization, by e-mail address, filtered and paged, as
    /// they stand at `now_ms`.
    pub async fn entries(
        &self,
        query: &MemberQuery,
        shown: Option<Shown>,
        now_ms: i64,
    ) -> Result<EntryPage, StoreError> {
        invitations::list(&self.readers, query, shown, now_ms).await
    }

    /// What is known of a caller in its organization.
    pub async fn standing(
        &self,
        organization: &OrganizationId,
        user: &UserId,
    ) -> Result<Standing, StoreError> {
        standing::of(&self.readers, organization, user).await
    }

    /// Forgets the events of the journal that came in before a moment, in small steps, so that no delivery waits
    /// long. Answers how many there were. Their message ids are forgotten with them, which does no harm:
    /// versions decide.
    pub async fn forget_events(&self, before_ms: i64) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        loop {
            let some = journal::forget(&self.bookkeeping, before_ms, FORGOTTEN_AT_ONCE).await?;
            forgotten += some;
            if some == 0 {
                break;
            }
            tokio::time::sleep(FORGETTING_RESTS).await;
        }
        versions::forget(&self.readers, &self.bookkeeping, FORGOTTEN_AT_ONCE, FORGETTING_RESTS).await?;
        Ok(forgotten)
    }

    /// The moment up to which the copy is known to be Clerk's truth, in Unix milliseconds; `None` before the first
    /// event and the first completed pass.
    pub fn as_of_ms(&self) -> Option<i64> {
        self.generations.as_of_ms()
    }

    /// When the newest event of the journal came in, in Unix milliseconds.
    pub async fn last_arrival_ms(&self) -> Result<Option<i64>, StoreError> {
        journal::last_arrival_ms(&self.readers).await
    }

    /// How many events of the journal could not be used.
    pub async fn dead_letters(&self) -> Result<u64, StoreError> {
        journal::dead_letters(&self.readers).await
    }

    /// Asks the database and the writer for a sign of life.
    pub async fn ping(&self) -> Result<(), StoreError> {
        if self.queue.is_closed() {
            return Err(StoreError::Closed);
        }
        if self.feed.is_broken() {
            return Err(StoreError::Broken);
        }
        self.files.as_ref().map_or(Ok(()), DatabaseFiles::check)?;
        self.readers.acquire().await?.execute("SELECT 1 FROM progress LIMIT 1", &[]).await?;
        Ok(())
    }

    /// Whether services or commands use the same PostgreSQL database. Who serves a file is known by its lock.
    pub async fn is_in_use(&self) -> Result<bool, StoreError> {
        let mut db = self.readers.acquire().await?;
        if !db.is_postgres() {
            return Ok(false);
        }
        let others: i64 = db.fetch_one(postgres::OTHERS, &[cell(postgres::SERVICE)]).await?.try_get(0)?;
        Ok(others > 0)
    }

    /// Takes no more writes, finishes those that wait, and closes the database.
    pub async fn close(&self) {
        self.closing.cancel();
        let writer = self.writer.lock().await.take();
        if let Some(writer) = writer
            && let Err(error) = writer.await
        {
            tracing::error!(error = %causes(&error), "the writer ended badly");
        }
        self.bookkeeping.close().await;
        self.readers.close().await;
    }
}
