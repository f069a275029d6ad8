//! What tells caches, other processes and the change feed that an organization's answers are new.
//!
//! Every batch that changes an answer has a number, greater than that of every batch that was committed
//! before. It is the version of each organization that the batch touched, and the log says whom.

use std::collections::BTreeSet;
use std::time::Duration;

use super::connection::{Connection, Pool, Row};
use super::error::StoreError;
use super::project::MemberKey;
use super::rows::{Asked, Script, Statement, cell};
use super::states::organization_id;
use crate::domain::{OrganizationId, UserId};

static NEWEST_OF: Statement<1> =
    Statement::new("SELECT s.value FROM sequences s WHERE s.name IN (VALUES {rows})");

/// Asks for the version of the last batch; the transaction keeps others from making a new one.
pub(super) fn load_last(script: &mut Script<'_>) -> Asked {
    script.add(&NEWEST_OF, [[cell("version")]])
}

pub(super) fn last(rows: &[Row]) -> Result<i64, StoreError> {
    Ok(rows.first().map_or(Ok(0), |row| row.try_get(0))?)
}

static SAVE: Statement<2> = Statement::new(
    "INSERT INTO sequences (name, value) VALUES {rows}
    ON CONFLICT (name) DO UPDATE SET value = excluded.value",
);

/// A member that is listed now was upserted. One that was listed before was removed. Of anybody else nobody
/// is told, but what is known of a caller may be new.
static LOG_MEMBERS: Statement<5> = Statement::new(
    "INSERT INTO changes (version, organization_id, user_id, kind)
    SELECT r.column1, r.column2, r.column3,
        CASE WHEN x.user_id IS NOT NULL THEN 'upserted' WHEN r.column4 = 1 THEN 'removed' ELSE 'hidden' END
    FROM (VALUES {rows}) AS r
    LEFT JOIN members x ON x.organization_id = r.column2 AND x.account_created_at_ms = r.column5
        AND x.user_id = r.column3",
);

static LOG_ORGANIZATIONS: Statement<2> = Statement::new(
    "INSERT INTO changes (version, organization_id, user_id, kind)
    SELECT r.column1, r.column2, '', 'organization' FROM (VALUES {rows}) AS r",
);

/// What a batch touched.
pub(super) struct Touched {
    /// Where an answer may be another one.
    pub(super) members: BTreeSet<MemberKey>,
    /// Those of them that were taken off the lists.
    pub(super) unlisted: BTreeSet<MemberKey>,
    /// Organizations that were made, changed or deleted.
    pub(super) organizations: BTreeSet<OrganizationId>,
}

impl Touched {
    pub(super) fn is_nothing(&self) -> bool {
        self.members.is_empty() && self.organizations.is_empty()
    }

    /// All organizations of which an answer may be another one.
    pub(super) fn all(self) -> BTreeSet<OrganizationId> {
        let mut all = self.organizations;
        all.extend(self.members.into_iter().map(|(organization, _)| organization));
        all
    }
}

/// Gives every organization that was touched this version, once the lists are as they shall be. Users are listed by the
/// age of their accounts.
pub(super) fn bump<'a>(
    script: &mut Script<'a>,
    touched: &'a Touched,
    version: i64,
    account_created_at_ms: impl Fn(&UserId) -> Option<i64>,
) {
    let row = |member: &'a MemberKey| {
        let (organization, user) = member;
        let unlisted = touched.unlisted.contains(member);
        let age = account_created_at_ms(user);
        [cell(version), cell(organization), cell(user), cell(unlisted), cell(age)]
    };
    script.add(&SAVE, [[cell("version"), cell(version)]]);
    script.add(&LOG_MEMBERS, touched.members.iter().map(row));
    let organizations = touched.organizations.iter();
    script.add(&LOG_ORGANIZATIONS, organizations.map(|id| [cell(version), cell(id)]));
}

/// How many changes are kept for those who come back: a feed that is resumed, another process.
const KEPT: i64 = 100_000;

/// The newest one that is to be forgotten.
const TOO_MANY: &str = "SELECT c.version FROM changes c ORDER BY c.version DESC LIMIT 1 OFFSET $1";
const FORGET: &str = "DELETE FROM changes WHERE version <= $1 AND version <= COALESCE(
    (SELECT c.version FROM changes c ORDER BY c.version LIMIT 1 OFFSET $2), $1)";

/// Forgets the oldest changes, about `at_once` with each statement, and rests after each.
pub(super) async fn forget(
    readers: &Pool,
    db: &Pool,
    at_once: i64,
    rest: Duration,
) -> Result<(), StoreError> {
    let Some(row) = readers.acquire().await?.fetch_optional(TOO_MANY, &[cell(KEPT)]).await? else {
        return Ok(());
    };
    let until: i64 = row.try_get(0)?;
    while db.acquire().await?.execute(FORGET, &[cell(until), cell(at_once)]).await? > 0 {
        tokio::time::sleep(rest).await;
    }
    Ok(())
}

const NEWEST: &str = "SELECT COALESCE(MAX(value), 0) FROM sequences WHERE name = 'version'";

/// The newest version.
pub(super) async fn newest(db: &mut Connection) -> Result<i64, StoreError> {
    Ok(db.fetch_one(NEWEST, &[]).await?.try_get(0)?)
}

const SINCE: &str = "SELECT DISTINCT c.version, c.organization_id FROM changes c WHERE c.version > $1";
/// Looked for from above: what was forgotten last is still in PostgreSQL's index, at the other end.
const UP_TO: &str = "SELECT c.version FROM changes c WHERE c.version <= $1 ORDER BY c.version DESC LIMIT 1";

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

/// Whom every version after `version`, and up to this one, touched, in a transaction in which it is the newest; `None`
/// when some of them are forgotten.
pub(super) async fn between(
    db: &mut Connection,
    version: i64,
    newest: i64,
) -> Result<Option<BTreeSet<OrganizationId>>, StoreError> {
    if version > newest {
        return Ok(None);
    }
    let rows = db.fetch(SINCE, &[cell(version)]).await?;
    let (mut organizations, mut has_all) = (BTreeSet::new(), version == newest);
    for row in &rows {
        has_all |= row.try_get::<i64, _>(0)? == version + 1;
        organizations.insert(organization_id(row, "organization_id")?);
    }
    Ok(has_all.then_some(organizations))
}

/// Whether nothing that came after `version` is forgotten, and `version` itself was there. No version between
/// the oldest that is kept and the newest is missing.
pub(super) async fn has_all_after(db: &mut Connection, version: i64) -> Result<bool, StoreError> {
    let newest = newest(db).await?;
    if version >= newest {
        return Ok(version == newest);
    }
    Ok(db.fetch_optional(UP_TO, &[cell(version.saturating_add(1))]).await?.is_some())
}
