//! The passes of reconciliation: the lease that keeps them apart, where each stands, what each found.

use sqlx::sqlite::SqlitePool;

use super::Store;
use super::error::StoreError;

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
}

const TAKE: &str = "INSERT INTO leases (name, owner, expires_at_ms) VALUES ($1, $2, $3)
    ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, expires_at_ms = excluded.expires_at_ms
        WHERE leases.owner = excluded.owner OR leases.expires_at_ms < $4
    RETURNING owner";

/// Takes the lease, or renews it; false when somebody else holds it.
pub(super) async fn take_lease(
    db: &SqlitePool,
    owner: &str,
    now_ms: i64,
    expires_at_ms: i64,
) -> Result<bool, StoreError> {
    let taken: Option<String> = sqlx::query_scalar(TAKE)
        .bind(RECONCILE)
        .bind(owner)
        .bind(expires_at_ms)
        .bind(now_ms)
        .fetch_optional(db)
        .await?;
    Ok(taken.is_some())
}

/// Takes the lease from whoever holds it, when the name of that owner begins with `owners`.
pub(super) async fn clear_lease(db: &SqlitePool, owners: &str) -> Result<bool, StoreError> {
    let statement = "DELETE FROM leases WHERE name = $1 AND substr(owner, 1, length($2)) = $2";
    let cleared = sqlx::query(statement).bind(RECONCILE).bind(owners).execute(db).await?;
    Ok(cleared.rows_affected() > 0)
}

/// Gives the lease back.
pub(super) async fn release_lease(db: &SqlitePool, owner: &str) -> Result<(), StoreError> {
    let statement = "DELETE FROM leases WHERE name = $1 AND owner = $2";
    sqlx::query(statement).bind(RECONCILE).bind(owner).execute(db).await?;
    Ok(())
}

const SAVE: &str = "INSERT INTO passes (id, kind, outcome, started_at_ms, progress)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome, started_at_ms = excluded.started_at_ms,
        progress = excluded.progress";

const ADVANCE: &str = "INSERT INTO progress (name, at_ms) VALUES ('last_completed_pass', $1)
    ON CONFLICT (name) DO UPDATE SET at_ms = excluded.at_ms WHERE excluded.at_ms > progress.at_ms";

/// Writes down where a pass stands.
pub(super) async fn save(db: &SqlitePool, pass: &StoredPass) -> Result<(), StoreError> {
    sqlx::query(SAVE)
        .bind(&pass.id)
        .bind(&pass.kind)
        .bind(&pass.outcome)
        .bind(pass.started_at_ms)
        .bind(&pass.progress)
        .execute(db)
        .await?;
    if pass.is_completed() {
        sqlx::query(ADVANCE).bind(pass.started_at_ms).execute(db).await?;
    }
    Ok(())
}

type Row = (String, String, Option<String>, i64, String);

fn pass((id, kind, outcome, started_at_ms, progress): Row) -> StoredPass {
    StoredPass { id, kind, outcome, started_at_ms, progress }
}

const UNFINISHED: &str = "SELECT id, kind, outcome, started_at_ms, progress FROM passes
    WHERE kind = $1 AND outcome IS NULL ORDER BY started_at_ms DESC, id DESC LIMIT 1";

/// The newest pass of a kind that did not end.
pub(super) async fn unfinished(readers: &SqlitePool, kind: &str) -> Result<Option<StoredPass>, StoreError> {
    Ok(sqlx::query_as(UNFINISHED).bind(kind).fetch_optional(readers).await?.map(pass))
}

const COMPLETED: &str = "SELECT id, kind, outcome, started_at_ms, progress FROM passes
    WHERE outcome = 'completed' ORDER BY started_at_ms DESC, id DESC LIMIT 1";

/// The newest pass that was completed, of either kind.
pub(super) async fn last_completed(readers: &SqlitePool) -> Result<Option<StoredPass>, StoreError> {
    Ok(sqlx::query_as(COMPLETED).fetch_optional(readers).await?.map(pass))
}

const WALKED: &str = "SELECT EXISTS (SELECT 1 FROM passes WHERE kind = 'full'
    AND outcome IN ('completed', 'braked'))";

/// Whether a full pass ever walked to its end.
pub(super) async fn has_full_pass(readers: &SqlitePool) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(WALKED).fetch_one(readers).await?)
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
const LEASED: &str = "SELECT COUNT(*) FROM leases WHERE name = $1 AND expires_at_ms >= $2";

impl Store {
    /// The newest passes, with those that did not end.
    pub async fn recent_passes(&self, limit: i64) -> Result<Vec<StoredPass>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(RECENT).bind(limit).fetch_all(&self.readers).await?;
        Ok(rows.into_iter().map(pass).collect())
    }

    /// Forgets the passes that began before a moment, but for those that later ones go by.
    pub async fn forget_passes(&self, before_ms: i64) -> Result<u64, StoreError> {
        let forgotten = sqlx::query(FORGET).bind(before_ms).execute(&self.bookkeeping).await?;
        Ok(forgotten.rows_affected())
    }

    /// Whether somebody runs a pass now.
    pub async fn is_pass_under_way(&self, now_ms: i64) -> Result<bool, StoreError> {
        let leases: i64 =
            sqlx::query_scalar(LEASED).bind(RECONCILE).bind(now_ms).fetch_one(&self.readers).await?;
        Ok(leases > 0)
    }
}
