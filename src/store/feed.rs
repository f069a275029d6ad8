//! The change feed: tells those who follow an organization which of its members each new version touched.
//!
//! One task reads every version once, however many follow, and lays its rows before the organizations that
//! are followed. Each keeps its newest few; who is further behind reads on from the log itself, a page at a
//! time. So nothing queues up for a reader that is slow: it holds a place, and no changes.
//!
//! A version is told only when it is `known`: the writer has moved the generations of all that it, and every
//! version before it, touched. Who hears of a change and asks for the list then never gets the one of before.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::sqlite::SqlitePool;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::error::StoreError;
use super::versions;
use crate::domain::{OrganizationId, UserId};

/// How many changes of an organization are at hand for those who follow it.
const AT_HAND: usize = 64;
/// How many changes are read at once.
const PAGE: usize = 256;
/// How many may read the log at the same time, so that lists never wait for those who come back.
const TURNS: usize = 2;
/// When the log could not be read.
const AGAIN: Duration = Duration::from_millis(200);

/// What happened to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    /// It is listed, and new or not what it was.
    Upserted,
    /// It is not listed any more.
    Removed,
}

impl MemberChange {
    fn of(kind: &str) -> Option<Self> {
        match kind {
            "upserted" => Some(Self::Upserted),
            "removed" => Some(Self::Removed),
            _ => None,
        }
    }
}

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Who has heard this has heard everything up to this version. Of several changes of one version only the
    /// last one says so.
    pub version: i64,
    /// Of whom.
    pub user_id: String,
    /// What.
    pub change: MemberChange,
}

/// What is new for one who follows.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// These changes, in order; often none.
    Changes {
        /// What to tell.
        told: Vec<Told>,
        /// Whether what is known of the follower itself may be new.
        of_follower: bool,
    },
    /// Some of it was forgotten. From here on everything is told again.
    Forgotten,
}

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
}

impl Tail {
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
    known: watch::Sender<i64>,
    /// Up to this version everything lies before those who follow.
    laid_out: AtomicI64,
    followed: Mutex<Followed>,
    readers: SqlitePool,
    turns: Semaphore,
    closing: CancellationToken,
}

/// Starts the feed after a version. It ends when the store closes.
pub(super) fn start(readers: SqlitePool, version: i64, closing: CancellationToken) -> Arc<Feed> {
    let feed = Arc::new(Feed {
        known: watch::Sender::new(version),
        laid_out: AtomicI64::new(version),
        followed: Mutex::new(Followed { organizations: HashMap::new(), reading: version }),
        readers,
        turns: Semaphore::new(TURNS),
        closing: closing.clone(),
    });
    let task = Arc::clone(&feed);
    tokio::spawn(async move { closing.run_until_cancelled(task.run()).await });
    feed
}

/// The log in order, after a row and up to a version.
const LAY_OUT: &str = "SELECT c.version, c.organization_id, c.user_id, c.kind FROM changes c
    WHERE (c.version, c.organization_id, c.user_id) > ($1, $2, $3) AND c.version <= $4
    ORDER BY c.version, c.organization_id, c.user_id LIMIT $5";

/// What there is to tell of one organization from a place on, up to a version. It goes through what others did
/// meanwhile: see the table for why it has no index for this.
const OF_ORGANIZATION: &str = "SELECT c.version, c.user_id, c.kind FROM changes c
    WHERE (c.version, c.organization_id, c.user_id) > ($1, $3, $4) AND c.version <= $2
        AND c.organization_id = $3 AND c.kind IN ('upserted', 'removed')
    ORDER BY c.version, c.user_id LIMIT $5";

impl Feed {
    /// Every version up to this one is committed, and nobody is answered as before it.
    pub(super) fn know(&self, version: Option<i64>) {
        let Some(version) = version else { return };
        self.known.send_if_modified(|known| {
            let grows = *known < version;
            *known = version.max(*known);
            grows
        });
    }

    /// Begins to follow: what happens from now on is told.
    pub(super) fn follow(self: &Arc<Self>, organization: &OrganizationId, user: &UserId) -> Follower {
        let tail = {
            let mut followed = self.followed();
            let after = followed.reading;
            let tail = followed.organizations.entry(organization.as_str().to_owned());
            tail.or_insert_with(|| watch::Sender::new(Tail { after, rows: VecDeque::new() })).subscribe()
        };
        let mut follower = Follower {
            feed: Arc::clone(self),
            organization_id: organization.clone(),
            user_id: user.clone(),
            tail,
            next: Place::default(),
            behind: false,
        };
        follower.begin_now();
        follower
    }

    async fn run(&self) {
        let mut known = self.known.subscribe();
        let mut works = true;
        loop {
            let version = *known.borrow_and_update();
            let done = self.lay_out(version).await;
            let worked = std::mem::replace(&mut works, done.is_ok());
            if let Err(error) = done {
                if worked {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the feed waits for the database"
                    );
                }
                tokio::time::sleep(AGAIN).await;
            } else if known.changed().await.is_err() {
                return;
            }
        }
    }

    /// Lays all rows up to a version before those who follow.
    async fn lay_out(&self, version: i64) -> Result<(), StoreError> {
        let from = self.laid_out.load(Ordering::SeqCst);
        {
            let mut followed = self.followed();
            followed.reading = version;
            // Who comes later begins after this.
            if followed.organizations.is_empty() || from >= version {
                self.laid_out.fetch_max(version, Ordering::SeqCst);
                return Ok(());
            }
        }
        let mut touched = BTreeSet::new();
        let mut after = (from + 1, String::new(), String::new());
        loop {
            let rows: Vec<(i64, String, String, String)> = sqlx::query_as(LAY_OUT)
                .bind(after.0)
                .bind(&after.1)
                .bind(&after.2)
                .bind(version)
                .bind(limit())
                .fetch_all(&self.readers)
                .await?;
            let more = rows.len() >= PAGE;
            if let Some((version, organization, user, _)) = rows.last() {
                after = (*version, organization.clone(), user.clone());
            }
            let followed = self.followed();
            for (version, organization, user_id, kind) in rows {
                let Some(tail) = followed.organizations.get(&organization) else { continue };
                tail.send_if_modified(|tail| {
                    tail.push(Row { version, user_id, change: MemberChange::of(&kind) });
                    // They hear of it when all is there.
                    false
                });
                touched.insert(organization);
            }
            if !more {
                break;
            }
        }
        let whole = versions::has_all_after(&self.readers, from).await?;
        let followed = self.followed();
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

    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn limit() -> i64 {
    i64::try_from(PAGE).unwrap_or(i64::MAX)
}

/// The first change that was not told yet: of this version, and of a later user than this one.
#[derive(Debug, Default)]
struct Place {
    version: i64,
    user_id: String,
}

/// One who follows the members of an organization.
#[derive(Debug)]
pub struct Follower {
    feed: Arc<Feed>,
    organization_id: OrganizationId,
    user_id: UserId,
    tail: watch::Receiver<Tail>,
    next: Place,
    behind: bool,
}

impl Follower {
    /// Goes on after a version of which this follower has heard. False when nobody can tell what came after it:
    /// too much has, or this database never had it.
    pub async fn resume(&mut self, version: i64) -> Result<bool, StoreError> {
        let can = versions::has_all_after(&self.feed.readers, version).await?;
        if can {
            self.next = Place { version: version + 1, user_id: String::new() };
            self.behind = true;
        }
        Ok(can)
    }

    /// Everything up to this version was taken.
    pub fn version(&self) -> i64 {
        self.next.version - 1
    }

    /// Whether more is there already.
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// Waits until something may be new. An error when the store closes.
    pub async fn changed(&mut self) -> Result<(), StoreError> {
        let changed = self.feed.closing.run_until_cancelled(self.tail.changed()).await;
        changed.and_then(Result::ok).ok_or(StoreError::Closed)
    }

    /// Takes what is new, at most a page of it.
    pub async fn take(&mut self) -> Result<News, StoreError> {
        // First, so that what comes meanwhile is heard of again.
        self.tail.mark_unchanged();
        let until = self.feed.laid_out.load(Ordering::SeqCst);
        self.behind = false;
        if self.next.version > until {
            return Ok(News::Changes { told: Vec::new(), of_follower: false });
        }
        if let Some(news) = self.at_hand(until) {
            self.next = Place { version: until + 1, user_id: String::new() };
            return Ok(news);
        }
        self.read_on(until).await
    }

    /// The news when all of it is at hand.
    fn at_hand(&self, until: i64) -> Option<News> {
        let tail = self.tail.borrow();
        if self.next.version <= tail.after || !self.next.user_id.is_empty() {
            return None;
        }
        let rows = || tail.rows.iter().filter(|row| (self.next.version..=until).contains(&row.version));
        let of_follower =
            rows().any(|row| row.user_id.is_empty() || row.user_id.as_str() == self.user_id.as_str());
        let rows = rows().filter_map(|row| Some((row.version, row.user_id.clone(), row.change?)));
        Some(News::Changes { told: tell(rows.collect(), true), of_follower })
    }

    async fn read_on(&mut self, until: i64) -> Result<News, StoreError> {
        let feed = Arc::clone(&self.feed);
        let _turn = feed.turns.acquire().await.map_err(|_| StoreError::Closed)?;
        let rows: Vec<(i64, String, String)> = sqlx::query_as(OF_ORGANIZATION)
            .bind(self.next.version)
            .bind(until)
            .bind(self.organization_id.as_str())
            .bind(&self.next.user_id)
            .bind(limit())
            .fetch_all(&feed.readers)
            .await?;
        // Asked last: what was forgotten meanwhile may be missing above.
        if !versions::has_all_after(&feed.readers, self.version()).await? {
            self.begin_now();
            return Ok(News::Forgotten);
        }
        self.behind = rows.len() >= PAGE;
        self.next = match rows.last() {
            Some((version, user_id, _)) if self.behind => {
                Place { version: *version, user_id: user_id.clone() }
            }
            _ => Place { version: until + 1, user_id: String::new() },
        };
        let kind = |kind: &str| MemberChange::of(kind).ok_or(StoreError::Foreign("kind of change"));
        let rows = rows.into_iter().map(|(version, user, text)| Ok((version, user, kind(&text)?)));
        let told = tell(rows.collect::<Result<_, StoreError>>()?, !self.behind);
        Ok(News::Changes { told, of_follower: true })
    }

    fn begin_now(&mut self) {
        self.next = Place { version: *self.feed.known.borrow() + 1, user_id: String::new() };
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut followed = self.feed.followed();
        let name = self.organization_id.as_str();
        // This one's own: whoever begins to follow does so under the same lock.
        if followed.organizations.get(name).is_some_and(|tail| tail.receiver_count() <= 1) {
            followed.organizations.remove(name);
        }
    }
}

/// Says after which of these changes a version is complete; after the last one only when it is `whole`.
fn tell(rows: Vec<(i64, String, MemberChange)>, whole: bool) -> Vec<Told> {
    let mut after = if whole { i64::MAX } else { rows.last().map_or(0, |(version, ..)| *version) };
    let mut told: Vec<_> = (rows.into_iter().rev())
        .map(|(version, user_id, change)| {
            let complete = version < std::mem::replace(&mut after, version);
            Told { version: if complete { version } else { version - 1 }, user_id, change }
        })
        .collect();
    told.reverse();
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::members::tests::plan;

    #[test]
    fn only_the_last_change_of_a_version_completes_it() {
        let rows = || [(3, "a"), (5, "a"), (5, "b"), (5, "c"), (9, "a"), (9, "b")];
        let versions = |whole| {
            let rows = rows().map(|(version, user)| (version, user.to_owned(), MemberChange::Upserted));
            tell(rows.to_vec(), whole).iter().map(|told| told.version).collect::<Vec<_>>()
        };
        assert_eq!(versions(true), [3, 4, 4, 5, 8, 9]);
        assert_eq!(versions(false), [3, 4, 4, 5, 8, 8]);
        assert!(tell(Vec::new(), true).is_empty() && tell(Vec::new(), false).is_empty());
    }

    #[test]
    fn a_tail_keeps_the_newest_and_says_what_it_lacks() {
        let mut tail = Tail { after: 0, rows: VecDeque::new() };
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

    #[tokio::test]
    async fn the_log_is_read_from_a_place_on() {
        insta::assert_snapshot!(plan(LAY_OUT).await, @"SEARCH c USING PRIMARY KEY ((version,organization_id,user_id)>(?,?,?) AND version<?)");
        // What is sorted is what one version says.
        insta::assert_snapshot!(plan(OF_ORGANIZATION).await, @r"
        SEARCH c USING PRIMARY KEY ((version,organization_id,user_id)>(?,?,?) AND version<?)
        USE TEMP B-TREE FOR LAST TERM OF ORDER BY
        ");
    }
}
