//! Opens a file: connections, their settings, and the schema.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::{Instant, sleep};

use super::connection::{Pool, WriteLock};
use super::error::{StoreError, result_code};
use super::files::private;
use super::holder::Holder;
use super::migrations;
use super::rows::{GREATEST_LOT, PREPARED};

/// How many requests may read at the same time.
const READERS: u32 = 8;

/// How long a statement waits for another process that writes, such as `roster reconcile`.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// The same at the start, where nobody is kept waiting.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait where SQLite does not.
const MOMENT: Duration = Duration::from_millis(10);

/// How many pages the log grows by before a commit writes it back. What is written again meanwhile, which is most of
/// the upper pages, is written back once. See `wal_checkpoint.rs` for what is written back before.
const LOG_PAGES: &str = "8192";

/// The name of a file's log. SQLite keeps it beside the file itself when the path is a symbolic link.
pub(super) fn log_of(path: &Path) -> PathBuf {
    let file = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut log = file.into_os_string();
    log.push("-wal");
    log.into()
}

/// How each connection to the file is set up.
fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        // A commit is on the disk before the delivery is acknowledged.
        .synchronous(SqliteSynchronous::Full)
        // What is erased must not stay readable in free pages. SECURITY.md says where SQLite leaves something nevertheless.
        .pragma("secure_delete", "on")
        .pragma("wal_autocheckpoint", LOG_PAGES)
        .foreign_keys(false)
        .busy_timeout(LOCK_PATIENCE)
        .statement_cache_capacity(PREPARED)
        .disable_statement_logging()
}

const IS_COPY: &str = "SELECT EXISTS (SELECT 1 FROM sequences WHERE name = 'copy')";

/// What is written into a restored copy must not have the numbers of what was written after the copy was made, nor of what was
/// written when it was restored before: whoever follows changes, and has heard of those, would miss it. So it begins with
/// a number that none of them reached: the time, with room for a thousand batches in each millisecond.
const RENUMBER: &str = "BEGIN IMMEDIATE;
    UPDATE sequences SET value = MAX(value + 4294967296, CAST(unixepoch('subsec') * 1000 AS INTEGER) << 10)
        WHERE name = 'version' AND EXISTS (SELECT 1 FROM sequences WHERE name = 'copy');
    DELETE FROM sequences WHERE name = 'copy';
    COMMIT";

/// Makes the file if need be, readable for its owner alone, and brings its schema up to date. Answers the
/// connection that did it.
pub(super) async fn prepare(path: &Path) -> Result<SqliteConnection, StoreError> {
    let open_error =
        |source: sqlx::Error| StoreError::Open { path: path.to_owned(), source: Arc::new(source) };
    create_private(path).map_err(|error| open_error(error.into()))?;
    // A file of another program is not even given a log.
    let plain = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(START_PATIENCE)
        .disable_statement_logging();
    let mut look = connect_at_start(&plain).await.map_err(open_error)?;
    Holder::of_file(&mut look).await.map_err(open_error)?.admits_us()?;
    let mut connection =
        connect_at_start(&options(path).busy_timeout(START_PATIENCE)).await.map_err(open_error)?;
    look.close().await.map_err(open_error)?;
    let migrations = migrations::sqlite();
    let mut tries = migrations.iter().count();
    while let Err(error) = migrations.run(&mut connection).await.map_err(StoreError::from) {
        tries -= 1;
        // sqlx keeps nobody else away from a file: what is there already was brought there by another process.
        let is_there =
            matches!(&error, StoreError::Database(error) if matches!(result_code(error), Some(1 | 19)));
        if !is_there || tries == 0 {
            return Err(error);
        }
    }
    if sqlx::query_scalar(IS_COPY).fetch_one(&mut connection).await? {
        sqlx::raw_sql(RENUMBER).execute(&mut connection).await?;
    }
    Ok(connection)
}

async fn connect_at_start(options: &SqliteConnectOptions) -> Result<SqliteConnection, sqlx::Error> {
    let until = Instant::now() + START_PATIENCE;
    loop {
        match options.connect().await {
            // SQLite lets nobody wait who gives a new file its log while another one does.
            Err(error) if result_code(&error) == Some(5) && Instant::now() < until => sleep(MOMENT).await,
            opened => return opened,
        }
    }
}

fn create_private(path: &Path) -> std::io::Result<()> {
    private().create(true).append(true).open(path).map(drop)
}

/// A connection beside those of the pools.
pub(super) async fn connect(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    options(path).connect().await
}

/// A connection that waits for others no longer than `patience`.
pub(super) async fn connect_patiently(
    path: &Path,
    patience: Duration,
) -> Result<SqliteConnection, sqlx::Error> {
    options(path).busy_timeout(patience).connect().await
}

/// The readers' pool.
pub(super) fn readers(path: &Path) -> Pool {
    Pool::Sqlite(pool(READERS, options(path).pragma("query_only", "on")), None)
}

/// A connection for what is neither an event nor a change, such as leases. SQLite lets one
/// write at a time; what waits here waits for a batch, never for a pass.
pub(super) fn bookkeeping(path: &Path, write_lock: WriteLock) -> Pool {
    Pool::Sqlite(pool(1, options(path)), Some(write_lock))
}

/// The connection of the one writer, who keeps it, and takes the lock with every batch. What a statement over many
/// rows keeps to undo itself, a page of each tree for every row, stays in memory: in a file it would be as much again as
/// what is written. SQLite's thread may hand over all rows of a lot without waiting: of fifty, which is the default, both
/// threads mostly waited for each other.
pub(super) fn writer(path: &Path) -> Pool {
    let options = options(path).pragma("temp_store", "memory").row_buffer_size(GREATEST_LOT);
    Pool::Sqlite(pool(1, options), None)
}

fn pool(connections: u32, options: SqliteConnectOptions) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(LOCK_PATIENCE)
        // Asking a local file whether it is still there costs a thread hand-over for nothing.
        .test_before_acquire(false)
        .connect_lazy_with(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_writer_keeps_in_memory_what_it_may_undo() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roster.db");
        prepare(&path).await.unwrap();
        let mut writer = writer(&path).acquire().await.unwrap();
        let kept = writer.fetch_one("PRAGMA temp_store", &[]).await.unwrap();
        assert_eq!(kept.try_get::<i64, _>(0).unwrap(), 2);
    }

    /// What a statement keeps to undo itself goes to a file when there is much of it, on all connections but the writer's. SQLite must not be built with
    /// another `SQLITE_STMTJRNL_SPILL`: beyond 128 KiB it takes its own write for a full disk.
    #[tokio::test]
    async fn a_statement_that_changes_many_pages_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roster.db");
        let mut db = prepare(&path).await.unwrap();
        let run = [
            "BEGIN IMMEDIATE",
            "INSERT INTO sequences (name, value)
            WITH RECURSIVE rows (row) AS (SELECT 1 UNION ALL SELECT row + 1 FROM rows WHERE row < 8000)
            SELECT printf('%02000d', row), row FROM rows",
            "COMMIT; BEGIN IMMEDIATE",
            "UPDATE sequences SET value = value + 1",
            "COMMIT",
        ];
        for statement in run {
            sqlx::raw_sql(statement).execute(&mut db).await.unwrap();
        }
    }
}
