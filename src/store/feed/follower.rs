//! One who follows: a position in the log, and how to go on from there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use super::{Feed, PAGE, Tail, is_full};
use crate::domain::{OrganizationId, UserId};
use crate::store::connection::Row;
use crate::store::error::StoreError;
use crate::store::rows::cell;
use crate::store::versions;

/// What happened to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    /// It is listed, and new or not what it was.
    Upserted,
    /// It is not listed any more.
    Removed,
}

impl MemberChange {
    pub(super) fn of(kind: &str) -> Option<Self> {
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
    /// Some of it was forgotten: whoever follows has to read the list anew.
    Forgotten,
}

/// What there is to tell of one organization from a position on, up to a version. It goes through what others did
/// meanwhile: see the table for why it has no index for this.
const OF_ORGANIZATION: &str = "SELECT c.version, c.user_id, c.kind FROM changes c
    WHERE (c.version, c.organization_id, c.user_id) > ($1, $3, $4) AND c.version <= $2
        AND c.organization_id = $3 AND c.kind IN ('upserted', 'removed')
    ORDER BY c.version, c.user_id LIMIT $5";

/// The first change that was not told yet: of this version, and of a later user than this one.
#[derive(Debug, Default)]
struct Position {
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
    /// Which numbers these are; see [`Feed::seen`].
    numbers: u64,
    next: Position,
    behind: bool,
}

impl Follower {
    /// From now on.
    pub(super) fn new(
        feed: Arc<Feed>,
        organization: &OrganizationId,
        user: &UserId,
        tail: watch::Receiver<Tail>,
    ) -> Self {
        let mut follower = Self {
            feed,
            organization_id: organization.clone(),
            user_id: user.clone(),
            tail,
            numbers: 0,
            next: Position::default(),
            behind: false,
        };
        follower.begin_now();
        follower
    }

    /// Goes on after a version of which this follower has heard. False when nobody can tell what came after it:
    /// too much has, or this database never had it.
    pub async fn resume(&mut self, version: i64) -> Result<bool, StoreError> {
        let can = versions::has_all_after(&mut self.feed.readers.acquire().await?, version).await?;
        if can {
            self.next = Position { version: version + 1, user_id: String::new() };
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
        if self.numbers != self.feed.numbers.load(Ordering::SeqCst) {
            self.begin_now();
            return Ok(News::Forgotten);
        }
        if self.next.version > until {
            return Ok(News::Changes { told: Vec::new(), of_follower: false });
        }
        if let Some(news) = self.at_hand(until) {
            self.next = Position { version: until + 1, user_id: String::new() };
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
        let mut db = feed.readers.acquire().await?;
        let organization = self.organization_id.as_str();
        let cells = [
            cell(self.next.version),
            cell(until),
            cell(organization),
            cell(self.next.user_id.as_str()),
            cell(PAGE),
        ];
        let rows = db.fetch(OF_ORGANIZATION, &cells).await?;
        let rows: Vec<(i64, String, String)> =
            rows.iter().map(Row::tuple).collect::<Result<_, sqlx::Error>>()?;
        // Asked last: what was forgotten meanwhile may be missing above.
        if !versions::has_all_after(&mut db, self.version()).await? {
            self.begin_now();
            return Ok(News::Forgotten);
        }
        self.behind = is_full(rows.len());
        self.next = match rows.last() {
            Some((version, user_id, _)) if self.behind => {
                Position { version: *version, user_id: user_id.clone() }
            }
            _ => Position { version: until + 1, user_id: String::new() },
        };
        let kind = |kind: &str| MemberChange::of(kind).ok_or(StoreError::InvalidData("kind of change"));
        let rows = rows.into_iter().map(|(version, user, text)| Ok((version, user, kind(&text)?)));
        let told = tell(rows.collect::<Result<_, StoreError>>()?, !self.behind);
        Ok(News::Changes { told, of_follower: true })
    }

    fn begin_now(&mut self) {
        self.numbers = self.feed.numbers.load(Ordering::SeqCst);
        self.next = Position { version: self.feed.now() + 1, user_id: String::new() };
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut followed = self.feed.followed();
        let name = self.organization_id.as_str();
        let Some(tail) = followed.organizations.get(name) else { return };
        let mut is_last = false;
        tail.send_if_modified(|tail| {
            tail.followers -= 1;
            is_last = tail.followers == 0;
            false
        });
        if is_last {
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

    #[tokio::test]
    async fn the_log_is_read_from_a_place_on() {
        // What is sorted is what one version says.
        insta::assert_snapshot!(plan(OF_ORGANIZATION).await, @r"
        SEARCH c USING PRIMARY KEY ((version,organization_id,user_id)>(?,?,?) AND version<?)
        USE TEMP B-TREE FOR LAST TERM OF ORDER BY
        ");
    }
}
