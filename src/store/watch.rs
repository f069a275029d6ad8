//! Notices what others write: processes beside the service, such as `roster reconcile`, and other instances.
//!
//! In a file, `PRAGMA data_version` on a connection moves when any **other** connection has committed, and never
//! by what this one commits itself; on a server, the newest version is as cheap to ask for. When it has moved,
//! the log of changes says whom others touched; most of what they commit, such as the state of a pass, touches
//! nobody.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::connection::Connection;
use super::error::StoreError;
use super::feed::Feed;
use super::generation::Generations;
use super::{journal, versions};
use crate::domain::OrganizationId;

/// How often to look. What others write is to be seen within a second, and whoever tries it by hand is quick.
pub(super) const EVERY: Duration = Duration::from_millis(50);

/// The versions that this process wrote since the last look.
#[derive(Debug, Default, Clone)]
pub(super) struct Own(Arc<Mutex<BTreeSet<i64>>>);

impl Own {
    fn versions(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This process has committed a version, and what it changed is touched. A look that was faster takes it for
    /// another's, and touches it at once, which harms nobody: while the answer to a commit is late, nobody is answered as
    /// before it for long.
    pub(super) fn wrote(&self, version: Option<i64>) {
        self.versions().extend(version);
    }
}

/// What was last seen. In a file a new connection counts anew, so it needs a new watch.
#[derive(Debug, Default)]
pub(super) struct Watch {
    last: Option<Last>,
    own: Own,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    /// Moves when others may have written.
    mark: i64,
    /// Every version up to this one has been seen.
    version: i64,
}

/// What a look tells.
#[derive(Debug, PartialEq, Eq)]
struct Look {
    /// Whom others have touched.
    seen: Seen,
    /// Up to when the copy is Clerk's truth, once they are touched; `None` when nobody else has written.
    as_of_ms: Option<i64>,
}

/// Whom others have touched since the last look.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// They have committed nothing at all.
    Nothing,
    /// These, if any.
    Organizations(BTreeSet<OrganizationId>),
    /// Nobody can tell.
    Anything,
}

impl Look {
    /// Touches the organizations that others wrote about: all of them when nobody can tell.
    fn touch(&self, generations: &Generations) {
        match &self.seen {
            Seen::Nothing => {}
            Seen::Organizations(organizations) => generations.touch(organizations),
            Seen::Anything => generations.touch_all(),
        }
    }
}

impl Watch {
    /// Looks, and tells those who keep answers and then those who follow.
    pub(super) async fn tell(
        &mut self,
        db: &mut Connection,
        generations: &Generations,
        feed: &Feed,
    ) -> Result<(), StoreError> {
        let known = feed.known();
        let look = self.look(db).await?;
        look.touch(generations);
        feed.seen(self.seen(), (look.seen == Seen::Anything).then_some(known));
        generations.advance(look.as_of_ms);
        Ok(())
    }

    pub(super) fn new(own: Own) -> Self {
        Self { last: None, own }
    }

    /// Every version up to this one has been seen; `None` before the first look.
    fn seen(&self) -> Option<i64> {
        self.last.map(|last| last.version)
    }

    /// Looks at what others have committed. The first look cannot tell.
    async fn look(&mut self, db: &mut Connection) -> Result<Look, StoreError> {
        // Asked before the log, which may only know more.
        let (mut as_of_ms, mark) = if db.is_postgres() {
            (journal::as_of_ms(db).await?, versions::newest(db).await?)
        } else {
            (None, db.fetch_one("PRAGMA data_version", &[]).await?.try_get(0)?)
        };
        if !db.is_postgres() && self.last.is_none_or(|last| last.mark != mark) {
            as_of_ms = journal::as_of_ms(db).await?;
        }
        Ok(Look { seen: self.see(db, mark).await?, as_of_ms })
    }

    async fn see(&mut self, db: &mut Connection, mark: i64) -> Result<Seen, StoreError> {
        let Some(last) = self.last else {
            let version = versions::newest(db).await?;
            self.last = Some(Last { mark, version });
            // It may be another server, where the numbers of ours that were lost are given to others.
            self.own.versions().clear();
            return Ok(Seen::Anything);
        };
        if last.mark == mark {
            // Nobody else has written, so in a file every version since is our own. On a server there is none.
            if !db.is_postgres() {
                let own = std::mem::take(&mut *self.own.versions());
                let version = own.last().map_or(last.version, |own| last.version.max(*own));
                self.last = Some(Last { mark, version });
            }
            return Ok(Seen::Nothing);
        }
        let since = versions::since(db, last.version).await?;
        let newest = since.as_ref().and_then(|since| since.iter().map(|(version, _)| *version).max());
        let version = match since {
            Some(_) => newest.unwrap_or(last.version),
            None => versions::newest(db).await?,
        };
        // Ours that were committed since may come at the next look.
        let mut own = self.own.versions();
        let later = own.split_off(&(version + 1));
        let own = std::mem::replace(&mut *own, later);
        self.last = Some(Last { mark, version });
        Ok(match since {
            None => Seen::Anything,
            Some(since) => {
                let others = since.into_iter().filter(|(version, _)| !own.contains(version));
                Seen::Organizations(others.map(|(_, organization)| organization).collect())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite;

    /// A replica that took over gives the numbers of our lost versions to others.
    #[tokio::test]
    async fn a_number_of_ours_that_was_lost_may_be_anothers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roster.db");
        sqlite::prepare(&path).await.unwrap();
        let (ours, others) = (sqlite::writer(&path), sqlite::writer(&path));
        let (mut ours, mut others) = (ours.acquire().await.unwrap(), others.acquire().await.unwrap());
        let own = Own::default();
        own.wrote(Some(1));
        let mut watch = Watch::new(own.clone());
        assert_eq!(watch.look(&mut ours).await.unwrap().seen, Seen::Anything);
        for (version, is_ours) in [(1, false), (2, true)] {
            own.wrote(is_ours.then_some(version));
            for statement in [
                format!("INSERT INTO changes VALUES ({version}, 'org_1', 'user_1', 'upserted')"),
                format!("INSERT OR REPLACE INTO sequences VALUES ('version', {version})"),
            ] {
                others.execute(sqlx::AssertSqlSafe(statement), &[]).await.unwrap();
            }
            let organization = OrganizationId::parse("org_1").unwrap();
            let touched = (!is_ours).then_some(organization).into_iter().collect();
            assert_eq!(watch.look(&mut ours).await.unwrap().seen, Seen::Organizations(touched), "{version}");
        }
    }
}
