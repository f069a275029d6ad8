//! What tells caches, other processes and the change feed that an organization's answers are new.
//!
//! Every batch that changes an answer has a number, greater than that of every batch that was committed
//! before. It is the version of each organization that the batch touched, and the log says whom.

use std::collections::BTreeSet;

use super::announce;
use super::connection::Connection;
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
pub(super) struct Touched {
    /// Where an answer may be another one.
    pub(super) places: BTreeSet<Place>,
    /// Those of them that were taken off the lists.
    pub(super) unlisted: BTreeSet<Place>,
    /// Organizations that were made, changed or deleted.
    pub(super) organizations: BTreeSet<OrganizationId>,
}

/// Gives every organization that was touched its new version, tells the other instances, and answers with the
/// organizations.
pub(super) async fn bump(
    db: &mut Connection,
    touched: Touched,
) -> Result<BTreeSet<OrganizationId>, StoreError> {
    let Touched { places, unlisted, organizations } = touched;
    if places.is_empty() && organizations.is_empty() {
        return Ok(organizations);
    }
    let version: i64 = db.fetch_one(NEXT, &[]).await?.try_get(0)?;
    let rows: Vec<_> = (places.iter())
        .map(|place| {
            let (organization, user) = place;
            let was_listed = unlisted.contains(place);
            [cell(version), cell(organization.as_str()), cell(user.as_str()), cell(was_listed)]
        })
        .collect();
    LOG_MEMBERS.execute(db, &rows).await?;
    let rows: Vec<_> = organizations.iter().map(|id| [cell(version), cell(id.as_str())]).collect();
    LOG_ORGANIZATIONS.execute(db, &rows).await?;
    let mut all = organizations;
    all.extend(places.into_iter().map(|(organization, _)| organization));
    announce::touched(db, version, &all).await?;
    Ok(all)
}
