//! The passes of reconciliation: the lease that keeps them apart, where each stands, what each found.

use super::Store;
use super::connection::{Pool, Row};
use super::error::StoreError;
use super::rows::{Cell, Script, Statement, cell};

/// The lease's name.
const RECONCILE: &str = "reconcile";

/// A pass as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPass {
    /// Its id; later passes have greater ones.
    pub id: String,
    /// `full` or `incremental`.
    pub kind: String,
    /// How it ended; `None` while it runs or waits to be resumed.
    pub outcome: Option<String>,
    /// When it began, by Clerk's clock, in Unix milliseconds.
    pub started_at_ms: i64,
    /// Where it stands, with its report so far; JSON.
    pub progress: String,
}

impl StoredPass {
    pub(super) fn is_completed(&self) -> bool {
        self.outcome.as_deref() == Some("completed")
    }

    fn is_walked(&self) -> bool {
        self.is_completed() || self.outcome.as_deref() == Some("braked")
    }
}

const TAKE: &str = "INSERT INTO leases (name, owner, expires_at_ms) VALUES ($1, $2, $3)
    ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, expires_at_ms = excluded.expires_at_ms
        WHERE leases.owner = excluded.owner OR leases.expires_at_ms < $4
    RETURNING owner";

/// Takes the lease, or renews it; false when somebody else holds it.
pub(super) async fn take_lease(
    db: &Pool,
    owner: &str,
    now_ms: i64,
    expires_at_ms: i64,
) -> Result<bool, StoreError> {
    let cells = [cell(RECONCILE), cell(owner), cell(expires_at_ms), cell(now_ms)];
    Ok(db.acquire().await?.fetch_optional(TAKE, &cells).await?.is_some())
}

/// When it ends, if somebody has it.
pub(super) async fn lease_end(db: &Pool) -> Result<Option<i64>, StoreError> {
    let statement = "SELECT expires_at_ms FROM leases WHERE name = $1";
    let row = db.acquire().await?.fetch_optional(statement, &[cell(RECONCILE)]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Takes the lease from whoever holds it, when the name of that owner begins with `owners`.
pub(super) async fn clear_lease(db: &Pool, owners: &str) -> Result<bool, StoreError> {
    let statement = "DELETE FROM leases WHERE name = $1 AND substr(owner, 1, length($2)) = $2";
    Ok(db.acquire().await?.execute(statement, &[cell(RECONCILE), cell(owners)]).await? > 0)
}

/// Gives the lease back.
pub(super) async fn release_lease(db: &Pool, owner: &str) -> Result<(), StoreError> {
    let statement = "DELETE FROM leases WHERE name = $1 AND owner = $2";
    db.acquire().await?.execute(statement, &[cell(RECONCILE), cell(owner)]).await?;
    Ok(())
}

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
        cell(&pass.outcome),
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

/// Writes down where a pass stands. When it was walked to its end, there is nothing left for those that wait.
pub(super) async fn save(db: &Pool, pass: &StoredPass) -> Result<(), StoreError> {
    let mut db = db.acquire().await?;
    if !pass.is_walked() {
        return SAVE.fetch(&mut db, &[row(pass)]).await.map(drop);
    }
    db.begin_writing().await?;
    SAVE.fetch(&mut db, &[row(pass)]).await?;
    db.execute(CLOSE_OTHERS, &[cell(pass.kind.as_str()), cell(pass.id.as_str())]).await?;
    if pass.is_completed() {
        db.execute(ADVANCE, &[cell(pass.started_at_ms)]).await?;
    }
    db.commit().await
}

fn pass(row: &Row) -> Result<StoredPass, StoreError> {
    let (id, kind, outcome, started_at_ms, progress) = row.tuple()?;
    Ok(StoredPass { id, kind, outcome, started_at_ms, progress })
}

const UNFINISHED: &str = "SELECT id, kind, outcome, started_at_ms, progress FROM passes
    WHERE kind = $1 AND outcome IS NULL ORDER BY started_at_ms DESC, id DESC LIMIT 1";

/// The newest pass of a kind that did not end.
pub(super) async fn unfinished(readers: &Pool, kind: &str) -> Result<Option<StoredPass>, StoreError> {
    let row = readers.acquire().await?.fetch_optional(UNFINISHED, &[cell(kind)]).await?;
    row.as_ref().map(pass).transpose()
}

const COMPLETED: &str = "SELECT id, kind, outcome, started_at_ms, progress FROM passes
    WHERE outcome = 'completed' ORDER BY started_at_ms DESC, id DESC LIMIT 1";

/// The newest pass that was completed, of either kind.
pub(super) async fn last_completed(readers: &Pool) -> Result<Option<StoredPass>, StoreError> {
    let row = readers.acquire().await?.fetch_optional(COMPLETED, &[]).await?;
    row.as_ref().map(pass).transpose()
}

const ENDED: &str = "SELECT id FROM passes WHERE kind = $1 AND outcome IN ('completed', 'braked')
    ORDER BY started_at_ms DESC, id DESC LIMIT 1";

/// The newest pass of a kind that walked to its end.
pub(super) async fn last_ended(readers: &Pool, kind: &str) -> Result<Option<String>, StoreError> {
    let row = readers.acquire().await?.fetch_optional(ENDED, &[cell(kind)]).await?;
    Ok(row.map(|row| row.try_get("id")).transpose()?)
}

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
const LEASED: &str = "SELECT COUNT(*) FROM leases WHERE name = $1 AND expires_at_ms >= $2";

impl Store {
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

    /// Whether somebody runs a pass now.
    pub async fn is_pass_under_way(&self, now_ms: i64) -> Result<bool, StoreError> {
        let mut db = self.readers.acquire().await?;
        let leases: i64 = db.fetch_one(LEASED, &[cell(RECONCILE), cell(now_ms)]).await?.try_get(0)?;
        Ok(leases > 0)
    }
}
