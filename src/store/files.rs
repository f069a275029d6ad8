//! The files of a SQLite database: made for their owner alone, and watched, so that they stay those that their paths name.
//!
//! SQLite goes on writing into a file that was moved away, replaced or removed, and into a log that was removed,
//! and says nothing; what is written there ends with the process. So the writer looks before and after each
//! commit, and acknowledges only what the next start will find.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::sqlite;

/// The two files that hold what is acknowledged, as they were when the database was opened.
#[derive(Debug, Clone)]
pub(super) struct DatabaseFiles {
    file: Named,
    log: Named,
}

#[derive(Debug, Clone)]
struct Named {
    path: PathBuf,
    identity: Identity,
}

impl DatabaseFiles {
    /// Of a database that somebody has open, and keeps open: the last one to close it removes the log.
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        let named = |path: PathBuf| match identity(&path) {
            Ok(identity) => Ok(Named { path, identity }),
            Err(_) => Err(StoreError::Displaced(path)),
        };
        Ok(Self { file: named(path.to_owned())?, log: named(sqlite::log_of(path))? })
    }

    /// Whether both are where they were.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        for named in [&self.file, &self.log] {
            if identity(&named.path).ok() != Some(named.identity) {
                return Err(StoreError::Displaced(named.path.clone()));
            }
        }
        Ok(())
    }
}

/// How a file is opened that nobody but its owner may read, should it have to be made.
#[must_use]
pub fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// The device and the number of a file; SQLite tells files apart by the same.
#[cfg(unix)]
type Identity = (u64, u64);

/// Whether two paths name one file.
pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

/// Whether an open file is the one that the path names.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let of = file.metadata().map(|file| identity_of(&file));
    matches!((of, identity(path)), (Ok(of), Ok(named)) if of == named)
}

fn identity(path: &Path) -> io::Result<Identity> {
    path.metadata().map(|file| identity_of(&file))
}

#[cfg(unix)]
fn identity_of(file: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt as _;
    (file.dev(), file.ino())
}

/// Elsewhere an open file can be neither removed nor replaced.
#[cfg(not(unix))]
type Identity = ();

#[cfg(not(unix))]
fn identity_of(_: &Metadata) -> Identity {}
