//! The passes of reconciliation: the lease that keeps them apart, where each stands, what each found.

use super::Store;
use super::connection::{Pool, Row};
use super::error::StoreError;
use super::rows::{Cell, Script, Statement, cell};
use crate::domain::{PassKind, PassOutcome};

/// The lease's name.
const RECONCILE: &str = "reconcile";

/// A pass as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPass {
    /// Its id; later passes have greater ones.
    pub id: String,
    /// How far it looks.
    pub kind: PassKind,
    /// How it ended; `None` while it runs or waits to be resumed.
    pub outcome: Option<PassOutcome>,
    /// When it began, by Clerk's clock, in Unix milliseconds.
    pub started_at_ms: i64,
    /// Where it stands, with its report so far; JSON.
    pub progress: String,
}

impl StoredPass {
    fn is_completed(&self) -> bool {
        self.outcome == Some(PassOutcome::Completed)
    }

    fn is_walked(&self) -> bool {
        matches!(self.outcome, Some(PassOutcome::Completed | PassOutcome::Braked))
    }
}

/// One that ends in more than an hour was taken before the clock was set back.
const TAKE: &str = "INSERT INTO leases (name, owner, expires_at_ms) VALUES ($1, $2, $3)
    ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, expires_at_ms = excluded.expires_at_ms
        WHERE leases.owner = excluded.owner OR leases.expires_at_ms < $4
            OR leases.expires_at_ms > $4 + 3600000
    RETURNING owner";

const LEASE_END: &str = "SELECT expires_at_ms FROM leases WHERE name = $1";
const CLEAR: &str = "DELETE FROM leases WHERE name = $1 AND substr(owner, 1, length($2)) = $2";
const RELEASE: &str = "DELETE FROM leases WHERE name = $1 AND owner = $2";

/// One that has ended stays as it is, whoever still thinks that it runs.
static SAVE: Statement<5> = Statement::new(
    "INSERT INTO passes (id, kind, outcome, started_at_ms, progress)
    VALUES {rows}
    ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome, started_at_ms = excluded.started_at_ms,
        progress = excluded.progress
        WHERE passes.outcome IS NULL",
);

fn row(pass: &StoredPass) -> [Cell<'_>; 5] {
    [
        cell(pass.id.as_str()),
        cell(pass.kind.as_str()),
        cell(pass.outcome.map(PassOutcome::as_str)),
        cell(pass.started_at_ms),
        cell(pass.progress.as_str()),
    ]
}

/// Writes down where passes stand, with what they have found.
pub(super) fn record<'a>(script: &mut Script<'a>, passes: &'a [StoredPass]) {
    script.add(&SAVE, passes.iter().map(row));
}

/// Others of its kind that wait to be resumed: every instance of a first start may have begun one.
const CLOSE_OTHERS: &str = "UPDATE passes SET outcome = 'interrupted'
    WHERE kind = $1 AND outcome IS NULL AND id <> $2";

const ADVANCE: &str = "INSERT INTO progress (name, at_ms) VALUES ('last_completed_pass', $1)
    ON CONFLICT (name) DO UPDATE SET at_ms = excluded.at_ms WHERE excluded.at_ms > progress.at_ms";

fn pass(row: &Row) -> Result<StoredPass, StoreError> {
    let (id, kind, outcome, started_at_ms, progress): (_, String, Option<String>, _, _) = row.tuple()?;
    let kind = PassKind::parse(&kind).ok_or(StoreError::InvalidData("kind of a pass"))?;
    let outcome = outcome
        .map(|outcome| PassOutcome::parse(&outcome).ok_or(StoreError::InvalidData("outcome of a pass")))
        .transpose()?;
    Ok(StoredPass { id, kind, outcome, started_at_ms, progress })
}

const UNFINISHED: &str = "SELECT id, kind, outcome, started_at_ms, progress FROM passes
    WHERE kind = $1 AND outcome IS NULL ORDER BY started_at_ms DESC, id DESC LIMIT 1";

const COMPLETED: &str = "SELECT id, kind, outcome, started_at_ms, progress FROM passes
    WHERE outcome = 'completed' ORDER BY started_at_ms DESC, id DESC LIMIT 1";

const ENDED: &str = "SELECT id FROM passes WHERE kind = $1 AND outcome IN ('completed', 'braked')
    ORDER BY started_at_ms DESC, id DESC LIMIT 1";

/// What was found long ago interests nobody, but the newest of each sort decides what the next start does: whether
/// a full pass ever came to its end, which one is gone on with, since when the copy is the truth.
const FORGET: &str = "DELETE FROM passes WHERE started_at_ms < $1
    AND id NOT IN (SELECT id FROM passes WHERE outcome = 'completed'
        ORDER BY started_at_ms DESC, id DESC LIMIT 1)
    AND id NOT IN (SELECT id FROM passes WHERE kind = 'full' AND outcome IN ('completed', 'braked')
        ORDER BY started_at_ms DESC, id DESC LIMIT 1)
    AND id NOT IN (SELECT id FROM passes WHERE kind = 'full' AND outcome IS NULL
        ORDER BY started_at_ms DESC, id DESC LIMIT 1)";

const RECENT: &str = "SELECT id, kind, outcome, started_at_ms, progress FROM passes
    ORDER BY started_at_ms DESC, id DESC LIMIT $1";
const UNCOUNTED: &str = r#"SELECT id, kind, outcome, started_at_ms, progress FROM passes
    WHERE outcome IS NOT NULL AND progress LIKE '%"uncounted":%'"#;
const REPLACE: &str = "UPDATE passes SET progress = $3 WHERE id = $1 AND progress = $2";
const LEASED: &str = "SELECT COUNT(*) FROM leases
    WHERE name = $1 AND expires_at_ms >= $2 AND expires_at_ms <= $2 + 3600000";

const SERVER_CLOCK: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";

impl Store {
    /// The time that leases go by, in Unix milliseconds: this machine's, `now_ms`, for a file, and the server's, whatever
    /// the clocks of its instances show.
    pub async fn lease_clock_ms(&self, now_ms: i64) -> Result<i64, StoreError> {
        if matches!(self.readers, Pool::Sqlite(..)) {
            return Ok(now_ms);
        }
        Ok(self.readers.acquire().await?.fetch_one(SERVER_CLOCK, &[]).await?.try_get(0)?)
    }

    /// Takes the lease on reconciliation, or renews it; false when somebody else holds it. By [`Self::lease_clock_ms`].
    pub async fn take_lease(&self, owner: &str, now_ms: i64, expires_at_ms: i64) -> Result<bool, StoreError> {
        let cells = [cell(RECONCILE), cell(owner), cell(expires_at_ms), cell(now_ms)];
        Ok(self.bookkeeping.acquire().await?.fetch_optional(TAKE, &cells).await?.is_some())
    }

    /// When the lease on reconciliation ends if nobody renews it, in Unix milliseconds; `None` when nobody has it.
    pub async fn lease_end(&self) -> Result<Option<i64>, StoreError> {
        let row = self.readers.acquire().await?.fetch_optional(LEASE_END, &[cell(RECONCILE)]).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// Takes the lease from a dead holder whose name begins with `owners`; true when there was one.
    pub async fn clear_lease(&self, owners: &str) -> Result<bool, StoreError> {
        let cells = [cell(RECONCILE), cell(owners)];
        Ok(self.bookkeeping.acquire().await?.execute(CLEAR, &cells).await? > 0)
    }

    /// Gives the lease back.
    pub async fn release_lease(&self, owner: &str) -> Result<(), StoreError> {
        self.bookkeeping.acquire().await?.execute(RELEASE, &[cell(RECONCILE), cell(owner)]).await?;
        Ok(())
    }

    /// Writes down where a pass stands. When it was walked to its end, there is nothing left for those that wait.
    pub async fn save_pass(&self, pass: &StoredPass) -> Result<(), StoreError> {
        let mut db = self.bookkeeping.acquire().await?;
        if !pass.is_walked() {
            return SAVE.fetch(&mut db, &[row(pass)]).await.map(drop);
        }
        db.begin_writing().await?;
        SAVE.fetch(&mut db, &[row(pass)]).await?;
        db.execute(CLOSE_OTHERS, &[cell(pass.kind.as_str()), cell(pass.id.as_str())]).await?;
        if pass.is_completed() {
            db.execute(ADVANCE, &[cell(pass.started_at_ms)]).await?;
        }
        db.commit().await?;
        if pass.is_completed() {
            self.generations.advance(Some(pass.started_at_ms));
        }
        Ok(())
    }

    /// The newest pass of a kind that did not end.
    pub async fn unfinished_pass(&self, kind: PassKind) -> Result<Option<StoredPass>, StoreError> {
        let row = self.readers.acquire().await?.fetch_optional(UNFINISHED, &[cell(kind.as_str())]).await?;
        row.as_ref().map(pass).transpose()
    }

    /// The newest pass that was completed, of either kind.
    pub async fn last_completed_pass(&self) -> Result<Option<StoredPass>, StoreError> {
        let row = self.readers.acquire().await?.fetch_optional(COMPLETED, &[]).await?;
        row.as_ref().map(pass).transpose()
    }

    /// The id of the newest pass of a kind that walked to its end.
    pub async fn last_ended_pass(&self, kind: PassKind) -> Result<Option<String>, StoreError> {
        let row = self.readers.acquire().await?.fetch_optional(ENDED, &[cell(kind.as_str())]).await?;
        Ok(row.map(|row| row.try_get("id")).transpose()?)
    }

    /// The newest passes, with those that did not end.
    pub async fn recent_passes(&self, limit: i64) -> Result<Vec<StoredPass>, StoreError> {
        let rows = self.readers.acquire().await?.fetch(RECENT, &[cell(limit)]).await?;
        rows.iter().map(pass).collect()
    }

    /// Those that a command has ended, and nobody has counted.
    pub async fn uncounted_passes(&self) -> Result<Vec<StoredPass>, StoreError> {
        let rows = self.readers.acquire().await?.fetch(UNCOUNTED, &[]).await?;
        rows.iter().map(pass).collect()
    }

    /// Writes `after` for `before`, unless somebody was quicker.
    pub async fn replace_progress(
        &self,
        before: &StoredPass,
        after: &StoredPass,
    ) -> Result<bool, StoreError> {
        let cells = [cell(before.id.as_str()), cell(before.progress.as_str()), cell(after.progress.as_str())];
        Ok(self.bookkeeping.acquire().await?.execute(REPLACE, &cells).await? > 0)
    }

    /// Forgets the passes that began before a moment, but for those that later ones go by.
    pub async fn forget_passes(&self, before_ms: i64) -> Result<u64, StoreError> {
        self.bookkeeping.acquire().await?.execute(FORGET, &[cell(before_ms)]).await
    }

    /// Whether somebody runs a pass now, by [`Self::lease_clock_ms`].
    pub async fn is_pass_under_way(&self, now_ms: i64) -> Result<bool, StoreError> {
        let mut db = self.readers.acquire().await?;
        let leases: i64 = db.fetch_one(LEASED, &[cell(RECONCILE), cell(now_ms)]).await?.try_get(0)?;
        Ok(leases > 0)
    }
}
