//! The two databases behind one set of types: pools, connections, and rows.
//!
//! Everything else in this room is written once and takes a [`Connection`]. SQLite and PostgreSQL speak the
//! same text, with `$1` for parameters; where they do not, a constant or a `match` says so where it happens.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{
    Column as _, Database, Decode, Either, Encode, Executor as _, FromRow, IntoArguments, Postgres, Row as _,
    SqlSafeStr, SqlStr, Sqlite, Type, ValueRef as _,
};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use super::error::StoreError;
use super::rows::{Cell, Column};

/// How long to wait for an answer of PostgreSQL. Longer than its own limit on a statement, so that it is reached
/// only when the server, or the way to it, is gone without a word.
const PATIENCE: Duration = Duration::from_secs(15);

/// One writer at a time, over all instances, as SQLite has it: batches see each other whole or not at all, no
/// two can wait for each other, and their numbers come in the order of their commits.
const BEGIN_WRITING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
    SELECT value FROM sequences WHERE name = 'version' FOR UPDATE";

/// Connections to one database.
#[derive(Debug, Clone)]
pub(super) enum Pool {
    /// With a lock, whoever takes a connection out of it holds it as long.
    Sqlite(SqlitePool, Option<WriteLock>),
    Postgres(PgPool),
}

/// Lets those of one store write to a file in the order in which they asked. SQLite lets those who wait for its own lock ask
/// for it now and then, and whoever writes one batch after the other would be quicker each time. Other processes know
/// SQLite's alone.
#[derive(Debug, Clone, Default)]
pub(super) struct WriteLock(Arc<Mutex<()>>);

/// Held while somebody writes.
pub(super) type WriteGuard = OwnedMutexGuard<()>;

impl WriteLock {
    pub(super) async fn lock(&self) -> WriteGuard {
        Arc::clone(&self.0).lock_owned().await
    }
}

impl Pool {
    /// Takes a connection, or waits for one.
    pub(super) async fn acquire(&self) -> Result<Connection, StoreError> {
        let (kind, lock) = match self {
            Self::Sqlite(pool, lock) => (Kind::Sqlite(pool.acquire().await?), lock.as_ref()),
            Self::Postgres(pool) => (Kind::Postgres(pool.acquire().await?), None),
        };
        // After the connection: those who wait for that are not before the writer.
        let guard = match lock {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        Ok(Connection { kind, unfinished: false, _guard: guard })
    }

    /// Closes every connection; waits for those that are in use.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool, _) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// A connection out of a pool. One that was left in the middle of something, be it by an error, by a timeout
/// or by a caller that went away, is closed and not given back.
pub(super) struct Connection {
    kind: Kind,
    unfinished: bool,
    /// Falls before a transaction that was left unfinished is undone: who comes next waits for SQLite's lock then.
    _guard: Option<WriteGuard>,
}

enum Kind {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.unfinished {
            match &mut self.kind {
                Kind::Sqlite(db) => db.close_on_drop(),
                Kind::Postgres(db) => db.close_on_drop(),
            }
        }
    }
}

/// Runs one body on either connection, and notes whether it came to its end.
macro_rules! run {
    ($connection:expr, $db:ident => $body:expr) => {{
        let before = std::mem::replace(&mut $connection.unfinished, true);
        let done = match &mut $connection.kind {
            Kind::Sqlite($db) => $body.await?.into(),
            Kind::Postgres($db) => timeout(PATIENCE, $body).await.map_err(|_| StoreError::Timeout)??.into(),
        };
        $connection.unfinished = before;
        done
    }};
}

impl Connection {
    /// Runs a statement; answers how many rows it wrote.
    pub(super) async fn execute(
        &mut self,
        text: impl SqlSafeStr,
        cells: &[Cell<'_>],
    ) -> Result<u64, StoreError> {
        let text = text.into_sql_str();
        let done: Done = run!(self, db => query(text, cells).execute(&mut **db));
        Ok(done.0)
    }

    /// Runs a statement; answers the rows that it returns.
    pub(super) async fn fetch(
        &mut self,
        text: impl SqlSafeStr,
        cells: &[Cell<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let text = text.into_sql_str();
        let rows: Rows = run!(self, db => query(text, cells).fetch_all(&mut **db));
        Ok(rows.0)
    }

    /// Runs every statement of a text, which only SQLite does; answers the rows that each returns.
    pub(super) async fn fetch_each(
        &mut self,
        text: impl SqlSafeStr,
        cells: &[Cell<'_>],
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        let text = text.into_sql_str();
        let rows: Vec<Rows> = run!(self, db => each(db.fetch_many(query(text, cells))));
        Ok(rows.into_iter().map(|rows| rows.0).collect())
    }

    /// The same, to be given whole columns, which only PostgreSQL takes.
    pub(super) fn arrays(&mut self) -> Option<Arrays<'_>> {
        match &mut self.kind {
            Kind::Postgres(db) => Some(Arrays { db, unfinished: &mut self.unfinished }),
            Kind::Sqlite(_) => None,
        }
    }

    /// The first row, if there is one.
    pub(super) async fn fetch_optional(
        &mut self,
        text: impl SqlSafeStr,
        cells: &[Cell<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.fetch(text, cells).await?.into_iter().next())
    }

    /// The row of a statement that always returns one.
    pub(super) async fn fetch_one(
        &mut self,
        text: impl SqlSafeStr,
        cells: &[Cell<'_>],
    ) -> Result<Row, StoreError> {
        self.fetch_optional(text, cells).await?.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }

    /// Begins a transaction in which every statement sees the same moment.
    pub(super) async fn begin_reading(&mut self) -> Result<(), StoreError> {
        self.begin("BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    /// Begins a transaction that writes; waits until no other one does.
    pub(super) async fn begin_writing(&mut self) -> Result<(), StoreError> {
        self.begin("BEGIN IMMEDIATE", BEGIN_WRITING).await
    }

    /// Has PostgreSQL plan every statement anew.
    pub(super) async fn forget_plans(&mut self) -> Result<(), StoreError> {
        if self.is_postgres() {
            let _: Done = run!(self, db => db.execute("DISCARD PLANS"));
        }
        Ok(())
    }

    async fn begin(&mut self, sqlite: &'static str, postgres: &'static str) -> Result<(), StoreError> {
        let text = if matches!(self.kind, Kind::Sqlite(_)) { sqlite } else { postgres };
        let _: Done = run!(self, db => db.execute(text));
        self.unfinished = true;
        Ok(())
    }

    /// Ends a transaction; what it wrote is durable.
    pub(super) async fn commit(&mut self) -> Result<(), StoreError> {
        let _: Done = run!(self, db => db.execute("COMMIT"));
        self.unfinished = false;
        Ok(())
    }

    /// Whether it leads to PostgreSQL.
    pub(super) fn is_postgres(&self) -> bool {
        matches!(self.kind, Kind::Postgres(_))
    }
}

/// A connection to PostgreSQL that is given columns.
pub(super) struct Arrays<'a> {
    db: &'a mut PoolConnection<Postgres>,
    unfinished: &'a mut bool,
}

impl Arrays<'_> {
    /// Runs a statement over columns of one length; answers the rows that it returns.
    pub(super) async fn fetch(
        self,
        text: impl SqlSafeStr,
        columns: &[Column<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let query = columns.iter().fold(sqlx::query(text), |query, column| match column {
            Column::Text(texts) => {
                query.bind(texts.iter().map(|text| text.map(storable)).collect::<Vec<_>>())
            }
            Column::Number(numbers) => query.bind(numbers.as_slice()),
        });
        let before = std::mem::replace(self.unfinished, true);
        let rows =
            timeout(PATIENCE, query.fetch_all(&mut **self.db)).await.map_err(|_| StoreError::Timeout)??;
        *self.unfinished = before;
        Ok(Rows::from(rows).0)
    }
}

/// The rows of each statement.
async fn each<R, D>(
    mut answers: BoxStream<'_, Result<Either<D, R>, sqlx::Error>>,
) -> Result<Vec<Rows>, sqlx::Error>
where
    Rows: From<Vec<R>>,
{
    let (mut all, mut rows) = (Vec::new(), Vec::new());
    while let Some(answer) = answers.try_next().await? {
        match answer {
            Either::Right(row) => rows.push(row),
            Either::Left(_) => all.push(std::mem::take(&mut rows).into()),
        }
    }
    Ok(all)
}

fn query<DB: Database>(text: SqlStr, cells: &[Cell<'_>]) -> Query<'static, DB, DB::Arguments>
where
    DB::Arguments: IntoArguments<DB>,
    for<'a> Option<Arc<str>>: Encode<'a, DB> + Type<DB>,
    for<'a> String: Encode<'a, DB> + Type<DB>,
    for<'a> Option<i64>: Encode<'a, DB> + Type<DB>,
{
    cells.iter().fold(sqlx::query(text), |query, cell| match *cell {
        Cell::Text(Some(text)) if DB::NAME == Postgres::NAME && text.contains('\0') => {
            query.bind(storable(text).into_owned())
        }
        // Of a `&str` SQLite's driver would make a `String` in an `Arc`.
        Cell::Text(text) => query.bind(text.map(Arc::<str>::from)),
        Cell::Id(id) => query.bind(Some(Arc::clone(id))),
        Cell::Number(number) => query.bind(number),
    })
}

/// PostgreSQL has no text with a zero byte in it.
fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// How many rows a statement wrote.
struct Done(u64);

impl From<sqlx::sqlite::SqliteQueryResult> for Done {
    fn from(done: sqlx::sqlite::SqliteQueryResult) -> Self {
        Self(done.rows_affected())
    }
}

impl From<sqlx::postgres::PgQueryResult> for Done {
    fn from(done: sqlx::postgres::PgQueryResult) -> Self {
        Self(done.rows_affected())
    }
}

struct Rows(Vec<Row>);

impl From<Vec<SqliteRow>> for Rows {
    fn from(rows: Vec<SqliteRow>) -> Self {
        Self(rows.into_iter().map(Row::Sqlite).collect())
    }
}

impl From<Vec<PgRow>> for Rows {
    fn from(rows: Vec<PgRow>) -> Self {
        let whole = |row: PgRow| {
            let columns = 0..row.len();
            Row::Postgres(row, columns)
        };
        Self(rows.into_iter().map(whole).collect())
    }
}

/// A row of either database. Numbers, and flags in tables, are read as `i64`, conditions as `bool`.
pub(super) enum Row {
    Sqlite(SqliteRow),
    /// These of its columns.
    Postgres(PgRow, Range<usize>),
}

/// Says which column: its name, or its index.
pub(super) enum Which<'a> {
    Name(&'a str),
    Index(usize),
}

impl<'a> From<&'a str> for Which<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(name)
    }
}

impl From<usize> for Which<'_> {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl Row {
    /// The value of a column.
    pub(super) fn try_get<'r, 'n, T, W>(&'r self, which: W) -> Result<T, sqlx::Error>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
        W: Into<Which<'n>>,
    {
        match (self, which.into()) {
            (Self::Sqlite(row), Which::Name(name)) => row.try_get(name),
            (Self::Sqlite(row), Which::Index(index)) => row.try_get(index),
            (Self::Postgres(row, columns), Which::Name(name)) => {
                let ours = row.columns().get(columns.clone()).unwrap_or_default();
                let index = ours.iter().position(|column| column.name() == name);
                row.try_get(
                    columns.start + index.ok_or_else(|| sqlx::Error::ColumnNotFound(name.to_owned()))?,
                )
            }
            (Self::Postgres(row, columns), Which::Index(index)) => row.try_get(columns.start + index),
        }
    }

    /// All values of a whole row, in order; a part of one is refused.
    pub(super) fn tuple<'r, T>(&'r self) -> Result<T, sqlx::Error>
    where
        T: FromRow<'r, SqliteRow> + FromRow<'r, PgRow>,
    {
        match self {
            Self::Sqlite(row) => T::from_row(row),
            Self::Postgres(row, columns) if *columns == (0..row.len()) => T::from_row(row),
            Self::Postgres(..) => Err(sqlx::Error::ColumnNotFound(PART.to_owned())),
        }
    }

    /// Which part of a joined statement (`rows/script.rs`) it comes from, and those of its columns. Each part begins with a
    /// column [`PART`], which is empty in the rows of the others.
    pub(super) fn part(self) -> Result<(usize, Self), sqlx::Error> {
        let Self::Postgres(row, columns) = self else { return Ok((0, self)) };
        let places = || {
            columns
                .clone()
                .filter(|place| row.columns().get(*place).is_some_and(|column| column.name() == PART))
        };
        let mut number = 0;
        for place in places() {
            if !row.try_get_raw(place)?.is_null() {
                break;
            }
            number += 1;
        }
        let start = places().nth(number).ok_or_else(|| sqlx::Error::ColumnNotFound(PART.to_owned()))?;
        let end = places().nth(number + 1).unwrap_or(columns.end);
        Ok((number, Self::Postgres(row, start + 1..end)))
    }
}

/// The column with which each part of a joined statement begins.
pub(super) const PART: &str = "part";
