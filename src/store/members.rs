//! Lists the members of one organization, in order, by keyset.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde::Deserialize;
use sqlx::AssertSqlSafe;

use super::connection::{Connection, Pool};
use super::error::StoreError;
use super::rows::{Cell, cell};
use super::standing::{self, UNLISTED_POSTGRES, UNLISTED_SQLITE, Unlisted};
use crate::domain::model::Metadata;
use crate::domain::{Cursor, Member, MemberQuery, MembershipId, Order, Role, User, UserId};

/// How many rows one statement brings.
const CHUNK: i64 = 500;

/// One list statement: from which rows, in which order. It answers one value, a JSON array of arrays: a row of
/// many columns costs more on its way out of the driver than in the database. The two databases have other names
/// for the functions.
macro_rules! list {
    ($begin:literal, $end:literal, $from:literal, $among:literal, $key:literal) => {
        concat!(
            "SELECT ",
            $begin,
            "id, first_name, last_name, username, email, image_url, has_image, banned, user_metadata,
                created_at_ms, updated_at_ms, last_sign_in_at_ms, membership_id, role, joined_at_ms,
                membership_metadata, membership_updated_at_ms",
            $end,
            " FROM (SELECT u.id, u.first_name, u.last_name, u.username, u.email, u.image_url, u.has_image, u.banned,
                u.public_metadata AS user_metadata, u.created_at_ms, u.updated_at_ms, u.last_sign_in_at_ms,
                m.id AS membership_id, m.role, m.created_at_ms AS joined_at_ms,
                m.public_metadata AS membership_metadata, m.updated_at_ms AS membership_updated_at_ms
            FROM ",
            $from,
            " CROSS JOIN memberships m WHERE x.organization_id = $1",
            $among,
            " AND u.id = x.user_id AND m.id = x.membership_id AND (x.",
            $key,
            ", x.user_id) > ($2, $3) ORDER BY x.",
            $key,
            ", x.user_id LIMIT $4) AS listed"
        )
    };
    (sqlite $from:literal, $among:literal, $key:literal) => {
        list!("json_group_array(json_array(", "))", $from, $among, $key)
    };
    (postgres $from:literal, $among:literal, $key:literal) => {
        list!("CAST(COALESCE(json_agg(json_build_array(", ")), '[]') AS TEXT)", $from, $among, $key)
    };
    (sqlite all, $key:literal) => { list!(sqlite "members x CROSS JOIN users u", "", $key) };
    (postgres all, $key:literal) => { list!(postgres "members x CROSS JOIN users u", "", $key) };
    (sqlite ids, $key:literal) => {
        list!(
            sqlite "json_each($5) AS r CROSS JOIN users u CROSS JOIN members x",
            " AND u.id = r.value AND x.account_created_at_ms = u.created_at_ms",
            $key
        )
    };
    (postgres ids, $key:literal) => {
        list!(
            postgres
            "json_array_elements_text(CAST($5 AS JSON)) AS r (value) CROSS JOIN users u CROSS JOIN members x",
            " AND u.id = r.value AND x.account_created_at_ms = u.created_at_ms",
            $key
        )
    };
    ($database:ident) => {
        Texts {
            account: list!($database all, "account_created_at_ms"),
            account_of_ids: list!($database ids, "account_created_at_ms"),
            email: list!($database all, "email_key"),
            email_of_ids: list!($database ids, "email_key"),
        }
    };
}

/// The list statements of one database.
struct Texts {
    account: &'static str,
    account_of_ids: &'static str,
    email: &'static str,
    email_of_ids: &'static str,
}

const SQLITE: Texts = list!(sqlite);
const POSTGRES: Texts = list!(postgres);

/// The first rows of a whole list, and whom it does not show.
struct Rolls {
    account: String,
    email: String,
}

impl Rolls {
    fn new(texts: &Texts, unlisted: &str) -> Self {
        // Of a longer list it is asked at the end.
        let is_all = "(SELECT COUNT(*) FROM
            (SELECT 1 FROM members y WHERE y.organization_id = $1 LIMIT $4) AS listed) < $4";
        let both = |list| format!("SELECT ({list}), CASE WHEN {is_all} THEN ({unlisted}) END");
        Self { account: both(texts.account), email: both(texts.email) }
    }
}

static SQLITE_ROLLS: LazyLock<Rolls> = LazyLock::new(|| Rolls::new(&SQLITE, UNLISTED_SQLITE));
static POSTGRES_ROLLS: LazyLock<Rolls> = LazyLock::new(|| Rolls::new(&POSTGRES, UNLISTED_POSTGRES));

/// The place before the first member.
fn start(order: Order) -> Cursor {
    match order {
        Order::Account => Cursor::Account { created_at_ms: i64::MIN, user_id: String::new() },
        Order::Email => Cursor::Email { key: String::new(), user_id: String::new() },
    }
}

/// Shows the members that are asked for, in order, and answers where the next page begins.
///
/// Memory holds one chunk of rows, however large the organization and however rare the hits of a filter.
pub(super) async fn each(
    readers: &Pool,
    query: &MemberQuery,
    mut visit: impl FnMut(Member) + Send,
) -> Result<Option<Cursor>, StoreError> {
    let first = query.after.clone().unwrap_or_else(|| start(query.order));
    let mut page = Walk { query, shown: 0, last: None };
    let mut db = readers.acquire().await?;
    let chunk = fetch(&mut db, query, &first).await?;
    if chunk.is_last || query.filter.is_empty() && query.limit.is_some() {
        page.show(chunk.members, &mut visit);
        return Ok(page.next());
    }
    // More than one statement: from the beginning, in one transaction, which makes them one moment.
    db.begin_reading().await?;
    let next = walk(&mut db, query, visit).await?;
    db.commit().await?;
    Ok(next)
}

/// Shows all members, and answers what the list does not say, in one statement unless there are many.
pub(super) async fn roll(
    readers: &Pool,
    whole: &MemberQuery,
    mut visit: impl FnMut(Member) + Send,
) -> Result<Unlisted, StoreError> {
    let mut db = readers.acquire().await?;
    let is_postgres = db.is_postgres();
    let rolls = if is_postgres { &*POSTGRES_ROLLS } else { &*SQLITE_ROLLS };
    let text = if whole.order == Order::Account { &rolls.account } else { &rolls.email };
    let first = start(whole.order);
    let [organization, key, user_id] = cells(whole, &first);
    // Both parts are constants.
    let row = db.fetch_one(AssertSqlSafe(text.as_str()), &[organization, key, user_id, cell(CHUNK)]).await?;
    let chunk = Chunk::read(row.try_get(0)?, CHUNK)?;
    if let (true, Some(unlisted)) = (chunk.is_last, row.try_get(1)?) {
        chunk.members.into_iter().for_each(visit);
        return standing::unlisted(unlisted);
    }
    // From the beginning, in one transaction, which makes all of it one moment.
    db.begin_reading().await?;
    walk(&mut db, whole, &mut visit).await?;
    let unlisted = if is_postgres { UNLISTED_POSTGRES } else { UNLISTED_SQLITE };
    let row = db.fetch_one(unlisted, &[organization]).await?;
    db.commit().await?;
    standing::unlisted(row.try_get(0)?)
}

/// The same on one connection, in as many statements as it takes.
pub(super) async fn walk(
    db: &mut Connection,
    query: &MemberQuery,
    mut visit: impl FnMut(Member) + Send,
) -> Result<Option<Cursor>, StoreError> {
    let mut page = Walk { query, shown: 0, last: None };
    let mut after = query.after.clone().unwrap_or_else(|| start(query.order));
    loop {
        let chunk = fetch(&mut *db, query, &after).await?;
        if let Some(last) = chunk.members.last() {
            after = last.cursor(query.order);
        }
        let is_full = page.show(chunk.members, &mut visit);
        if is_full || chunk.is_last {
            return Ok(page.next());
        }
    }
}

/// How far a walk along a list has come.
struct Walk<'a> {
    query: &'a MemberQuery,
    shown: usize,
    /// The last one of a full page, and whether another one follows.
    last: Option<(Cursor, bool)>,
}

impl Walk<'_> {
    /// Shows those that match; true when the page is full and it is known that more follows.
    fn show(&mut self, members: Vec<Member>, visit: &mut impl FnMut(Member)) -> bool {
        let wanted = self.query.limit.map(usize::from);
        for member in members.into_iter().filter(|member| self.query.filter.matches(member)) {
            if let Some((_, follows)) = &mut self.last {
                *follows = true;
                return true;
            }
            self.shown += 1;
            if Some(self.shown) == wanted {
                self.last = Some((member.cursor(self.query.order), false));
            }
            visit(member);
        }
        false
    }

    fn next(self) -> Option<Cursor> {
        self.last.filter(|(_, follows)| *follows).map(|(cursor, _)| cursor)
    }
}

/// What one statement brought.
struct Chunk {
    members: Vec<Member>,
    is_last: bool,
}

impl Chunk {
    /// Of a list statement that was limited.
    fn read(json: &str, limit: i64) -> Result<Self, StoreError> {
        let rows: Vec<Row> = serde_json::from_str(json).map_err(|_| StoreError::InvalidData("member"))?;
        let is_last = i64::try_from(rows.len()).unwrap_or(i64::MAX) < limit;
        let members = rows.into_iter().map(Row::member).collect::<Result<_, _>>()?;
        Ok(Self { members, is_last })
    }
}

async fn fetch(db: &mut Connection, query: &MemberQuery, after: &Cursor) -> Result<Chunk, StoreError> {
    let texts = if db.is_postgres() { &POSTGRES } else { &SQLITE };
    let statement = match (after, &query.ids) {
        (Cursor::Account { .. }, None) => texts.account,
        (Cursor::Account { .. }, Some(_)) => texts.account_of_ids,
        (Cursor::Email { .. }, None) => texts.email,
        (Cursor::Email { .. }, Some(_)) => texts.email_of_ids,
    };
    // A filter may skip any number of rows; one more than is wanted tells whether a page follows.
    let limit = query.limit.filter(|_| query.filter.is_empty()).map_or(CHUNK, |limit| i64::from(limit) + 1);
    let mut cells = cells(query, after).to_vec();
    cells.push(cell(limit));
    let ids = query.ids.as_ref().map(|ids| {
        let distinct: BTreeSet<_> = ids.iter().map(UserId::as_str).collect();
        serde_json::Value::from_iter(distinct).to_string()
    });
    // At most a hundred; the one list that is not worth a statement for each length.
    cells.extend(ids.as_deref().map(cell));
    let row = db.fetch_one(statement, &cells).await?;
    Chunk::read(row.try_get(0)?, limit)
}

/// From where on which list is read.
fn cells<'a>(query: &'a MemberQuery, after: &'a Cursor) -> [Cell<'a>; 3] {
    let (key, user_id) = match after {
        Cursor::Account { created_at_ms, user_id } => (cell(*created_at_ms), user_id),
        Cursor::Email { key, user_id } => (cell(key.as_str()), user_id),
    };
    [cell(query.organization_id.as_str()), key, cell(user_id.as_str())]
}

/// One array of a list statement, in its order.
#[derive(Deserialize)]
struct Row {
    id: String,
    first_name: Option<String>,
    last_name: Option<String>,
    username: Option<String>,
    email: Option<String>,
    image_url: Option<String>,
    has_image: i64,
    banned: i64,
    user_metadata: String,
    created_at_ms: i64,
    updated_at_ms: Option<i64>,
    last_sign_in_at_ms: Option<i64>,
    membership_id: String,
    role: String,
    joined_at_ms: i64,
    membership_metadata: String,
    membership_updated_at_ms: Option<i64>,
}

impl Row {
    fn member(self) -> Result<Member, StoreError> {
        Ok(Member {
            user: User {
                id: UserId::parse(&self.id).map_err(|_| StoreError::InvalidData("user id"))?,
                first_name: self.first_name,
                last_name: self.last_name,
                username: self.username,
                email: self.email,
                image_url: self.image_url,
                has_image: self.has_image != 0,
                banned: self.banned != 0,
                public_metadata: Metadata::from_stored(self.user_metadata),
                created_at_ms: self.created_at_ms,
            },
            user_updated_at_ms: self.updated_at_ms.unwrap_or_default(),
            last_sign_in_at_ms: self.last_sign_in_at_ms,
            membership_id: MembershipId::parse(&self.membership_id)
                .map_err(|_| StoreError::InvalidData("membership id"))?,
            role: Role::new(&self.role),
            joined_at_ms: self.joined_at_ms,
            membership_metadata: Metadata::from_stored(self.membership_metadata),
            membership_updated_at_ms: self.membership_updated_at_ms.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use sqlx::Row as _;

    use super::*;
    use crate::store::sqlite;

    /// How SQLite goes about a statement, a line for each step.
    pub(in crate::store) async fn plan(statement: impl std::fmt::Display) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roster.db");
        let mut db = sqlite::prepare(&path).await.unwrap();
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
        let rows = sqlx::query(explain).fetch_all(&mut db).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        steps.join("\n")
    }

    /// In index order and from the place of the cursor on: the last page costs what the first one costs, and
    /// nothing is sorted but the at most hundred that were asked for by id.
    #[tokio::test]
    async fn a_list_is_read_in_its_order() {
        insta::assert_snapshot!(plan(SQLITE.account).await, @r"
        CO-ROUTINE listed
        SEARCH x USING PRIMARY KEY (organization_id=? AND (account_created_at_ms,user_id)>(?,?))
        SEARCH u USING INDEX sqlite_autoindex_users_1 (id=?)
        SEARCH m USING INDEX sqlite_autoindex_memberships_1 (id=?)
        SCAN listed
        ");
        insta::assert_snapshot!(plan(SQLITE.email).await, @r"
        CO-ROUTINE listed
        SEARCH x USING COVERING INDEX members_by_email (organization_id=? AND (email_key,user_id)>(?,?))
        SEARCH u USING INDEX sqlite_autoindex_users_1 (id=?)
        SEARCH m USING INDEX sqlite_autoindex_memberships_1 (id=?)
        SCAN listed
        ");
        insta::assert_snapshot!(plan(SQLITE.account_of_ids).await, @r"
        CO-ROUTINE listed
        SCAN r VIRTUAL TABLE INDEX 1:
        SEARCH u USING INDEX sqlite_autoindex_users_1 (id=?)
        SEARCH x USING PRIMARY KEY (organization_id=? AND account_created_at_ms=? AND user_id=?)
        SEARCH m USING INDEX sqlite_autoindex_memberships_1 (id=?)
        USE TEMP B-TREE FOR ORDER BY
        SCAN listed
        ");
        insta::assert_snapshot!(plan(SQLITE.email_of_ids).await, @r"
        CO-ROUTINE listed
        SCAN r VIRTUAL TABLE INDEX 1:
        SEARCH u USING INDEX sqlite_autoindex_users_1 (id=?)
        SEARCH x USING PRIMARY KEY (organization_id=? AND account_created_at_ms=? AND user_id=?)
        SEARCH m USING INDEX sqlite_autoindex_memberships_1 (id=?)
        USE TEMP B-TREE FOR ORDER BY
        SCAN listed
        ");
    }
}
