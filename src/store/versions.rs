//! What tells caches, other processes and the change feed that an organization's answers are new.
//!
//! Every batch that changes an answer has a number, greater than that of every batch that was committed
//! before. It is the version of each organization that the batch touched, and the log says whom.

use std::collections::BTreeSet;

use super::connection::{Connection, Pool, Row};
use super::error::StoreError;
use super::project::Place;
use super::rows::{Asked, Script, Statement, cell, ids};
use super::states::organization_id;
use crate::domain::OrganizationId;

static NEXT: Statement<2> = Statement::new(
    "INSERT INTO sequences (name, value) VALUES {rows}
    ON CONFLICT (name) DO UPDATE SET value = sequences.value + 1 RETURNING value",
);

/// A member that is listed now was upserted. One that was listed before was removed. Of anybody else nobody
/// is told, but what is known of a caller may be new.
static LOG_MEMBERS: Statement<3> = Statement::new(
    "INSERT INTO changes (version, organization_id, user_id, kind)
    SELECT (SELECT s.value FROM sequences s WHERE s.name = 'version'), r.column1, r.column2,
        CASE WHEN x.user_id IS NOT NULL THEN 'upserted' WHEN r.column3 = 1 THEN 'removed' ELSE 'hidden' END
    FROM (VALUES {rows}) AS r
    LEFT JOIN members x ON x.organization_id = r.column1 AND x.user_id = r.column2",
);

static LOG_ORGANIZATIONS: Statement<1> = Statement::new(
    "INSERT INTO changes (version, organization_id, user_id, kind)
    SELECT (SELECT s.value FROM sequences s WHERE s.name = 'version'), r.column1, '', 'organization'
    FROM (VALUES {rows}) AS r",
);

/// What a batch touched.
pub(super) struct Touched {
    /// Where an answer may be another one.
    pub(super) places: BTreeSet<Place>,
    /// Those of them that were taken off the lists.
    pub(super) unlisted: BTreeSet<Place>,
    /// Organizations that were made, changed or deleted.
    pub(super) organizations: BTreeSet<OrganizationId>,
}

impl Touched {
    fn is_nothing(&self) -> bool {
        self.places.is_empty() && self.organizations.is_empty()
    }

    /// All organizations of which an answer may be another one.
    pub(super) fn all(self) -> BTreeSet<OrganizationId> {
        let mut all = self.organizations;
        all.extend(self.places.into_iter().map(|(organization, _)| organization));
        all
    }
}

/// Gives every organization that was touched its new version, once the lists are as they shall be.
pub(super) fn bump<'a>(script: &mut Script<'a>, touched: &'a Touched) -> Asked {
    let row = |place: &'a Place| {
        let (organization, user) = place;
        [cell(organization.as_str()), cell(user.as_str()), cell(touched.unlisted.contains(place))]
    };
    let first = (!touched.is_nothing()).then(|| [cell("version"), cell(1)]);
    let next = script.add(&NEXT, first);
    script.add(&LOG_MEMBERS, touched.places.iter().map(row));
    script.add(&LOG_ORGANIZATIONS, ids(touched.organizations.iter().map(OrganizationId::as_str)));
    next
}

/// What [`NEXT`] answered; `None` when nothing was touched.
pub(super) fn bumped(rows: &[Row]) -> Result<Option<i64>, StoreError> {
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}

/// How many changes are kept for those who come back: a feed that is resumed, another process.
const KEPT: i64 = 100_000;

/// The newest one that is to be forgotten.
const TOO_MANY: &str = "SELECT c.version FROM changes c ORDER BY c.version DESC LIMIT 1 OFFSET $1";
const FORGET: &str = "DELETE FROM changes WHERE version <= $1 AND version <= COALESCE(
    (SELECT c.version FROM changes c ORDER BY c.version LIMIT 1 OFFSET $2), $1)";

/// Forgets the oldest changes, about `at_once` with each statement.
pub(super) async fn forget(db: &Pool, at_once: i64) -> Result<(), StoreError> {
    let Some(row) = db.acquire().await?.fetch_optional(TOO_MANY, &[cell(KEPT)]).await? else {
        return Ok(());
    };
    let until: i64 = row.try_get(0)?;
    while db.acquire().await?.execute(FORGET, &[cell(until), cell(at_once)]).await? > 0 {}
    Ok(())
}

const NEWEST: &str = "SELECT COALESCE(MAX(value), 0) FROM sequences WHERE name = 'version'";

/// The newest version.
pub(super) async fn newest(db: &mut Connection) -> Result<i64, StoreError> {
    Ok(db.fetch_one(NEWEST, &[]).await?.try_get(0)?)
}

const SINCE: &str = "SELECT DISTINCT c.version, c.organization_id FROM changes c WHERE c.version > $1";
const OLDEST: &str = "SELECT MIN(c.version) FROM changes c";

/// Each version after `version`, with the organizations that it touched; `None` when the oldest of them are
/// forgotten.
pub(super) async fn since(
    db: &mut Connection,
    version: i64,
) -> Result<Option<Vec<(i64, OrganizationId)>>, StoreError> {
    if !has_all_after(db, version).await? {
        return Ok(None);
    }
    let rows = db.fetch(SINCE, &[cell(version)]).await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, organization_id(row, "organization_id")?)))
        .collect::<Result<_, _>>()
        .map(Some)
}

/// Whether nothing that came after `version` is forgotten, and `version` itself was there. No version between
/// the oldest that is kept and the newest is missing.
pub(super) async fn has_all_after(db: &mut Connection, version: i64) -> Result<bool, StoreError> {
    let newest = newest(db).await?;
    let oldest: Option<i64> = db.fetch_one(OLDEST, &[]).await?.try_get(0)?;
    Ok(version == newest
        || version < newest && oldest.is_some_and(|oldest| oldest <= version.saturating_add(1)))
}
