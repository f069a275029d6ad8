//! What can go wrong in the store, by what the caller can do about it.

use std::path::PathBuf;
use std::sync::Arc;

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
    #[error("the database could not be used")]
    Database(#[source] Arc<sqlx::Error>),
    /// The database cannot be opened.
    #[error("the database `{}` cannot be opened; check that its folder exists and may be written", path.display())]
    Open {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: Arc<sqlx::Error>,
    },
    /// Its schema cannot be brought up to date.
    #[error("the schema of the database cannot be brought up to date; is it from a newer Roster?")]
    Schema(#[source] Arc<sqlx::migrate::MigrateError>),
    /// This kind of database is not supported.
    #[error("this build of Roster keeps its data in SQLite only; set DATABASE_URL=sqlite://roster.db")]
    Unsupported,
    /// A stored value has a form that this program never writes.
    #[error("the database holds a `{0}` that Roster did not write")]
    Foreign(&'static str),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}
