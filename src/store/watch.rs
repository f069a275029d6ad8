//! Notices what other processes write into the same file, such as `roster reconcile` beside the service.
//!
//! `PRAGMA data_version` on a connection moves when any **other** connection has committed, and never by what
//! this one commits itself. So the writer asks it on its own connection, a few times a second and between two
//! batches: what it has not written was written by others.

use std::time::Duration;

use super::connection::Connection;
use super::error::StoreError;

/// How often to look: what others write is to be seen within a second.
pub(super) const EVERY: Duration = Duration::from_millis(200);

/// What the writer's connection last said. A new connection counts anew, so it needs a new watch.
#[derive(Debug, Default)]
pub(super) struct Watch {
    data_version: Option<i64>,
}

impl Watch {
    /// Whether others may have committed since the last look. The first look cannot tell.
    pub(super) async fn has_moved(&mut self, db: &mut Connection) -> Result<bool, StoreError> {
        let now: i64 = db.fetch_one("PRAGMA data_version", &[]).await?.try_get(0)?;
        Ok(self.data_version.replace(now) != Some(now))
    }
}
