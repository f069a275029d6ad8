//! Whose a database is, asked before anything is changed in it: `DATABASE_URL` in an app's `.env` names the app's own.

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;

use super::error::StoreError;

/// What the first of our migrations is called. Other programs keep theirs in a table of the same name.
pub(super) const FIRST: &str = "read model";

/// Who has tables in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Nobody,
    /// Roster, whose newest migration this is.
    Roster(i64),
    Others,
}

/// What Litestream and SQLite itself keep there begins with `_` and `sqlite_`.
const FILE: &str = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'),
    EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB '_*' AND name NOT GLOB 'sqlite_*')";

/// Of the schema in which tables would be made, and not of others on the search path. Extensions bring tables of their
/// own.
const SERVER: &str = "SELECT COUNT(*) FILTER (WHERE c.relname = '_sqlx_migrations') > 0,
        COUNT(*) FILTER (WHERE c.relname <> '_sqlx_migrations') > 0
    FROM pg_class c
    WHERE c.relnamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = current_schema())
        AND c.relkind IN ('r', 'p')
        AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')";

const MIGRATIONS: &str = "SELECT (SELECT description FROM _sqlx_migrations WHERE version = 1),
    (SELECT MAX(version) FROM _sqlx_migrations)";

impl Holder {
    pub(super) async fn of_file(db: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let (has_migrations, has_tables) = sqlx::query_as(FILE).fetch_one(&mut *db).await?;
        let known =
            if has_migrations { sqlx::query_as(MIGRATIONS).fetch_one(db).await? } else { (None, None) };
        Ok(Self::judge(has_tables, known))
    }

    pub(super) async fn of_server(db: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let (has_migrations, has_tables) = sqlx::query_as(SERVER).fetch_one(&mut *db).await?;
        let known =
            if has_migrations { sqlx::query_as(MIGRATIONS).fetch_one(db).await? } else { (None, None) };
        Ok(Self::judge(has_tables, known))
    }

    fn judge(has_tables: bool, known: (Option<String>, Option<i64>)) -> Self {
        match known {
            (Some(first), Some(newest)) if first == FIRST => Self::Roster(newest),
            // Somebody is about to make them.
            (_, None) if !has_tables => Self::Nobody,
            _ => Self::Others,
        }
    }

    /// Nobody else's tables are touched, nor mixed with ours.
    pub(super) fn admits_us(self) -> Result<(), StoreError> {
        if self == Self::Others { Err(StoreError::Occupied) } else { Ok(()) }
    }
}
