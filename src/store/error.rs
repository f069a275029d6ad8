//! What can go wrong in the store, by what the caller can do about it.

use std::path::PathBuf;
use std::sync::Arc;

use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

/// Why the store did not do it. "Not found" is no error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Too much is waiting to be written. Come again.
    #[error("too many writes are waiting")]
    Busy,
    /// The store is closed, or its writer has ended.
    #[error("the store takes no more writes")]
    Closed,
    /// The database did not do it. Nothing was written.
    #[error("the database could not be used{}", remedy(.0))]
    Database(#[source] Arc<sqlx::Error>),
    /// The database cannot be opened.
    #[error("the database `{}` cannot be opened{}", path.display(), remedy(source))]
    Open {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: Arc<sqlx::Error>,
    },
    /// A newer program has changed its schema.
    #[error("the database is from a newer Roster: install that version, or restore a backup that is older")]
    Newer,
    /// Its schema cannot be brought up to date.
    #[error(
        "the schema of the database cannot be brought up to date: restore a backup, or set DATABASE_URL to another"
    )]
    Schema(#[source] Arc<MigrateError>),
    /// A file of the database is not the one that was opened.
    #[error("{} was moved, replaced or removed under the service: put it back, or restart to take what is there", .0.display())]
    Displaced(PathBuf),
    /// The database did not answer. What was asked of it may have been done.
    #[error("the database did not answer in time")]
    Timeout,
    /// The server cannot be had.
    #[error("PostgreSQL cannot be used; check DATABASE_URL, and that the server runs and lets this user in")]
    Unreachable(#[source] Arc<sqlx::Error>),
    /// The server is older than what was tested.
    #[error("PostgreSQL {0} is too old: Roster needs PostgreSQL 14 or later")]
    TooOld(String),
    /// Another program has tables in it.
    #[error(
        "the database holds tables that are not Roster's: set DATABASE_URL to a database of its own (in PostgreSQL a \
         schema of its own will do: ?options=-csearch_path%3DNAME)"
    )]
    Occupied,
    /// The server would sort, or refuse, what people are called.
    #[error("the PostgreSQL database has the encoding {0}: make one with ENCODING 'UTF8'")]
    Encoding(String),
    /// A site was moved here by half.
    #[error("a move into this database was not finished: run the same `roster migrate-store` again")]
    HalfMoved,
    /// A mistake of this program's own came to light. Nothing was written.
    #[error("it was given up because of a mistake in Roster; please report what the log says of a panic")]
    Panicked,
    /// A task without which nothing can be believed has ended in a panic.
    #[error("a part of the service has ended: restart it, and please report what the log says of a panic")]
    Broken,
    /// A stored value has a form that this program never writes.
    #[error("the database holds a `{0}` that Roster did not write")]
    InvalidData(&'static str),
}

impl StoreError {
    /// Whether the database as a whole is to blame, so that trying each piece of work alone would only take
    /// time.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Database(error) => match error.as_ref() {
                sqlx::Error::Database(error) => {
                    error.kind() == ErrorKind::Other && !is_about_values(error.as_ref())
                }
                sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_) => false,
                _ => true,
            },
            Self::InvalidData(_) | Self::Panicked => false,
            _ => true,
        }
    }

    /// Whether another try may succeed at once: the connection was cut, or PostgreSQL undid the transaction for
    /// the sake of another one, or had waited for us too long, or was told to stop, or a newer Roster has given a table
    /// another column.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Database(error) => match error.as_ref() {
                sqlx::Error::Io(_) => true,
                sqlx::Error::Database(error) => {
                    matches!(
                        error.code().as_deref(),
                        Some("0A000" | "25006" | "25P03" | "40001" | "40P01" | "57P01" | "57P02" | "57P05")
                    )
                }
                _ => false,
            },
            _ => false,
        }
    }
}

/// What to do about a file that SQLite cannot use, as the end of a sentence; empty when nobody can tell.
fn remedy(error: &sqlx::Error) -> &'static str {
    match result_code(error).unwrap_or_default() {
        5 | 6 => ": another program keeps it locked, and has to end its transaction",
        // SQLite says so too when there is no room for what it shares between connections.
        10 => ": its disk is full, or does not read or write; make room, or look into the system's log",
        11 | 26 => {
            ": it is damaged, or no database at all; restore a backup, or move it away with its `-wal` and \
             let a new one be filled from Clerk"
        }
        13 => ": its disk is full; make room there",
        8 | 14 => ": its folder must exist, and both must be readable and writable",
        _ => "",
    }
}

/// SQLite's kind of an error: the lower byte of its extended result code.
pub(super) fn result_code(error: &sqlx::Error) -> Option<i32> {
    let sqlx::Error::Database(error) = error else { return None };
    let code: i32 = error.try_downcast_ref::<SqliteError>()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// PostgreSQL's classes of errors of values that cannot be stored: not a value of that type, and too large.
fn is_about_values(error: &dyn DatabaseError) -> bool {
    error.try_downcast_ref::<PgDatabaseError>().is_some_and(|error| {
        let class = error.code().get(..2);
        class == Some("22") || class == Some("54")
    })
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMissing(_) => Self::Newer,
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            error => Self::Schema(Arc::new(error)),
        }
    }
}
