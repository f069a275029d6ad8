//! A consistent copy of the database, taken while a service writes to it; and a look at it that changes nothing.
//!
//! Neither brings the schema up to date: a newer program must be able to make a backup before it does.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::error::{StoreError, result_code};
use super::files::private;
use super::holder::Holder;
use super::{files, migrations};

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Nothing is overwritten.
    #[error("{path} is there already: choose another name, or move it away", path = .0.display())]
    Exists(PathBuf),
    /// SQLite, or a service, would take the copy for its own.
    #[error("{path} is a name for files beside the database: choose another one", path = .0.display())]
    Reserved(PathBuf),
    /// Two copies cannot have one name.
    #[error("another backup is writing {path}: wait until it is done, or choose another name", path = .0.display())]
    UnderWay(PathBuf),
    /// The file system does not let us.
    #[error("{path} cannot be written: its folder must exist, be writable and have room", path = .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// The database does not let us.
    #[error("the database cannot be read")]
    Database(#[from] sqlx::Error),
    /// The copy is not whole.
    #[error("the copy was checked and is damaged ({0}): so is the database, or the disk of the copy")]
    Damaged(String),
}

/// What a look at a database file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether a newer program has changed its schema.
    pub is_newer: bool,
    /// When its newest event came in, in Unix milliseconds.
    pub last_arrival_ms: Option<i64>,
}

async fn open(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .disable_statement_logging()
        .connect()
        .await
}

/// Copies the database at `from` to the new file `to`, for the owner's eyes only. Answers how many bytes it has.
pub async fn copy(from: &Path, to: &Path) -> Result<u64, BackupError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists(to.to_owned()),
        _ => BackupError::Write(to.to_owned(), error),
    };
    let mut connection = open(from).await?;
    if side_files(from).chain([with_suffix(from, ".lock")]).any(|path| same_name(to, &path)) {
        return Err(BackupError::Reserved(to.to_owned()));
    }
    // What lies beside the name would be taken for the copy's own.
    must_be_free(to)?;
    // The name is given to a copy that is whole and on the disk, so whatever has it can be restored.
    let partial = with_suffix(to, ".partial");
    let turn = Turn::take(&partial)?;
    if turn.as_ref().is_some_and(|turn| turn.was_left) && is_left_over(&partial, from) {
        remove_all(&partial);
    }
    must_be_free(&partial)?;
    create(&partial).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists(partial.clone()),
        _ => failed(error),
    })?;
    let filled = fill(&mut connection, &partial).await;
    let bytes = filled.and_then(|()| put(&partial, to).map_err(failed));
    if bytes.is_err() {
        remove_all(&partial);
    }
    bytes
}

/// What SQLite keeps beside a database.
const SIDE_FILES: [&str; 3] = ["-wal", "-shm", "-journal"];

fn side_files(database: &Path) -> impl Iterator<Item = PathBuf> {
    SIDE_FILES.iter().map(|suffix| with_suffix(database, suffix))
}

fn must_be_free(name: &Path) -> Result<(), BackupError> {
    let taken =
        std::iter::once(name.to_owned()).chain(side_files(name)).find(|path| path.symlink_metadata().is_ok());
    taken.map_or(Ok(()), |path| Err(BackupError::Exists(path)))
}

/// The database goes last: whoever finds the others alone would not know what they are.
fn remove_all(database: &Path) {
    side_files(database).for_each(|path| remove(&path));
    remove(database);
}

/// Whether two paths, at which there need be nothing, are one.
fn same_name(one: &Path, other: &Path) -> bool {
    let folder = |path: &Path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder.unwrap_or(Path::new(".")).canonicalize().ok()
    };
    one.file_name() == other.file_name() && folder(one) == folder(other)
}

/// Whoever has it knows that an unfinished copy of that name was left by a backup that was killed. It is a lock on a
/// file of its own: on some file systems a lock on the copy would keep SQLite from writing it.
struct Turn {
    name: PathBuf,
    /// Whether a backup that was killed had it.
    was_left: bool,
    _lock: File,
}

impl Turn {
    /// `None` where files cannot be locked.
    fn take(partial: &Path) -> Result<Option<Self>, BackupError> {
        let name = with_suffix(partial, ".lock");
        let left = name.symlink_metadata().ok();
        if left.as_ref().is_some_and(|left| !left.is_file() || left.len() > 0) {
            return Err(BackupError::Exists(name));
        }
        let lock = private()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&name)
            .map_err(|error| BackupError::Write(name.clone(), error))?;
        match lock.try_lock() {
            // Whoever had it may just have removed it, and the next one made it anew.
            Ok(()) if files::is_at(&lock, &name) => {
                Ok(Some(Self { name, was_left: left.is_some(), _lock: lock }))
            }
            Ok(()) | Err(TryLockError::WouldBlock) => Err(BackupError::UnderWay(partial.to_owned())),
            Err(TryLockError::Error(_)) => {
                remove(&name);
                Ok(None)
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Whether a file is what a killed backup leaves, and not somebody's.
fn is_left_over(partial: &Path, from: &Path) -> bool {
    const HEADER: &[u8] = b"SQLite format 3\0";
    let Ok(found) = partial.symlink_metadata() else { return false };
    let is_ours = || {
        let mut start = Vec::new();
        File::open(partial)?.take(HEADER.len() as u64).read_to_end(&mut start)?;
        io::Result::Ok(start.is_empty() || start == HEADER)
    };
    found.is_file() && !files::is_same(partial, from) && is_ours().unwrap_or(false)
}

/// The first schemas had none.
const HAS_CHANGES: &str =
    "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'changes')";

/// Whoever opens it numbers anew, and knows of no changes before.
const MARK: &str = "BEGIN IMMEDIATE;
    DELETE FROM changes;
    INSERT INTO sequences (name, value) VALUES ('copy', 1), ('version', 0) ON CONFLICT (name) DO NOTHING;
    COMMIT";

async fn fill(connection: &mut SqliteConnection, partial: &Path) -> Result<(), BackupError> {
    let name = partial
        .to_str()
        .ok_or_else(|| BackupError::Write(partial.to_owned(), io::Error::other("the name is not UTF-8")))?;
    let failed = |error: sqlx::Error| {
        // The database is only read; what cannot be opened, written or extended is the copy.
        if matches!(result_code(&error), Some(8 | 10 | 13 | 14)) {
            BackupError::Write(partial.to_owned(), io::Error::other(error))
        } else {
            error.into()
        }
    };
    sqlx::query("VACUUM INTO $1").bind(name).execute(connection).await.map_err(failed)?;
    let mut copy = open(partial).await.map_err(failed)?;
    if sqlx::query_scalar(HAS_CHANGES).fetch_one(&mut copy).await? {
        sqlx::raw_sql(MARK).execute(&mut copy).await.map_err(failed)?;
    }
    let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut copy).await?;
    copy.close().await?;
    if verdict == "ok" { Ok(()) } else { Err(BackupError::Damaged(verdict)) }
}

fn put(partial: &Path, to: &Path) -> io::Result<u64> {
    let file = File::open(partial)?;
    file.sync_all()?;
    let bytes = file.metadata()?.len();
    match fs::hard_link(partial, to) {
        Ok(()) => remove(partial),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        // Not every file system has links. An empty file keeps the name for us then.
        Err(_) => {
            create(to)?;
            fs::rename(partial, to)?;
        }
    }
    #[cfg(unix)]
    File::open(to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))?
        .sync_all()?;
    Ok(bytes)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(suffix);
    name.into()
}

fn create(path: &Path) -> io::Result<()> {
    private().write(true).create_new(true).open(path).map(drop)
}

/// What cannot be removed was reported with the failure that came first.
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

/// When the newest event came in.
pub(super) const LAST_ARRIVAL: &str = "SELECT MAX(received_at_ms) FROM events";

/// Looks at a database file; `None` when no Roster has been there yet. Takes the turn to write, and writes nothing.
pub async fn look(path: &Path) -> Result<Option<Look>, StoreError> {
    let mut connection = open(path).await?;
    let holder = Holder::of_file(&mut connection).await?;
    holder.admits_us()?;
    let Holder::Roster(newest) = holder else { return Ok(None) };
    for statement in ["BEGIN IMMEDIATE", "ROLLBACK"] {
        sqlx::raw_sql(statement).execute(&mut connection).await?;
    }
    let is_newer = migrations::sqlite().iter().all(|known| known.version < newest);
    let last_arrival_ms = sqlx::query_scalar(LAST_ARRIVAL).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(Some(Look { is_newer, last_arrival_ms }))
}
