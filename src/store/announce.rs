//! Tells the other instances which organizations have changed, and hears it from them.
//!
//! PostgreSQL delivers a notification when, and only when, the transaction that sent it commits. What is lost
//! with a connection is lost, so the listener counts: every announcement carries the number of its batch, and a
//! few times a second it asks the database for the greatest. While it does not know what others write, nothing
//! that is kept is believed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgListener, PgNotification, PgPool};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::error::StoreError;
use super::generation::Generations;
use super::rows::{Statement, cell};
use crate::domain::OrganizationId;

/// The channel. Sites that share a database by schemas share it too, which costs a few reads in vain.
const CHANNEL: &str = "roster_touched";

/// How long an announcement may be; PostgreSQL takes less than 8,000 bytes.
const LONGEST: usize = 7_900;
/// Past so many organizations it is cheaper to forget everything.
const MANY: usize = 2_048;
/// Stands for all of them.
const EVERYTHING: &str = "*";

/// How often the listener makes sure that it missed nothing; what others write is to be seen within a second.
const EVERY: Duration = Duration::from_millis(250);
/// How long it waits for an answer before it calls the connection lost, and between two tries.
const PATIENCE: Duration = Duration::from_millis(500);

static ANNOUNCE: Statement<1> =
    Statement::new("SELECT pg_notify('roster_touched', r.column1) FROM (VALUES {rows}) AS r");

/// Announces within a transaction what it touched. A file has one service, which watches the file instead.
pub(super) async fn touched(
    db: &mut Connection,
    version: i64,
    organizations: &BTreeSet<OrganizationId>,
) -> Result<(), StoreError> {
    if !db.is_postgres() {
        return Ok(());
    }
    let parts = announcements(version, organizations);
    let rows: Vec<_> = parts.iter().map(|part| [cell(part.as_str())]).collect();
    ANNOUNCE.fetch(db, &rows).await.map(drop)
}

/// Each is a line for the number of the batch, which only the last one tells, and a line for each organization.
fn announcements(version: i64, organizations: &BTreeSet<OrganizationId>) -> Vec<String> {
    if organizations.len() > MANY {
        return vec![format!("{version}\n{EVERYTHING}")];
    }
    let mut full = Vec::new();
    let mut open = String::new();
    for id in organizations.iter().map(OrganizationId::as_str) {
        if open.len() + id.len() > LONGEST - 32 {
            full.push(std::mem::take(&mut open));
        }
        open.push('\n');
        open.push_str(id);
    }
    full.push(format!("{version}{open}"));
    full
}

/// The connection of this instance's writer, as the server names it. What comes from there is known already.
pub(super) type Own = Arc<AtomicU32>;

/// Listens until the store closes.
pub(super) fn start(pool: PgPool, generations: Arc<Generations>, own: Own, closing: CancellationToken) {
    tokio::spawn(async move {
        let listening = async {
            loop {
                // Always an error: it ends when the connection does.
                let lost = Listener::run(&pool, &generations, &own).await;
                if generations.doubt()
                    && let Err(error) = lost
                {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "other instances are not heard: nothing is answered from the cache until they are"
                    );
                }
                tokio::time::sleep(PATIENCE).await;
            }
        };
        closing.run_until_cancelled(listening).await;
        pool.close().await;
    });
}

/// Where the database stands.
struct Standing {
    version: i64,
    as_of_ms: Option<i64>,
}

struct Listener<'a> {
    connection: PgListener,
    generations: &'a Generations,
    own: &'a Own,
    /// The greatest number that was announced.
    heard: i64,
    /// Where the database stood at the last look.
    looked: Standing,
}

impl<'a> Listener<'a> {
    /// Listens as long as it is sure that it misses nothing.
    async fn run(pool: &PgPool, generations: &'a Generations, own: &'a Own) -> Result<(), StoreError> {
        let mut connection = PgListener::connect_with(pool).await?;
        connection.eager_reconnect(false);
        connection.listen(CHANNEL).await?;
        let looked = look(&mut connection).await?;
        // From here on everything is heard; before, anything may have happened.
        generations.trust(looked.as_of_ms);
        tracing::debug!("other instances are heard");
        let mut listener = Self { connection, generations, own, heard: looked.version, looked };
        let mut next = Instant::now() + EVERY;
        loop {
            // Asked first, so that many announcements do not put it off.
            if Instant::now() >= next {
                listener.look_again().await?;
                next = Instant::now() + EVERY;
            }
            match timeout_at(next, listener.connection.try_recv()).await {
                Ok(Ok(Some(announcement))) => listener.hear(&announcement),
                Ok(Ok(None)) => return Err(StoreError::Silent),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {}
            }
        }
    }

    fn hear(&mut self, announcement: &PgNotification) {
        let mut lines = announcement.payload().lines();
        let version = lines.next().and_then(|line| line.parse::<i64>().ok());
        if announcement.process_id() != self.own.load(Ordering::SeqCst) {
            for id in lines {
                match OrganizationId::parse(id) {
                    Ok(id) if id.as_str() != EVERYTHING => self.generations.touch([&id]),
                    _ => self.generations.touch_all(),
                }
            }
        }
        self.heard = self.heard.max(version.unwrap_or(self.heard));
        self.advance();
    }

    /// Between two looks every batch that the first one saw must have been announced.
    async fn look_again(&mut self) -> Result<(), StoreError> {
        if self.heard < self.looked.version {
            return Err(StoreError::Missed);
        }
        self.looked = look(&mut self.connection).await?;
        self.advance();
        Ok(())
    }

    /// A list is never older than it says.
    fn advance(&self) {
        if self.heard >= self.looked.version {
            self.generations.advance(self.looked.as_of_ms);
        }
    }
}

const LOOK: &str = "SELECT s.value, (SELECT MAX(at_ms) FROM progress), pg_is_in_recovery()
    FROM sequences s WHERE s.name = 'version'";

async fn look(connection: &mut PgListener) -> Result<Standing, StoreError> {
    let looked = sqlx::query_as(LOOK).fetch_one(connection);
    let (version, as_of_ms, is_standby) =
        timeout(PATIENCE, looked).await.map_err(|_| StoreError::Silent)??;
    if is_standby { Err(StoreError::Silent) } else { Ok(Standing { version, as_of_ms }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_never_too_long_and_names_everybody_once() {
        for (count, parts) in [(0, 1), (1, 1), (30, 1), (31, 2), (MANY, 69), (MANY + 1, 1)] {
            let ids = (0..count).map(|id| OrganizationId::parse(format!("org_{id:0>251}")).unwrap());
            let ids: BTreeSet<_> = ids.collect();
            let announced = announcements(i64::MAX, &ids);
            assert_eq!(announced.len(), parts, "{count}");
            assert!(announced.iter().all(|part| part.len() <= LONGEST), "{count}");
            let named: Vec<_> = announced.iter().flat_map(|part| part.lines().skip(1)).collect();
            if count > MANY {
                assert_eq!(named, [EVERYTHING]);
            } else {
                assert_eq!(named, ids.iter().map(OrganizationId::as_str).collect::<Vec<_>>());
            }
            let versions = announced.iter().filter(|part| part.lines().next() != Some("")).count();
            assert_eq!(versions, 1, "only the last one tells the number");
        }
    }
}
