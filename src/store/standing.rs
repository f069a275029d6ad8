//! What the read model knows of callers.

use super::connection::Pool;
use super::error::StoreError;
use super::rows::cell;
use crate::domain::{OrganizationId, Role, Standing, StoredMembership, UserId};

const STANDING: &str = "SELECT o.deleted_at_ms, u.deleted_at_ms, u.banned,
        m.deleted_at_ms, m.role, m.updated_at_ms,
        o.id IS NOT NULL
    FROM (SELECT 1) AS one
    LEFT JOIN organizations o ON o.id = $1
    LEFT JOIN users u ON u.id = $2
    LEFT JOIN memberships m ON m.id = (
        SELECT newest.id FROM memberships newest WHERE newest.organization_id = $1 AND newest.user_id = $2
        ORDER BY newest.created_at_ms DESC, newest.deleted_at_ms IS NULL DESC, newest.id DESC LIMIT 1)";

type Row = (Option<i64>, Option<i64>, Option<i64>, Option<i64>, Option<String>, Option<i64>, bool);

/// A JSON array of arrays, as in `members.rs`: always one at least, for the organization; then one for each user whose
/// newest membership is not listed.
macro_rules! unlisted {
    ($begin:literal, $end:literal) => {
        concat!(
            "SELECT ",
            $begin,
            "CASE WHEN o.deleted_at_ms IS NULL THEN 0 ELSE 1 END, CASE WHEN o.id IS NULL THEN 0 ELSE 1 END,
            g.user_id, u.deleted_at_ms, u.banned, g.deleted_at_ms, g.role, g.updated_at_ms",
            $end,
            " FROM (SELECT 1) AS one
            LEFT JOIN organizations o ON o.id = $1
            LEFT JOIN memberships g ON g.organization_id = $1 AND g.unlistable = 1
                AND NOT EXISTS (SELECT 1 FROM memberships newer
                    WHERE newer.organization_id = g.organization_id AND newer.user_id = g.user_id
                        AND (newer.created_at_ms, newer.deleted_at_ms IS NULL, newer.id)
                            > (g.created_at_ms, g.deleted_at_ms IS NULL, g.id))
            LEFT JOIN users u ON u.id = g.user_id"
        )
    };
}

/// One value, for `$1`, the organization.
pub(super) const UNLISTED_SQLITE: &str = unlisted!("json_group_array(json_array(", "))");
pub(super) const UNLISTED_POSTGRES: &str = unlisted!("CAST(json_agg(json_build_array(", ")) AS TEXT)");

type UnlistedRow =
    (i64, i64, Option<String>, Option<i64>, Option<i64>, Option<i64>, Option<String>, Option<i64>);

/// What an organization's list of members does not say of who may see it.
#[derive(Debug, Clone)]
pub struct Unlisted {
    /// What is known of the organization; it says nothing of a user.
    pub organization: Standing,
    /// Those who have a membership here but are not listed: it ended, or its user is not known yet.
    pub users: Vec<(UserId, Standing)>,
}

/// Reads what [`UNLISTED_SQLITE`] or [`UNLISTED_POSTGRES`] answers.
pub(super) fn unlisted(json: &str) -> Result<Unlisted, StoreError> {
    let rows: Vec<UnlistedRow> =
        serde_json::from_str(json).map_err(|_| StoreError::InvalidData("standing"))?;
    let mut unlisted = Unlisted { organization: Standing::default(), users: Vec::new() };
    for (organization_deleted, organization_known, user, user_deleted, banned, ended, role, updated) in rows {
        unlisted.organization = Standing {
            organization_deleted: organization_deleted != 0,
            organization_known: organization_known != 0,
            ..Standing::default()
        };
        let Some(user) = user else { continue };
        let user = UserId::parse(&user).map_err(|_| StoreError::InvalidData("user id"))?;
        let standing = Standing {
            user_deleted: user_deleted.is_some(),
            user_banned: banned.is_some_and(|banned| banned != 0),
            membership: membership(ended, role, updated),
            ..unlisted.organization.clone()
        };
        unlisted.users.push((user, standing));
    }
    Ok(unlisted)
}

fn membership(ended: Option<i64>, role: Option<String>, updated: Option<i64>) -> Option<StoredMembership> {
    match (ended, role, updated) {
        (Some(at_ms), ..) => Some(StoredMembership::Deleted { at_ms }),
        (None, Some(role), Some(updated_at_ms)) => {
            Some(StoredMembership::Active { role: Role::new(&role), updated_at_ms })
        }
        (None, ..) => None,
    }
}

/// What is known of the caller, alone.
pub(super) async fn of(
    readers: &Pool,
    organization: &OrganizationId,
    user: &UserId,
) -> Result<Standing, StoreError> {
    let cells = [cell(organization.as_str()), cell(user.as_str())];
    let row = readers.acquire().await?.fetch_one(STANDING, &cells).await?;
    let (organization_deleted, user_deleted, user_banned, ended, role, updated, organization_known): Row =
        row.tuple()?;
    Ok(Standing {
        organization_deleted: organization_deleted.is_some(),
        user_deleted: user_deleted.is_some(),
        user_banned: user_banned.is_some_and(|banned| banned != 0),
        organization_known,
        membership: membership(ended, role, updated),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::members::tests::plan;

    #[tokio::test]
    async fn nobody_is_looked_for_in_a_whole_table() {
        insta::assert_snapshot!(plan(STANDING).await, @r"
        CO-ROUTINE one
        SCAN CONSTANT ROW
        SCAN one
        SEARCH o USING INDEX sqlite_autoindex_organizations_1 (id=?) LEFT-JOIN
        SEARCH u USING INDEX sqlite_autoindex_users_1 (id=?) LEFT-JOIN
        SEARCH m USING INDEX sqlite_autoindex_memberships_1 (id=?) LEFT-JOIN
        SCALAR SUBQUERY 2
        SEARCH newest USING INDEX memberships_by_user (user_id=? AND organization_id=?)
        USE TEMP B-TREE FOR ORDER BY
        ");
        insta::assert_snapshot!(plan(UNLISTED_SQLITE).await, @r"
        CO-ROUTINE one
        SCAN CONSTANT ROW
        SCAN one
        SEARCH o USING INDEX sqlite_autoindex_organizations_1 (id=?) LEFT-JOIN
        SEARCH g USING INDEX memberships_unlistable (organization_id=?) LEFT-JOIN
        CORRELATED SCALAR SUBQUERY 2
        SEARCH newer USING INDEX memberships_by_user (user_id=? AND organization_id=?)
        SEARCH u USING INDEX sqlite_autoindex_users_1 (id=?) LEFT-JOIN
        ");
    }
}
