//! One service per SQLite file.
//!
//! Caches and the writer's queue live in the process, so a second service on the same file would answer from
//! yesterday. The claim is a lock on a file beside the database; the system drops it when the process ends,
//! however it ends. Other commands work beside the service and take no claim.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::store::private;

/// Held while the service runs.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
}

/// Why a database cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another service has it.
    #[error("another `roster serve` uses {0}: stop it, or set DATABASE_URL to another file")]
    Taken(PathBuf),
    /// The folder or the file does not let us.
    #[error("{path} cannot be opened: its folder must exist, and both must be writable", path = .0.display())]
    Io(PathBuf, #[source] io::Error),
}

impl Claim {
    /// Makes the database file when it is missing, for the owner's eyes only, and claims it.
    pub fn take(database: &Path) -> Result<Self, ClaimError> {
        let failed = |error| ClaimError::Io(database.to_owned(), error);
        open(database).map_err(failed)?;
        // Two names of one file must meet at one lock.
        let mut name = database.canonicalize().map_err(failed)?.into_os_string();
        name.push(".lock");
        let lock = open(Path::new(&name)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(ClaimError::Taken(database.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

/// Opens or makes a file. The database gives its side files the mode of its main file.
fn open(path: &Path) -> io::Result<File> {
    private().read(true).write(true).create(true).truncate(false).open(path)
}
