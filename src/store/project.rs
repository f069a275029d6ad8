//! What is derived from the entities, in the transaction that changes them: what falls with a deleted
//! parent, and who is listed.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;

use super::error::StoreError;
use super::states::id_rows;
use crate::domain::fold::email_key;
use crate::domain::merge::UserState;
use crate::domain::{OrganizationId, UserId};

/// A user's place in an organization.
pub(super) type Place = (OrganizationId, UserId);

/// What decides where a user stands in the lists; `None` while it is not listed anywhere.
pub(super) fn keys(user: &UserState) -> Option<(i64, String)> {
    let user = &user.known.as_ref()?.content;
    Some((user.created_at_ms, email_key(user.email.as_deref())))
}

const MEMBERSHIPS_FALL_WITH_USERS: &str = "UPDATE memberships
    SET fallen = 1, role = '', public_metadata = '{}'
    WHERE user_id IN (SELECT r.value->>'id' FROM json_each($1) AS r)";
const INVITATIONS_FALL_WITH_USERS: &str = "UPDATE invitations
    SET fallen = 1, updated_at_ms = NULL, observed_at_ms = NULL, content_digest = NULL, email = NULL,
        role = NULL, status = 'pending', public_metadata = '{}', created_at_ms = 0, expires_at_ms = NULL
    WHERE user_id IN (SELECT r.value->>'id' FROM json_each($1) AS r)";

/// Removes, and blanks, what belongs to users that were deleted.
pub(super) async fn fall_with_users(db: &mut SqliteConnection, users: &[&UserId]) -> Result<(), StoreError> {
    if users.is_empty() {
        return Ok(());
    }
    let rows = id_rows(users.iter().map(|id| id.as_str()));
    sqlx::query(MEMBERSHIPS_FALL_WITH_USERS).bind(&rows).execute(&mut *db).await?;
    sqlx::query(INVITATIONS_FALL_WITH_USERS).bind(&rows).execute(db).await?;
    Ok(())
}

const MEMBERSHIPS_FALL_WITH_ORGANIZATIONS: &str = "UPDATE memberships
    SET fallen = 1, role = '', public_metadata = '{}'
    WHERE organization_id IN (SELECT r.value->>'id' FROM json_each($1) AS r)";
const INVITATIONS_FALL_WITH_ORGANIZATIONS: &str = "UPDATE invitations
    SET fallen = 1, updated_at_ms = NULL, observed_at_ms = NULL, content_digest = NULL, email = NULL,
        role = NULL, status = 'pending', public_metadata = '{}', created_at_ms = 0, expires_at_ms = NULL
    WHERE organization_id IN (SELECT r.value->>'id' FROM json_each($1) AS r)";
const UNLIST_ORGANIZATIONS: &str = "DELETE FROM members
    WHERE organization_id IN (SELECT r.value->>'id' FROM json_each($1) AS r)";

/// Removes what belongs to organizations that were deleted.
pub(super) async fn fall_with_organizations(
    db: &mut SqliteConnection,
    organizations: &[&OrganizationId],
) -> Result<(), StoreError> {
    if organizations.is_empty() {
        return Ok(());
    }
    let rows = id_rows(organizations.iter().map(|id| id.as_str()));
    for statement in
        [MEMBERSHIPS_FALL_WITH_ORGANIZATIONS, INVITATIONS_FALL_WITH_ORGANIZATIONS, UNLIST_ORGANIZATIONS]
    {
        sqlx::query(statement).bind(&rows).execute(&mut *db).await?;
    }
    Ok(())
}

const PLACES_OF_USERS: &str = "SELECT DISTINCT m.organization_id, m.user_id
    FROM json_each($1) AS r CROSS JOIN memberships m WHERE m.user_id = r.value->>'id'";

/// Every place of these users.
pub(super) async fn places_of(
    db: &mut SqliteConnection,
    users: impl Iterator<Item = &UserId>,
) -> Result<BTreeSet<Place>, StoreError> {
    let users: Vec<_> = users.map(UserId::as_str).collect();
    if users.is_empty() {
        return Ok(BTreeSet::new());
    }
    let rows: Vec<(String, String)> =
        sqlx::query_as(PLACES_OF_USERS).bind(id_rows(users)).fetch_all(db).await?;
    let place = |(organization, user): (String, String)| {
        let organization =
            OrganizationId::parse(organization).map_err(|_| StoreError::Foreign("organization id"))?;
        let user = UserId::parse(user).map_err(|_| StoreError::Foreign("user id"))?;
        Ok((organization, user))
    };
    rows.into_iter().map(place).collect()
}

const UNLIST: &str = "DELETE FROM members WHERE (organization_id, user_id) IN
    (SELECT r.value->>'organization', r.value->>'user' FROM json_each($1) AS r)";

const LIST: &str = "INSERT INTO members
        (organization_id, user_id, membership_id, account_created_at_ms, email_key)
    SELECT m.organization_id, m.user_id, m.id, CAST(r.value->>'created' AS BIGINT), r.value->>'email_key'
    FROM json_each($1) AS r
    CROSS JOIN memberships m
    WHERE m.organization_id = r.value->>'organization' AND m.user_id = r.value->>'user'
        AND m.deleted_at_ms IS NULL AND m.fallen = 0 AND NOT EXISTS (
        SELECT 1 FROM memberships newer
        WHERE newer.organization_id = m.organization_id AND newer.user_id = m.user_id
            AND (newer.created_at_ms, newer.id) > (m.created_at_ms, m.id))";

/// Lists these places anew: the newest membership, if it stands, once its user is known. Clerk has one membership
/// of a user in an organization at a time, so a newer one that has ended proves that the older one has too.
pub(super) async fn list(
    db: &mut SqliteConnection,
    places: &BTreeSet<Place>,
    keys: impl Fn(&UserId) -> Option<(i64, String)>,
) -> Result<(), StoreError> {
    if places.is_empty() {
        return Ok(());
    }
    let all = places.iter().map(|(organization, user)| json!({ "organization": organization, "user": user }));
    sqlx::query(UNLIST).bind(all.collect::<Value>().to_string()).execute(&mut *db).await?;
    let known = places.iter().filter_map(|(organization, user)| {
        let (created, email_key) = keys(user)?;
        Some(
            json!({ "organization": organization, "user": user, "created": created, "email_key": email_key }),
        )
    });
    sqlx::query(LIST).bind(known.collect::<Value>().to_string()).execute(db).await?;
    Ok(())
}
