//! What is derived from the entities, in the transaction that changes them: what falls with a deleted
//! parent, and who is listed.

use std::collections::BTreeSet;

use super::connection::Connection;
use super::error::StoreError;
use super::parents::Keys;
use super::rows::{Statement, cell, ids};
use super::states::{organization_id, user_id};
use crate::domain::{OrganizationId, UserId};

/// A user's place in an organization.
pub(super) type Place = (OrganizationId, UserId);

static MEMBERSHIPS_FALL_WITH_USERS: Statement<1> = Statement::new(
    "UPDATE memberships SET fallen = 1, role = '', public_metadata = '{}'
    WHERE user_id IN (VALUES {rows})",
);
static INVITATIONS_FALL_WITH_USERS: Statement<1> = Statement::new(
    "UPDATE invitations
    SET fallen = 1, updated_at_ms = NULL, observed_at_ms = NULL, content_digest = NULL, email = NULL,
        role = NULL, status = 'pending', public_metadata = '{}', created_at_ms = 0, expires_at_ms = NULL
    WHERE user_id IN (VALUES {rows})",
);

/// Removes, and blanks, what belongs to users that were deleted.
pub(super) async fn fall_with_users(db: &mut Connection, users: &[&UserId]) -> Result<(), StoreError> {
    let rows = ids(users.iter().map(|id| id.as_str()));
    MEMBERSHIPS_FALL_WITH_USERS.execute(&mut *db, &rows).await?;
    INVITATIONS_FALL_WITH_USERS.execute(db, &rows).await
}

static MEMBERSHIPS_FALL_WITH_ORGANIZATIONS: Statement<1> = Statement::new(
    "UPDATE memberships SET fallen = 1, role = '', public_metadata = '{}'
    WHERE organization_id IN (VALUES {rows})",
);
static INVITATIONS_FALL_WITH_ORGANIZATIONS: Statement<1> = Statement::new(
    "UPDATE invitations
    SET fallen = 1, updated_at_ms = NULL, observed_at_ms = NULL, content_digest = NULL, email = NULL,
        role = NULL, status = 'pending', public_metadata = '{}', created_at_ms = 0, expires_at_ms = NULL
    WHERE organization_id IN (VALUES {rows})",
);
static UNLIST_ORGANIZATIONS: Statement<1> =
    Statement::new("DELETE FROM members WHERE organization_id IN (VALUES {rows})");

/// Removes what belongs to organizations that were deleted.
pub(super) async fn fall_with_organizations(
    db: &mut Connection,
    organizations: &[&OrganizationId],
) -> Result<(), StoreError> {
    let rows = ids(organizations.iter().map(|id| id.as_str()));
    for statement in
        [&MEMBERSHIPS_FALL_WITH_ORGANIZATIONS, &INVITATIONS_FALL_WITH_ORGANIZATIONS, &UNLIST_ORGANIZATIONS]
    {
        statement.execute(&mut *db, &rows).await?;
    }
    Ok(())
}

static PLACES_OF_USERS: Statement<1> = Statement::new(
    "SELECT DISTINCT m.organization_id, m.user_id FROM memberships m WHERE m.user_id IN (VALUES {rows})",
);

/// Every place of these users.
pub(super) async fn places_of(
    db: &mut Connection,
    users: impl Iterator<Item = &UserId>,
) -> Result<BTreeSet<Place>, StoreError> {
    let rows = PLACES_OF_USERS.fetch(db, &ids(users.map(UserId::as_str))).await?;
    rows.iter().map(|row| Ok((organization_id(row, "organization_id")?, user_id(row, "user_id")?))).collect()
}

static LIST: Statement<4> = Statement::new(
    "INSERT INTO members (organization_id, user_id, membership_id, account_created_at_ms, email_key)
    SELECT m.organization_id, m.user_id, m.id, r.column3, r.column4
    FROM (VALUES {rows}) AS r CROSS JOIN memberships m
    WHERE m.organization_id = r.column1 AND m.user_id = r.column2
        AND m.deleted_at_ms IS NULL AND m.fallen = 0 AND NOT EXISTS (
        SELECT 1 FROM memberships newer
        WHERE newer.organization_id = m.organization_id AND newer.user_id = m.user_id
            AND (newer.created_at_ms, newer.id) > (m.created_at_ms, m.id))
    ON CONFLICT (organization_id, user_id) DO UPDATE SET membership_id = excluded.membership_id,
        account_created_at_ms = excluded.account_created_at_ms, email_key = excluded.email_key",
);

/// Lists these places: the newest membership, if it stands. Clerk has one membership of a user in an organization
/// at a time, so a newer one that has ended proves that the older one has too.
pub(super) async fn list(db: &mut Connection, places: &[(&Place, &Keys)]) -> Result<(), StoreError> {
    let rows: Vec<_> = (places.iter())
        .map(|((organization, user), keys)| {
            [
                cell(organization.as_str()),
                cell(user.as_str()),
                cell(keys.account_created_at_ms),
                cell(keys.email_key.as_str()),
            ]
        })
        .collect();
    LIST.execute(db, &rows).await
}

static UNLIST: Statement<2> = Statement::new(
    "DELETE FROM members WHERE (organization_id, user_id) IN (VALUES {rows})
    RETURNING organization_id, user_id",
);

/// Takes these places off the lists. Answers with those that were on them.
pub(super) async fn unlist(
    db: &mut Connection,
    places: impl Iterator<Item = &Place>,
) -> Result<BTreeSet<Place>, StoreError> {
    let rows: Vec<_> =
        places.map(|(organization, user)| [cell(organization.as_str()), cell(user.as_str())]).collect();
    let rows = UNLIST.fetch(db, &rows).await?;
    rows.iter().map(|row| Ok((organization_id(row, "organization_id")?, user_id(row, "user_id")?))).collect()
}
