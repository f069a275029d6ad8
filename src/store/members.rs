//! Lists the members of one organization, in order, by keyset.

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;
use sqlx::Row as _;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqlitePool, SqliteRow};

use super::error::StoreError;
use super::states::{id_rows, user};
use crate::domain::model::Metadata;
use crate::domain::{Cursor, Member, MemberQuery, MembershipId, Order, Role, UserId};

/// One list statement: from which rows, in which order.
macro_rules! list {
    ($from:literal, $key:literal) => {
        concat!(
            "SELECT u.*, m.id AS membership_id, m.role AS role, m.created_at_ms AS joined_at_ms,
                m.public_metadata AS membership_metadata, m.updated_at_ms AS membership_updated_at_ms
            FROM ",
            $from,
            " AND x.organization_id = $1 AND u.id = x.user_id AND m.id = x.membership_id
                AND (x.",
            $key,
            ", x.user_id) > ($2, $3) ORDER BY x.",
            $key,
            ", x.user_id LIMIT $4"
        )
    };
    (all $key:literal) => {
        list!("members x CROSS JOIN users u CROSS JOIN memberships m WHERE true", $key)
    };
    (ids $key:literal) => {
        list!(
            "json_each($5) AS r CROSS JOIN members x CROSS JOIN users u CROSS JOIN memberships m
            WHERE x.user_id = r.value->>'id'",
            $key
        )
    };
}

const BY_ACCOUNT: &str = list!(all "account_created_at_ms");
const BY_EMAIL: &str = list!(all "email_key");
const BY_ACCOUNT_OF_IDS: &str = list!(ids "account_created_at_ms");
const BY_EMAIL_OF_IDS: &str = list!(ids "email_key");

/// The place before the first member.
fn start(order: Order) -> Cursor {
    match order {
        Order::Account => Cursor::Account { created_at_ms: i64::MIN, user_id: String::new() },
        Order::Email => Cursor::Email { key: String::new(), user_id: String::new() },
    }
}

/// Shows the members that are asked for, in order, and answers where the next page begins.
///
/// Rows come one after the other out of one statement, which is one moment, so memory stays bounded however
/// large the organization and however rare the hits of a filter.
pub(super) async fn each(
    readers: &SqlitePool,
    query: &MemberQuery,
    mut visit: impl FnMut(Member) + Send,
) -> Result<Option<Cursor>, StoreError> {
    let wanted = query.limit.map(usize::from);
    let after = query.after.clone().unwrap_or_else(|| start(query.order));
    let mut rows = bound(query, &after).fetch(readers);
    let (mut shown, mut last) = (0, None);
    while let Some(row) = rows.try_next().await? {
        let member = member(&row)?;
        if !query.filter.matches(&member) {
            continue;
        }
        if wanted.is_some_and(|wanted| shown >= wanted) {
            // One more than is wanted: a page follows.
            return Ok(last);
        }
        shown += 1;
        // Only the last one of a page is ever asked for.
        last = (Some(shown) == wanted).then(|| member.cursor(query.order));
        visit(member);
    }
    Ok(None)
}

fn bound<'q>(query: &'q MemberQuery, after: &'q Cursor) -> Query<'q, Sqlite, SqliteArguments> {
    let statement = match (after, &query.ids) {
        (Cursor::Account { .. }, None) => BY_ACCOUNT,
        (Cursor::Account { .. }, Some(_)) => BY_ACCOUNT_OF_IDS,
        (Cursor::Email { .. }, None) => BY_EMAIL,
        (Cursor::Email { .. }, Some(_)) => BY_EMAIL_OF_IDS,
    };
    // A filter may skip any number of rows.
    let rows = query.limit.filter(|_| query.filter.is_empty()).map_or(i64::MAX, |limit| i64::from(limit) + 1);
    let mut bound = sqlx::query(statement).bind(query.organization_id.as_str());
    bound = match after {
        Cursor::Account { created_at_ms, user_id } => bound.bind(created_at_ms).bind(user_id),
        Cursor::Email { key, user_id } => bound.bind(key).bind(user_id),
    };
    bound = bound.bind(rows);
    if let Some(ids) = &query.ids {
        let distinct: BTreeSet<_> = ids.iter().map(UserId::as_str).collect();
        bound = bound.bind(id_rows(distinct));
    }
    bound
}

fn member(row: &SqliteRow) -> Result<Member, StoreError> {
    let id = UserId::parse(row.try_get::<String, _>("id")?).map_err(|_| StoreError::Foreign("user id"))?;
    Ok(Member {
        user: user(row, id)?,
        user_updated_at_ms: row.try_get::<Option<i64>, _>("updated_at_ms")?.unwrap_or_default(),
        last_sign_in_at_ms: row.try_get("last_sign_in_at_ms")?,
        membership_id: MembershipId::parse(row.try_get::<String, _>("membership_id")?)
            .map_err(|_| StoreError::Foreign("membership id"))?,
        role: Role::new(row.try_get("role")?),
        joined_at_ms: row.try_get("joined_at_ms")?,
        membership_metadata: Metadata::from_stored(row.try_get("membership_metadata")?),
        membership_updated_at_ms: row
            .try_get::<Option<i64>, _>("membership_updated_at_ms")?
            .unwrap_or_default(),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use sqlx::Row as _;

    use super::*;
    use crate::store::backend;

    /// How SQLite goes about a statement, a line for each step.
    pub(in crate::store) async fn plan(statement: &'static str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roster.db");
        backend::prepare(&path).await.unwrap();
        let mut db = backend::connect(&path).await.unwrap();
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let rows = sqlx::query(explain).fetch_all(&mut db).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        steps.join("\n")
    }

    /// In index order and from the place of the cursor on: the last page costs what the first one costs, and
    /// nothing is sorted but the at most hundred that were asked for by id.
    #[tokio::test]
    async fn a_list_is_read_in_its_order() {
        insta::assert_snapshot!(plan(BY_ACCOUNT).await, @r"
        SEARCH x USING COVERING INDEX members_by_account (organization_id=? AND (account_created_at_ms,user_id)>(?,?))
        SEARCH u USING INDEX sqlite_autoindex_users_1 (id=?)
        SEARCH m USING INDEX sqlite_autoindex_memberships_1 (id=?)
        ");
        insta::assert_snapshot!(plan(BY_EMAIL).await, @r"
        SEARCH x USING COVERING INDEX members_by_email (organization_id=? AND (email_key,user_id)>(?,?))
        SEARCH u USING INDEX sqlite_autoindex_users_1 (id=?)
        SEARCH m USING INDEX sqlite_autoindex_memberships_1 (id=?)
        ");
        insta::assert_snapshot!(plan(BY_ACCOUNT_OF_IDS).await, @r"
        SCAN r VIRTUAL TABLE INDEX 1:
        SEARCH x USING PRIMARY KEY (organization_id=? AND user_id=?)
        SEARCH u USING INDEX sqlite_autoindex_users_1 (id=?)
        SEARCH m USING INDEX sqlite_autoindex_memberships_1 (id=?)
        USE TEMP B-TREE FOR ORDER BY
        ");
        insta::assert_snapshot!(plan(BY_EMAIL_OF_IDS).await, @r"
        SCAN r VIRTUAL TABLE INDEX 1:
        SEARCH x USING PRIMARY KEY (organization_id=? AND user_id=?)
        SEARCH u USING INDEX sqlite_autoindex_users_1 (id=?)
        SEARCH m USING INDEX sqlite_autoindex_memberships_1 (id=?)
        USE TEMP B-TREE FOR ORDER BY
        ");
    }
}
