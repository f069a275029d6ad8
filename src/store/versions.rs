//! What tells caches, other processes and the change feed that an organization's answers are new.
//!
//! Every batch that changes an answer has a number, greater than that of every batch that was committed
//! before. It is the version of each organization that the batch touched, and the log says whom.

use std::collections::BTreeSet;

use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::error::StoreError;
use super::project::Place;
use super::rows::{Statement, cell};
use crate::domain::OrganizationId;

const NEXT: &str = "INSERT INTO sequences (name, value) VALUES ('version', 1)
    ON CONFLICT (name) DO UPDATE SET value = sequences.value + 1 RETURNING value";

/// A member that is listed now was upserted. One that was listed before was removed. Of anybody else nobody
/// is told, but what is known of a caller may be new.
static LOG_MEMBERS: Statement<4> = Statement::new(
    "INSERT INTO changes (version, organization_id, user_id, kind)
    SELECT r.column1, r.column2, r.column3, CASE WHEN x.user_id IS NOT NULL THEN 'upserted'
        WHEN r.column4 = 1 THEN 'removed' ELSE 'hidden' END
    FROM (VALUES {rows}) AS r
    LEFT JOIN members x ON x.organization_id = r.column2 AND x.user_id = r.column3",
);

static LOG_ORGANIZATIONS: Statement<2> = Statement::new(
    "INSERT INTO changes (version, organization_id, user_id, kind)
    SELECT r.column1, r.column2, '', 'organization' FROM (VALUES {rows}) AS r",
);

/// What a batch touched.
pub(super) struct Touched<'a> {
    /// Where an answer may be another one.
    pub(super) places: &'a BTreeSet<Place>,
    /// Those of them that were taken off the lists.
    pub(super) unlisted: &'a BTreeSet<Place>,
    /// Organizations that were made, changed or deleted.
    pub(super) organizations: &'a BTreeSet<&'a OrganizationId>,
}

/// The organizations that a batch touched, and their version.
#[derive(Default)]
pub(super) struct Bumped {
    pub(super) touched: BTreeSet<OrganizationId>,
    pub(super) version: Option<i64>,
}

/// Gives every organization that was touched its new version.
pub(super) async fn bump(db: &mut SqliteConnection, touched: Touched<'_>) -> Result<Bumped, StoreError> {
    let Touched { places, unlisted, organizations } = touched;
    let all: BTreeSet<_> =
        places.iter().map(|(organization, _)| organization).chain(organizations.iter().copied()).collect();
    if all.is_empty() {
        return Ok(Bumped::default());
    }
    let version: i64 = sqlx::query_scalar(NEXT).fetch_one(&mut *db).await?;
    let rows: Vec<_> = (places.iter())
        .map(|place| {
            let (organization, user) = place;
            let was_listed = unlisted.contains(place);
            [cell(version), cell(organization.as_str()), cell(user.as_str()), cell(was_listed)]
        })
        .collect();
    LOG_MEMBERS.execute(&mut *db, &rows).await?;
    let rows: Vec<_> = organizations.iter().map(|id| [cell(version), cell(id.as_str())]).collect();
    LOG_ORGANIZATIONS.execute(db, &rows).await?;
    Ok(Bumped { touched: all.into_iter().cloned().collect(), version: Some(version) })
}

/// How many changes are kept for those who come back: a feed that is resumed, another process.
const KEPT: i64 = 100_000;

const FORGET: &str = "DELETE FROM changes WHERE version <= COALESCE(
    (SELECT c.version FROM changes c ORDER BY c.version DESC LIMIT 1 OFFSET $1), -1)";

/// Forgets the oldest changes.
pub(super) async fn forget(db: &SqlitePool) -> Result<(), StoreError> {
    sqlx::query(FORGET).bind(KEPT).execute(db).await?;
    Ok(())
}

const NEWEST: &str = "SELECT COALESCE(MAX(value), 0) FROM sequences WHERE name = 'version'";

/// The newest version.
pub(super) async fn newest(db: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(NEWEST).fetch_one(db).await?)
}

const SINCE: &str = "SELECT DISTINCT c.version, c.organization_id FROM changes c WHERE c.version > $1";
const OLDEST: &str = "SELECT MIN(c.version) FROM changes c";

/// Each version after `version`, with the organizations that it touched; `None` when the oldest of them are
/// forgotten.
pub(super) async fn since(
    db: &mut SqliteConnection,
    version: i64,
) -> Result<Option<Vec<(i64, OrganizationId)>>, StoreError> {
    let newest = newest(&mut *db).await?;
    let oldest: Option<i64> = sqlx::query_scalar(OLDEST).fetch_one(&mut *db).await?;
    if !is_all_after(version, newest, oldest) {
        return Ok(None);
    }
    let rows: Vec<(i64, String)> = sqlx::query_as(SINCE).bind(version).fetch_all(db).await?;
    let touched = |(version, id)| {
        let id = OrganizationId::parse(id).map_err(|_| StoreError::Foreign("organization id"))?;
        Ok((version, id))
    };
    rows.into_iter().map(touched).collect::<Result<_, StoreError>>().map(Some)
}

/// Whether nothing that came after `version` is forgotten, and `version` itself was there.
pub(super) async fn has_all_after(db: &SqlitePool, version: i64) -> Result<bool, StoreError> {
    let newest: i64 = sqlx::query_scalar(NEWEST).fetch_one(db).await?;
    let oldest: Option<i64> = sqlx::query_scalar(OLDEST).fetch_one(db).await?;
    Ok(is_all_after(version, newest, oldest))
}

/// No version between the oldest that is kept and the newest is missing.
fn is_all_after(version: i64, newest: i64, oldest: Option<i64>) -> bool {
    version == newest || version < newest && oldest.is_some_and(|oldest| oldest <= version.saturating_add(1))
}
