//! Notices what other processes write into the same file, such as `roster reconcile` beside the service.
//!
//! `PRAGMA data_version` on a connection moves when any **other** connection has committed, and never by what
//! this one commits itself. So the writer asks it on its own connection, a few times a second and between two
//! batches. When it has moved, the log of changes says whom others touched; most of what they commit, such as
//! the state of a pass, touches nobody.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;

use super::error::StoreError;
use super::versions;
use crate::domain::OrganizationId;

/// How often to look: what others write is to be seen within a second.
pub(super) const EVERY: Duration = Duration::from_millis(200);

/// What the writer's connection last said. A new connection counts anew, so it needs a new watch.
#[derive(Debug, Default)]
pub(super) struct Watch {
    last: Option<Last>,
    /// The versions that this process wrote since, where others wrote between them.
    own: BTreeSet<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    data_version: i64,
    /// Every version up to this one has been seen.
    version: i64,
}

/// Whom others have touched since the last look.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// They have committed nothing at all.
    Nothing,
    /// These, if any.
    Organizations(BTreeSet<OrganizationId>),
    /// Nobody can tell.
    Anything,
}

impl Watch {
    /// This process has committed a version.
    pub(super) fn wrote(&mut self, version: Option<i64>) {
        match &mut self.last {
            Some(last) if version == Some(last.version + 1) => last.version += 1,
            _ => self.own.extend(version),
        }
    }

    /// Every version up to this one has been seen, whoever wrote it; `None` before the first look.
    pub(super) fn seen(&self) -> Option<i64> {
        self.last.map(|last| last.version)
    }

    /// Looks at what others have committed. The first look cannot tell.
    pub(super) async fn look(&mut self, db: &mut SqliteConnection) -> Result<Seen, StoreError> {
        let data_version: i64 = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut *db).await?;
        let Some(last) = self.last else {
            let version = versions::newest(db).await?;
            self.own.clear();
            self.last = Some(Last { data_version, version });
            return Ok(Seen::Anything);
        };
        if last.data_version == data_version {
            // Nobody else has written, so every version since is our own.
            let version = self.own.last().copied().unwrap_or(last.version);
            self.own.clear();
            self.last = Some(Last { data_version, version });
            return Ok(Seen::Nothing);
        }
        let since = versions::since(db, last.version).await?;
        let newest = since.as_ref().and_then(|since| since.iter().map(|(version, _)| *version).max());
        let version = match since {
            Some(_) => newest.unwrap_or(last.version),
            None => versions::newest(db).await?,
        };
        let own = std::mem::take(&mut self.own);
        self.last = Some(Last { data_version, version });
        Ok(match since {
            None => Seen::Anything,
            Some(since) => {
                let others = since.into_iter().filter(|(version, _)| !own.contains(version));
                Seen::Organizations(others.map(|(_, organization)| organization).collect())
            }
        })
    }
}
