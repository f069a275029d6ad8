//! What reconciliation asks of the read model: which version of an object is known, and which objects a
//! walk has not seen.

use std::collections::HashMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqlitePool;

use super::error::StoreError;
use super::states::id_rows;
use crate::domain::{Entity, OrganizationId, UserId, Version};

/// What is known of one object, as far as a comparison needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// This state.
    State {
        /// Its place in the order of states.
        version: Version,
        /// The greatest sign-in time ever seen; `None` for what is no user.
        last_sign_in_at_ms: Option<i64>,
    },
    /// It is deleted, or one of its parents is.
    Gone,
}

type KnownRow = (String, Option<i64>, Option<i64>, Option<i64>, Option<i64>, bool);

macro_rules! known {
    ($table:literal, $sign_in:literal, $gone:literal) => {
        concat!(
            "SELECT x.id, x.updated_at_ms, x.observed_at_ms, x.content_digest, ",
            $sign_in,
            ", ",
            $gone,
            " FROM json_each($1) AS r CROSS JOIN ",
            $table,
            " x WHERE x.id = r.value->>'id'"
        )
    };
}

fn known_statement(entity: Entity) -> &'static str {
    match entity {
        Entity::Users => known!("users", "x.last_sign_in_at_ms", "x.deleted_at_ms IS NOT NULL"),
        Entity::Organizations => {
            known!("organizations", "CAST(NULL AS BIGINT)", "x.deleted_at_ms IS NOT NULL")
        }
        Entity::Memberships => {
            known!("memberships", "CAST(NULL AS BIGINT)", "x.deleted_at_ms IS NOT NULL OR x.fallen = 1")
        }
        Entity::Invitations => {
            known!("invitations", "CAST(NULL AS BIGINT)", "x.deleted_at_ms IS NOT NULL OR x.fallen = 1")
        }
    }
}

/// What is known of these objects. One that is missing in the answer is not known.
pub(super) async fn of(
    readers: &SqlitePool,
    entity: Entity,
    ids: impl Iterator<Item = &str>,
) -> Result<HashMap<String, Known>, StoreError> {
    let rows: Vec<KnownRow> =
        sqlx::query_as(known_statement(entity)).bind(id_rows(ids)).fetch_all(readers).await?;
    let known = rows.into_iter().filter_map(|(id, updated, observed, digest, last_sign_in_at_ms, gone)| {
        if gone {
            return Some((id, Known::Gone));
        }
        let version = Version { updated_at_ms: updated?, observed_at_ms: observed?, content_digest: digest? };
        Some((id, Known::State { version, last_sign_in_at_ms }))
    });
    Ok(known.collect())
}

/// An object that stands here, and that Clerk may not have any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    /// Its id.
    pub id: String,
    /// Where a membership or an invitation belongs.
    pub organization_id: Option<String>,
    /// Whose membership it is, or who accepted the invitation.
    pub user_id: Option<String>,
    /// When it was made.
    pub created_at_ms: i64,
}

type UnseenRow = (String, Option<String>, Option<String>, i64);

macro_rules! unseen {
    ($table:literal, $place:literal, $stands:literal) => {
        concat!(
            "SELECT x.id, ",
            $place,
            ", x.created_at_ms FROM ",
            $table,
            " x WHERE x.updated_at_ms IS NOT NULL AND x.deleted_at_ms IS NULL ",
            $stands,
            " AND x.observed_at_ms >= $1 AND x.observed_at_ms < $2 AND x.id > $3 ORDER BY x.id LIMIT $4"
        )
    };
}

/// Objects that stand and were last observed in a range of time, by id, after `after`.
pub(super) async fn unseen(
    readers: &SqlitePool,
    entity: Entity,
    observed_ms: Range<i64>,
    after: &str,
    limit: i64,
) -> Result<Vec<Unseen>, StoreError> {
    let statement = match entity {
        Entity::Users => unseen!("users", "CAST(NULL AS TEXT), CAST(NULL AS TEXT)", ""),
        Entity::Organizations => unseen!("organizations", "CAST(NULL AS TEXT), CAST(NULL AS TEXT)", ""),
        Entity::Memberships => unseen!("memberships", "x.organization_id, x.user_id", "AND x.fallen = 0"),
        Entity::Invitations => unseen!("invitations", "x.organization_id, x.user_id", "AND x.fallen = 0"),
    };
    let bound = sqlx::query_as(statement).bind(observed_ms.start).bind(observed_ms.end);
    let rows: Vec<UnseenRow> = bound.bind(after).bind(limit).fetch_all(readers).await?;
    let unseen = |(id, organization_id, user_id, created_at_ms)| Unseen {
        id,
        organization_id,
        user_id,
        created_at_ms,
    };
    Ok(rows.into_iter().map(unseen).collect())
}

/// How many objects stand.
pub(super) async fn count(readers: &SqlitePool, entity: Entity) -> Result<u64, StoreError> {
    let statement = match entity {
        Entity::Users => {
            "SELECT COUNT(*) FROM users WHERE updated_at_ms IS NOT NULL AND deleted_at_ms IS NULL"
        }
        Entity::Organizations => {
            "SELECT COUNT(*) FROM organizations WHERE updated_at_ms IS NOT NULL AND deleted_at_ms IS NULL"
        }
        Entity::Memberships => {
            "SELECT COUNT(*) FROM memberships
            WHERE updated_at_ms IS NOT NULL AND deleted_at_ms IS NULL AND fallen = 0"
        }
        Entity::Invitations => {
            "SELECT COUNT(*) FROM invitations
            WHERE updated_at_ms IS NOT NULL AND deleted_at_ms IS NULL AND fallen = 0"
        }
    };
    let count: i64 = sqlx::query_scalar(statement).fetch_one(readers).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

macro_rules! children {
    ($table:literal) => {
        concat!(
            "SELECT x.id FROM json_each($1) AS r CROSS JOIN ",
            $table,
            " x WHERE x.user_id = r.value->>'id'
                AND x.updated_at_ms IS NOT NULL AND x.deleted_at_ms IS NULL AND x.fallen = 0
            UNION
            SELECT x.id FROM json_each($2) AS r CROSS JOIN ",
            $table,
            " x WHERE x.organization_id = r.value->>'id'
                AND x.updated_at_ms IS NOT NULL AND x.deleted_at_ms IS NULL AND x.fallen = 0"
        )
    };
}

/// The memberships and the invitations that would fall with these users and organizations.
pub(super) async fn children(
    readers: &SqlitePool,
    users: &[UserId],
    organizations: &[OrganizationId],
) -> Result<(Vec<String>, Vec<String>), StoreError> {
    let users = id_rows(users.iter().map(UserId::as_str));
    let organizations = id_rows(organizations.iter().map(OrganizationId::as_str));
    let mut ids = Vec::with_capacity(2);
    for statement in [children!("memberships"), children!("invitations")] {
        let rows: Vec<String> =
            sqlx::query_scalar(statement).bind(&users).bind(&organizations).fetch_all(readers).await?;
        ids.push(rows);
    }
    let invitations = ids.pop().unwrap_or_default();
    Ok((ids.pop().unwrap_or_default(), invitations))
}

const UNKNOWN_USERS: &str = "SELECT r.value->>'id' FROM json_each($1) AS r
    LEFT JOIN users u ON u.id = r.value->>'id'
    WHERE u.id IS NULL OR (u.updated_at_ms IS NULL AND u.deleted_at_ms IS NULL)";

/// Those of these users of whom nothing is known.
pub(super) async fn unknown_users(readers: &SqlitePool, users: &[UserId]) -> Result<Vec<UserId>, StoreError> {
    let rows = id_rows(users.iter().map(UserId::as_str));
    let ids: Vec<String> = sqlx::query_scalar(UNKNOWN_USERS).bind(rows).fetch_all(readers).await?;
    ids.into_iter().map(|id| UserId::parse(id).map_err(|_| StoreError::Foreign("user id"))).collect()
}
