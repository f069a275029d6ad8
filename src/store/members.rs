//! Lists the members of one organization, in order, by keyset.

use std::collections::BTreeSet;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};

use super::error::StoreError;
use super::states::{id_rows, user};
use crate::domain::model::Metadata;
use crate::domain::{Cursor, Member, MemberQuery, MembershipId, Order, Page, Role, UserId};

/// How many rows a filter looks at for each statement.
const FILTER_ROWS: i64 = 500;

/// One list statement: from which rows, in which order.
macro_rules! list {
    ($from:literal, $key:literal) => {
        concat!(
            "SELECT u.*, m.id AS membership_id, m.role AS role, m.created_at_ms AS joined_at_ms,
                m.public_metadata AS membership_metadata
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

/// Answers one question. With a filter, rows are looked at in chunks, so that memory stays bounded however
/// large the organization and however rare the hits; one transaction makes them one moment.
pub(super) async fn list(readers: &SqlitePool, query: &MemberQuery) -> Result<Page, StoreError> {
    if query.filter.is_empty() {
        return walk(&mut *readers.acquire().await?, query).await;
    }
    let mut moment = readers.begin().await?;
    let page = walk(&mut moment, query).await?;
    moment.commit().await?;
    Ok(page)
}

/// Answers one question on a connection, in chunks when there is a filter.
pub(super) async fn walk(db: &mut SqliteConnection, query: &MemberQuery) -> Result<Page, StoreError> {
    let wanted = query.limit.map(usize::from);
    // One more than is wanted tells whether a page follows.
    let rows = match wanted {
        _ if !query.filter.is_empty() => FILTER_ROWS,
        Some(wanted) => i64::try_from(wanted + 1).unwrap_or(i64::MAX),
        None => i64::MAX,
    };
    let mut after = query.after.clone().unwrap_or_else(|| start(query.order));
    let mut members = Vec::new();
    loop {
        let chunk = fetch(&mut *db, query, &after, rows).await?;
        let exhausted = i64::try_from(chunk.len()).unwrap_or(i64::MAX) < rows;
        if let Some(last) = chunk.last() {
            after = last.cursor(query.order);
        }
        members.extend(chunk.into_iter().filter(|member| query.filter.matches(member)));
        if exhausted || wanted.is_some_and(|wanted| members.len() > wanted) {
            break;
        }
    }
    let more = wanted.is_some_and(|wanted| members.len() > wanted);
    members.truncate(wanted.unwrap_or(usize::MAX));
    let next = members.last().filter(|_| more).map(|last| last.cursor(query.order));
    Ok(Page { members, next })
}

async fn fetch(
    db: &mut SqliteConnection,
    query: &MemberQuery,
    after: &Cursor,
    rows: i64,
) -> Result<Vec<Member>, StoreError> {
    let statement = match (after, &query.ids) {
        (Cursor::Account { .. }, None) => BY_ACCOUNT,
        (Cursor::Account { .. }, Some(_)) => BY_ACCOUNT_OF_IDS,
        (Cursor::Email { .. }, None) => BY_EMAIL,
        (Cursor::Email { .. }, Some(_)) => BY_EMAIL_OF_IDS,
    };
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
    bound.fetch_all(db).await?.iter().map(member).collect()
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
    })
}
