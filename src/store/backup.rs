//! A consistent copy of the database, taken while a service writes to it; and a look at it that changes nothing.
//!
//! Neither brings the schema up to date: a newer program must be able to make a backup before it does.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::error::result_code;
use super::{migrations, place};

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Nothing is overwritten.
    #[error("{path} is there already: choose another name, or move it away", path = .0.display())]
    Exists(PathBuf),
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
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    // The name is given to a copy that is whole and on the disk, so whatever has it can be restored.
    let mut partial = to.to_owned().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let _ours = begin(&partial).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::UnderWay(partial.clone()),
        _ => failed(error),
    })?;
    let filled = fill(&mut connection, &partial).await;
    let bytes = filled.and_then(|()| put(&partial, to).map_err(failed));
    if bytes.is_err() {
        remove(&partial);
    }
    bytes
}

async fn fill(connection: &mut SqliteConnection, partial: &Path) -> Result<(), BackupError> {
    let name = partial
        .to_str()
        .ok_or_else(|| BackupError::Write(partial.to_owned(), io::Error::other("the name is not UTF-8")))?;
    sqlx::query("VACUUM INTO $1").bind(name).execute(connection).await.map_err(|error| {
        // The database is only read; what cannot be opened, written or extended is the copy.
        if matches!(result_code(&error), Some(8 | 10 | 13 | 14)) {
            BackupError::Write(partial.to_owned(), io::Error::other(error))
        } else {
            error.into()
        }
    })?;
    let mut copy = open(partial).await?;
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
            drop(create(to)?);
            fs::rename(partial, to)?;
        }
    }
    #[cfg(unix)]
    File::open(to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))?
        .sync_all()?;
    Ok(bytes)
}

/// Makes the file that is filled, and locks it until it is dropped. One that nobody has locked was left by a backup
/// that was killed.
fn begin(partial: &Path) -> io::Result<File> {
    if partial.symlink_metadata().is_ok_and(|found| found.is_file())
        && let Ok(left) = OpenOptions::new().write(true).open(partial)
        && left.try_lock().is_ok()
        && place::is_at(&left, partial)
    {
        // It is not written over: it may have its final name as well by now.
        fs::remove_file(partial)?;
        let mut journal = partial.to_owned().into_os_string();
        journal.push("-journal");
        remove(Path::new(&journal));
    }
    let file = create(partial)?;
    // A file system without locks is no reason to have no backup. Where there are some, another one may have taken
    // the new file for one that was left.
    let is_ours = !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && place::is_at(&file, partial);
    if is_ours { Ok(file) } else { Err(io::ErrorKind::AlreadyExists.into()) }
}

fn create(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new();
    file.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
    file.open(path)
}

/// What cannot be removed was reported with the failure that came first.
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

/// Looks at a database file.
pub async fn look(path: &Path) -> Result<Look, sqlx::Error> {
    let mut connection = open(path).await?;
    let schema: i64 =
        sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(&mut connection).await?;
    let is_newer = migrations::sqlite().iter().all(|known| known.version < schema);
    let last_arrival_ms =
        sqlx::query_scalar("SELECT MAX(received_at_ms) FROM events").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(Look { is_newer, last_arrival_ms })
}
