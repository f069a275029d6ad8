//! What the read model knows of a caller, in one statement.

use sqlx::sqlite::SqlitePool;

use super::error::StoreError;
use crate::domain::{OrganizationId, Role, Standing, StoredMembership, UserId};

const STANDING: &str = "SELECT o.deleted_at_ms, u.deleted_at_ms, u.banned,
        m.deleted_at_ms, m.role, m.updated_at_ms,
        o.id IS NOT NULL
    FROM (SELECT 1) AS one
    LEFT JOIN organizations o ON o.id = $1
    LEFT JOIN users u ON u.id = $2
    LEFT JOIN memberships m ON m.id = (SELECT newest.id FROM memberships newest
        WHERE newest.organization_id = $1 AND newest.user_id = $2
        ORDER BY newest.created_at_ms DESC, newest.id DESC LIMIT 1)";

type Row = (Option<i64>, Option<i64>, Option<i64>, Option<i64>, Option<String>, Option<i64>, bool);

pub(super) async fn of(
    readers: &SqlitePool,
    organization: &OrganizationId,
    user: &UserId,
) -> Result<Standing, StoreError> {
    let row: Row =
        sqlx::query_as(STANDING).bind(organization.as_str()).bind(user.as_str()).fetch_one(readers).await?;
    let (organization_deleted, user_deleted, user_banned, ended, role, updated, organization_known) = row;
    let membership = match (ended, role, updated) {
        (Some(at_ms), ..) => Some(StoredMembership::Deleted { at_ms }),
        (None, Some(role), Some(updated_at_ms)) => {
            Some(StoredMembership::Active { role: Role::new(&role), updated_at_ms })
        }
        (None, ..) => None,
    };
    Ok(Standing {
        organization_deleted: organization_deleted.is_some(),
        user_deleted: user_deleted.is_some(),
        user_banned: user_banned.is_some_and(|banned| banned != 0),
        organization_known,
        membership,
    })
}
