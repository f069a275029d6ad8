//! What reconciliation asks of the read model: which version of an object is known, and which objects a
//! walk has not seen.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Store;
use super::connection::Row;
use super::error::StoreError;
use super::rows::{Statement, cell, ids};
use super::states::user_id;
use crate::domain::{Entity, OrganizationId, StoredState, UserId, Version};

type StoredRow = (String, Option<i64>, Option<i64>, Option<i64>, Option<i64>, bool);

macro_rules! known {
    ($table:literal, $sign_in:literal, $gone:literal) => {
        Statement::new(concat!(
            "SELECT x.id, x.updated_at_ms, x.observed_at_ms, x.content_digest, ",
            $sign_in,
            ", ",
            $gone,
            " FROM ",
            $table,
            " x WHERE x.id IN (VALUES {rows})"
        ))
    };
}

static KNOWN_USERS: Statement<1> = known!("users", "x.last_sign_in_at_ms", "x.deleted_at_ms IS NOT NULL");
static KNOWN_ORGANIZATIONS: Statement<1> =
    known!("organizations", "CAST(NULL AS BIGINT)", "x.deleted_at_ms IS NOT NULL");
static KNOWN_MEMBERSHIPS: Statement<1> =
    known!("memberships", "CAST(NULL AS BIGINT)", "x.deleted_at_ms IS NOT NULL OR x.fallen = 1");
static KNOWN_INVITATIONS: Statement<1> =
    known!("invitations", "CAST(NULL AS BIGINT)", "x.deleted_at_ms IS NOT NULL OR x.fallen = 1");

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
    ($table:literal, $belongs:literal, $stands:literal) => {
        concat!(
            "SELECT x.id, ",
            $belongs,
            ", x.created_at_ms FROM ",
            $table,
            " x WHERE x.updated_at_ms IS NOT NULL AND x.deleted_at_ms IS NULL ",
            $stands,
            " AND x.observed_at_ms >= $1 AND x.observed_at_ms < $2 AND x.id > $3 ORDER BY x.id LIMIT $4"
        )
    };
}

const ANY: [&str; 4] = [
    "SELECT 1 FROM users LIMIT 1",
    "SELECT 1 FROM organizations LIMIT 1",
    "SELECT 1 FROM memberships LIMIT 1",
    "SELECT 1 FROM invitations LIMIT 1",
];

macro_rules! children {
    ($table:literal, $parent:literal) => {
        Statement::new(concat!(
            "SELECT x.id FROM ",
            $table,
            " x WHERE x.",
            $parent,
            " IN (VALUES {rows})
                AND x.updated_at_ms IS NOT NULL AND x.deleted_at_ms IS NULL AND x.fallen = 0"
        ))
    };
}

/// All memberships of the members of organizations who are on a list, or of those who are on none (`project.rs`).
macro_rules! memberships_of {
    ($members:literal) => {
        Statement::new(concat!(
            "SELECT x.id FROM ",
            $members,
            " p CROSS JOIN memberships x WHERE p.organization_id IN (VALUES {rows})
                AND x.user_id = p.user_id AND x.organization_id = p.organization_id
                AND x.updated_at_ms IS NOT NULL AND x.deleted_at_ms IS NULL AND x.fallen = 0"
        ))
    };
}

static MEMBERSHIPS_OF_USERS: Statement<1> = children!("memberships", "user_id");
static LISTED_OF_ORGANIZATIONS: Statement<1> = memberships_of!("members");
static UNLISTED_OF_ORGANIZATIONS: Statement<1> =
    memberships_of!("(SELECT g.organization_id, g.user_id FROM memberships g WHERE g.unlistable = 1)");
static INVITATIONS_OF_USERS: Statement<1> = children!("invitations", "user_id");
static INVITATIONS_OF_ORGANIZATIONS: Statement<1> = children!("invitations", "organization_id");

fn texts(rows: &[Row]) -> Result<Vec<String>, StoreError> {
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

static KNOWN_PEOPLE: Statement<1> = Statement::new(
    "SELECT u.id FROM users u
    WHERE u.id IN (VALUES {rows}) AND (u.updated_at_ms IS NOT NULL OR u.deleted_at_ms IS NOT NULL)",
);

impl Store {
    /// What is known of these objects. One that is missing in the answer is not known.
    pub async fn known(
        &self,
        entity: Entity,
        objects: impl Iterator<Item = &str>,
    ) -> Result<HashMap<String, StoredState>, StoreError> {
        let statement = match entity {
            Entity::Users => &KNOWN_USERS,
            Entity::Organizations => &KNOWN_ORGANIZATIONS,
            Entity::Memberships => &KNOWN_MEMBERSHIPS,
            Entity::Invitations => &KNOWN_INVITATIONS,
        };
        let rows = statement.fetch(&mut self.readers.acquire().await?, &ids(objects)).await?;
        let mut known = HashMap::with_capacity(rows.len());
        for row in &rows {
            let (id, updated, observed, digest, last_sign_in_at_ms, gone): StoredRow = row.tuple()?;
            if gone {
                known.insert(id, StoredState::Gone);
            } else if let (Some(updated_at_ms), Some(observed_at_ms), Some(content_digest)) =
                (updated, observed, digest)
            {
                let version = Version { updated_at_ms, observed_at_ms, content_digest };
                known.insert(id, StoredState::There { version, last_sign_in_at_ms });
            }
        }
        Ok(known)
    }

    /// At most `limit` objects that stand and were last observed in a range of time, by id, after `after`.
    pub async fn unseen(
        &self,
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
        let cells = [cell(observed_ms.start), cell(observed_ms.end), cell(after), cell(limit)];
        let rows = self.readers.acquire().await?.fetch(statement, &cells).await?;
        let unseen = |row: &Row| {
            let (id, organization_id, user_id, created_at_ms): UnseenRow = row.tuple()?;
            Ok(Unseen { id, organization_id, user_id, created_at_ms })
        };
        rows.iter().map(unseen).collect()
    }

    /// How many objects stand.
    pub async fn count(&self, entity: Entity) -> Result<u64, StoreError> {
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
        let count: i64 = self.readers.acquire().await?.fetch_one(statement, &[]).await?.try_get(0)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Whether nothing was ever known, not even one object that is gone.
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        let mut db = self.readers.acquire().await?;
        for any in ANY {
            if db.fetch_optional(any, &[]).await?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The memberships and the invitations that would fall with these users and organizations; some are named twice.
    pub async fn children(
        &self,
        users: &[UserId],
        organizations: &[OrganizationId],
    ) -> Result<(Vec<String>, Vec<String>), StoreError> {
        let db = &mut self.readers.acquire().await?;
        let users = ids(users);
        let organizations = ids(organizations);
        let mut memberships = MEMBERSHIPS_OF_USERS.fetch(db, &users).await?;
        // In this order: who comes onto a list meanwhile is found twice, and not never.
        memberships.append(&mut UNLISTED_OF_ORGANIZATIONS.fetch(db, &organizations).await?);
        memberships.append(&mut LISTED_OF_ORGANIZATIONS.fetch(db, &organizations).await?);
        let mut invitations = INVITATIONS_OF_USERS.fetch(db, &users).await?;
        invitations.append(&mut INVITATIONS_OF_ORGANIZATIONS.fetch(db, &organizations).await?);
        Ok((texts(&memberships)?, texts(&invitations)?))
    }

    /// Those of these users of whom nothing is known.
    pub async fn unknown_users(&self, users: &[UserId]) -> Result<Vec<UserId>, StoreError> {
        let rows = ids(users);
        let rows = KNOWN_PEOPLE.fetch(&mut self.readers.acquire().await?, &rows).await?;
        let known: HashSet<UserId> = rows.iter().map(|row| user_id(row, "id")).collect::<Result<_, _>>()?;
        Ok(users.iter().filter(|id| !known.contains(id)).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::members::tests::plan;

    #[tokio::test]
    async fn children_are_not_looked_for_in_a_whole_table() {
        insta::assert_snapshot!(plan(LISTED_OF_ORGANIZATIONS.over_lot(4)).await, @r"
        SEARCH p USING COVERING INDEX members_by_email (organization_id=?)
        LIST SUBQUERY 3
        SCAN 4-ROW VALUES CLAUSE
        CREATE BLOOM FILTER
        SEARCH x USING INDEX memberships_by_user (user_id=? AND organization_id=?)
        ");
        insta::assert_snapshot!(plan(UNLISTED_OF_ORGANIZATIONS.over_lot(4)).await, @r"
        SEARCH g USING COVERING INDEX memberships_unlistable (organization_id=?)
        LIST SUBQUERY 4
        SCAN 4-ROW VALUES CLAUSE
        CREATE BLOOM FILTER
        SEARCH x USING INDEX memberships_by_user (user_id=? AND organization_id=?)
        ");
    }
}
