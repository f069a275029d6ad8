//! The change feed: tells those who follow an organization which of its members each new version touched.
//!
//! One task reads every version once, however many follow, and lays its rows before the organizations that
//! are followed. Each keeps its newest few; who is further behind reads on from the log itself, a page at a
//! time. So nothing queues up for a reader that is slow: it holds a place, and no changes.
//!
//! A version is told only when it is `known`: the generations of all that it, and every version before it, touched
//! have moved. Who hears of a change and asks for the list then never gets the one of before. Where
//! the one who is asked may be another instance, a version is held back until every instance has seen it, or knows
//! that it sees nothing.

mod follower;
mod watermark;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::watermark::Watermark;
use super::connection::{Connection, Pool};
use super::error::StoreError;
use super::rows::cell;
use super::versions;
use crate::domain::{OrganizationId, UserId};
use crate::telemetry::causes;

pub use self::follower::{Follower, MemberChange, News, Told};

/// How many changes of an organization are at hand for those who follow it.
const AT_HAND: usize = 64;
/// How many changes are read at once.
const PAGE: i64 = 256;
/// How many may read the log at the same time, so that lists never wait for those who come back.
const TURNS: usize = 2;
/// When the log could not be read.
const AGAIN: Duration = Duration::from_millis(200);

/// A row of the log, as those see it who follow its organization.
#[derive(Debug)]
struct Row {
    version: i64,
    /// Empty when it is about the organization itself.
    user_id: String,
    /// `None` when it is not for the list.
    change: Option<MemberChange>,
}

/// The newest rows of one organization.
#[derive(Debug)]
struct Tail {
    /// Of this version, and of those before, rows may be missing.
    after: i64,
    rows: VecDeque<Row>,
    /// How many follow it.
    followers: usize,
}

impl Tail {
    fn new(after: i64) -> Self {
        Self { after, rows: VecDeque::new(), followers: 0 }
    }

    fn push(&mut self, row: Row) {
        // When the log had to be read again.
        if self.rows.back().is_some_and(|last| (last.version, &last.user_id) >= (row.version, &row.user_id)) {
            return;
        }
        self.rows.push_back(row);
        if self.rows.len() > AT_HAND
            && let Some(oldest) = self.rows.pop_front()
        {
            self.after = self.after.max(oldest.version);
        }
    }

    fn forget(&mut self, version: i64) {
        self.after = self.after.max(version);
        self.rows.clear();
    }
}

#[derive(Debug)]
struct Followed {
    organizations: HashMap<String, watch::Sender<Tail>>,
    /// Up to this version rows are being laid out, or have been.
    reading: i64,
}

/// What all who follow share.
#[derive(Debug)]
pub(super) struct Feed {
    state: Mutex<Watermark>,
    known: watch::Sender<i64>,
    /// Counts how often versions have begun to mean something else.
    numbers: AtomicU64,
    /// Up to this version everything lies before those who follow.
    laid_out: AtomicI64,
    followed: Mutex<Followed>,
    readers: Pool,
    turns: Semaphore,
    /// Whether a task has ended without which followers miss changes.
    broken: AtomicBool,
    /// How long a version is held back.
    hold: Duration,
    closing: CancellationToken,
}

/// Starts the feed at what is there now; it holds back each version for so long. It ends when the store closes.
pub(super) async fn start(
    readers: &Pool,
    hold: Duration,
    closing: &CancellationToken,
) -> Result<Arc<Feed>, StoreError> {
    let version = versions::newest(&mut readers.acquire().await?).await?;
    let feed = Arc::new(Feed {
        state: Mutex::new(Watermark::new(version)),
        known: watch::Sender::new(version),
        numbers: AtomicU64::new(0),
        laid_out: AtomicI64::new(version),
        followed: Mutex::new(Followed { organizations: HashMap::new(), reading: version }),
        readers: readers.clone(),
        turns: Semaphore::new(TURNS),
        broken: AtomicBool::new(false),
        hold,
        closing: closing.clone(),
    });
    let (task, closing) = (Arc::clone(&feed), closing.clone());
    tokio::spawn(async move {
        let run = AssertUnwindSafe(closing.run_until_cancelled(task.run()));
        if run.catch_unwind().await.is_err() {
            task.breaks();
        }
    });
    Ok(feed)
}

/// The log in order, after a row and up to a version.
const LAY_OUT: &str = "SELECT c.version, c.organization_id, c.user_id, c.kind FROM changes c
    WHERE (c.version, c.organization_id, c.user_id) > ($1, $2, $3) AND c.version <= $4
    ORDER BY c.version, c.organization_id, c.user_id LIMIT $5";

impl Feed {
    /// This process has committed a version, and what it changed is touched.
    pub(super) fn wrote(&self, version: Option<i64>) {
        self.learn(|known| version.into_iter().for_each(|version| known.wrote(version)));
    }

    /// A task has ended without which followers miss changes.
    pub(super) fn breaks(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    /// Whether one has.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// The newest version that is known.
    pub(super) fn known(&self) -> i64 {
        *self.known.borrow()
    }

    /// What was written up to this version is touched. When a look could not tell what they did, `before` is what
    /// was known when it began: a database that has less is another one, such as a replica that took over and never
    /// had the last versions. Then what was told is void.
    pub(super) fn seen(&self, version: Option<i64>, before: Option<i64>) {
        let Some(version) = version else { return };
        if before.is_some_and(|before| version < before) {
            self.start_over(version);
        } else {
            self.learn(|known| known.saw(version));
        }
    }

    fn learn(&self, learn: impl FnOnce(&mut Watermark)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        learn(&mut state);
        let version = state.version();
        self.known.send_if_modified(|known| std::mem::replace(known, version.max(*known)) < version);
    }

    fn start_over(&self, version: i64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut followed = self.followed();
        *state = Watermark::new(version);
        followed.reading = version;
        self.laid_out.store(version, Ordering::SeqCst);
        self.known.send_replace(version);
        self.numbers.fetch_add(1, Ordering::SeqCst);
        for tail in followed.organizations.values() {
            tail.send_modify(|tail| {
                tail.after = version;
                tail.rows.clear();
            });
        }
    }

    /// Begins to follow: what happens from now on is told.
    pub(super) fn follow(self: &Arc<Self>, organization: &OrganizationId, user: &UserId) -> Follower {
        let tail = {
            let mut followed = self.followed();
            let after = followed.reading;
            let tail = followed.organizations.entry(organization.as_str().to_owned());
            let tail = tail.or_insert_with(|| watch::Sender::new(Tail::new(after)));
            tail.send_if_modified(|tail| {
                tail.followers += 1;
                false
            });
            tail.subscribe()
        };
        Follower::new(Arc::clone(self), organization, user, tail)
    }

    async fn run(&self) {
        let mut known = self.known.subscribe();
        let mut held = VecDeque::new();
        let mut works = true;
        loop {
            let due = held.front().map(|(due, _)| *due);
            tokio::select! {
                changed = known.changed() => match changed {
                    Ok(()) => held.push_back((Instant::now() + self.hold, *known.borrow_and_update())),
                    Err(_) => return,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let now = Instant::now();
                    let ready = held.partition_point(|(due, _)| *due <= now);
                    let Some((_, version)) = held.range(..ready).next_back() else { continue };
                    // Numbers may have begun again.
                    let done = self.lay_out((*version).min(self.known())).await;
                    let worked = std::mem::replace(&mut works, done.is_ok());
                    match done {
                        Ok(()) => drop(held.drain(..ready)),
                        Err(error) => {
                            if worked {
                                tracing::warn!(
                                    error = %causes(&error),
                                    "the feed waits for the database"
                                );
                            }
                            tokio::time::sleep(AGAIN).await;
                        }
                    }
                }
            }
        }
    }

    /// Whoever begins now is told of every version after this one.
    fn now(&self) -> i64 {
        if self.hold.is_zero() { self.known() } else { self.laid_out.load(Ordering::SeqCst) }
    }

    /// Lays all rows up to a version before those who follow.
    async fn lay_out(&self, version: i64) -> Result<(), StoreError> {
        let (from, numbers) = {
            let mut followed = self.followed();
            let from = self.laid_out.load(Ordering::SeqCst);
            if from >= version {
                return Ok(());
            }
            followed.reading = version;
            // Who comes later begins after this.
            if followed.organizations.is_empty() {
                self.laid_out.store(version, Ordering::SeqCst);
                return Ok(());
            }
            (from, self.numbers.load(Ordering::SeqCst))
        };
        let mut db = self.readers.acquire().await?;
        let mut touched = BTreeSet::new();
        let mut after = (from + 1, String::new(), String::new());
        while let Some(last) = self.lay_out_page(&mut db, numbers, &after, version, &mut touched).await? {
            after = last;
        }
        let whole = versions::has_all_after(&mut db, from).await?;
        let followed = self.followed();
        if numbers != self.numbers.load(Ordering::SeqCst) {
            return Ok(());
        }
        if !whole {
            for (organization, tail) in &followed.organizations {
                tail.send_modify(|tail| tail.forget(version));
                touched.insert(organization.clone());
            }
        }
        self.laid_out.store(version, Ordering::SeqCst);
        for tail in touched.iter().filter_map(|organization| followed.organizations.get(organization)) {
            tail.send_modify(|_| ());
        }
        Ok(())
    }

    /// The next rows. Answers where they end when there are more, and adds whom they are of. Rows that were asked for
    /// before the numbers began again are of versions that never were.
    async fn lay_out_page(
        &self,
        db: &mut Connection,
        numbers: u64,
        after: &(i64, String, String),
        version: i64,
        touched: &mut BTreeSet<String>,
    ) -> Result<Option<(i64, String, String)>, StoreError> {
        let place = [cell(after.0), cell(after.1.as_str()), cell(after.2.as_str())];
        let rows = db.fetch(LAY_OUT, &[&place[..], &[cell(version), cell(PAGE)]].concat()).await?;
        let is_full = is_full(rows.len());
        let followed = self.followed();
        if numbers != self.numbers.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let mut last = None;
        for row in rows {
            let (version, organization, user_id, kind): (i64, String, String, String) = row.tuple()?;
            last = Some((version, organization.clone(), user_id.clone()));
            let Some(tail) = followed.organizations.get(&organization) else { continue };
            tail.send_if_modified(|tail| {
                tail.push(Row { version, user_id, change: MemberChange::of(&kind) });
                // They hear of it when all is there.
                false
            });
            touched.insert(organization);
        }
        Ok(last.filter(|_| is_full))
    }

    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a page has so many rows that another one may follow.
fn is_full(rows: usize) -> bool {
    i64::try_from(rows).is_ok_and(|rows| rows >= PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::members::tests::plan;
    use crate::store::sqlite;

    #[test]
    fn a_tail_keeps_the_newest_and_says_what_it_lacks() {
        let mut tail = Tail::new(0);
        for _ in 0..2 {
            for number in 0..100 {
                let row = Row { version: 1 + number / 2, user_id: format!("user_{number:03}"), change: None };
                tail.push(row);
            }
        }
        assert_eq!((tail.rows.len(), tail.after), (AT_HAND, 18));
        tail.forget(70);
        assert_eq!((tail.rows.len(), tail.after), (0, 70));
    }

    /// A replica that took over may never have had the last versions.
    #[tokio::test]
    async fn numbers_that_begin_again_void_what_was_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roster.db");
        sqlite::prepare(&path).await.unwrap();
        let feed = start(&sqlite::readers(&path), Duration::ZERO, &CancellationToken::new()).await.unwrap();
        let (organization, user) =
            (OrganizationId::parse("org_1").unwrap(), UserId::parse("user_1").unwrap());
        feed.seen(Some(5), None);
        let mut follower = feed.follow(&organization, &user);
        assert_eq!(follower.version(), 5);
        feed.seen(Some(4), None);
        assert_eq!(*feed.known.borrow(), 5);
        feed.seen(Some(2), Some(feed.known()));
        follower.changed().await.unwrap();
        assert_eq!(follower.take().await.unwrap(), News::Forgotten);
        assert_eq!(follower.version(), 2);
        let nothing = News::Changes { told: Vec::new(), of_follower: false };
        assert_eq!(follower.take().await.unwrap(), nothing);
    }

    /// They would stand in the way of all that follows, because it has smaller numbers.
    #[tokio::test]
    async fn rows_that_were_read_before_numbers_began_again_are_not_laid_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roster.db");
        let mut db = sqlite::prepare(&path).await.unwrap();
        for version in [3, 9] {
            let row = "INSERT INTO changes (version, organization_id, user_id, kind) VALUES (?, 'org_1', 'user_1', 'member.updated')";
            sqlx::query(row).bind(version).execute(&mut db).await.unwrap();
        }
        let feed = start(&sqlite::readers(&path), Duration::ZERO, &CancellationToken::new()).await.unwrap();
        let _follower =
            feed.follow(&OrganizationId::parse("org_1").unwrap(), &UserId::parse("user_1").unwrap());
        let versions = || {
            let followed = feed.followed();
            let tail = followed.organizations["org_1"].borrow();
            tail.rows.iter().map(|row| row.version).collect::<Vec<_>>()
        };
        let numbers = feed.numbers.load(Ordering::SeqCst);
        feed.start_over(2);
        let mut db = feed.readers.acquire().await.unwrap();
        let from = (3, String::new(), String::new());
        let mut touched = BTreeSet::new();
        for (numbers, laid_out) in [(numbers, vec![]), (numbers + 1, vec![3, 9])] {
            feed.lay_out_page(&mut db, numbers, &from, 9, &mut touched).await.unwrap();
            assert_eq!(versions(), laid_out);
        }
    }

    #[tokio::test]
    async fn the_log_is_read_from_a_place_on() {
        insta::assert_snapshot!(plan(LAY_OUT).await, @"SEARCH c USING PRIMARY KEY ((version,organization_id,user_id)>(?,?,?) AND version<?)");
    }
}
