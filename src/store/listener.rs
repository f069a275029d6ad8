//! Hears what other instances write, within moments, and says when it cannot.
//!
//! PostgreSQL delivers a notification when, and only when, the transaction that sent it commits. It is but a
//! bell: who was touched stands in the log of changes, which is looked at several times a second without it. So
//! a bell that is lost costs a tenth of a second and nothing else. When the database does not answer, nobody
//! knows what others write, and nothing that is kept is believed until it does.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use sqlx::postgres::{PgListener, PgPool};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Pool};
use super::error::StoreError;
use super::feed::Feed;
use super::generation::Generations;
use super::rows::{Script, Statement, cell};
use super::watch::{Own, Watch};
use crate::telemetry::causes;

/// Sites that share a database by schemas share the bell too, which costs a few looks.
const BELL: &str = "roster";
static RING: Statement<1> = Statement::new("SELECT pg_notify(r.column1, '') FROM (VALUES {rows}) AS r");

/// How often to look when the bell is silent. So often that [`ALL_HEAR`] is not over before the next look is, be it slow.
const EVERY: Duration = Duration::from_millis(100);
/// How long to rest after a look, however often it rings.
const REST: Duration = Duration::from_millis(20);
/// How long a look may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// After so long every instance has heard of a commit, or knows that it may not have: it is in doubt when its last look
/// that succeeded began so long ago.
pub(super) const ALL_HEAR: Duration = Duration::from_millis(800);
/// How long to wait before the bell is hung up again.
const AGAIN: Duration = Duration::from_secs(1);

/// Rings when the transaction commits. A file has one service, which watches the file.
pub(super) fn ring(script: &mut Script<'_>, db: &Connection) {
    script.add(&RING, db.is_postgres().then(|| [cell(BELL)]));
}

/// Listens until the store closes, on a pool of two connections.
pub(super) fn start(
    pool: PgPool,
    own: Own,
    generations: Arc<Generations>,
    feed: Arc<Feed>,
    closing: CancellationToken,
) {
    let bell = Arc::new(Notify::new());
    let rung = Arc::clone(&bell);
    tokio::spawn(async move {
        let (believed, followed) = (Arc::clone(&generations), Arc::clone(&feed));
        let listener =
            Listener { pool: Pool::Postgres(pool.clone()), connection: None, own, generations, feed };
        let listening = async { tokio::join!(hang_up(&pool, &bell), listener.run(&rung)) };
        let listening = AssertUnwindSafe(closing.run_until_cancelled(Box::pin(listening)));
        if listening.catch_unwind().await.is_err() {
            believed.doubt();
            followed.breaks();
        }
        pool.close().await;
    });
}

/// Passes on what rings.
async fn hang_up(pool: &PgPool, bell: &Notify) {
    loop {
        if let Err(error) = pass_on(pool, bell).await {
            tracing::debug!(
                error = %causes(&error),
                "other instances are heard by looking only"
            );
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn pass_on(pool: &PgPool, bell: &Notify) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(BELL).await?;
    while listener.try_recv().await?.is_some() {
        bell.notify_one();
    }
    Ok(())
}

struct Listener {
    pool: Pool,
    connection: Option<Connection>,
    own: Own,
    generations: Arc<Generations>,
    feed: Arc<Feed>,
}

impl Listener {
    async fn run(mut self, rung: &Notify) {
        let mut watch = Watch::new(self.own.clone());
        loop {
            let began = Instant::now();
            match timeout(PATIENCE, self.look(&mut watch)).await.unwrap_or(Err(StoreError::Timeout)) {
                Ok(()) => {
                    if self.generations.trust(began) {
                        tracing::info!("other instances are heard");
                    }
                }
                Err(error) => {
                    if self.generations.doubt() {
                        tracing::warn!(
                            error = %causes(&error),
                            "PostgreSQL does not say what other instances write: nothing is answered from the cache until it does"
                        );
                    }
                    // Another server may answer next, with other numbers.
                    watch = Watch::new(self.own.clone());
                    self.connection = None;
                }
            }
            tokio::time::sleep(REST).await;
            // Whether it rang or not.
            let _ = timeout(EVERY, rung.notified()).await;
        }
    }

    async fn look(&mut self, watch: &mut Watch) -> Result<(), StoreError> {
        let connection = match &mut self.connection {
            Some(open) => open,
            none => none.insert(self.pool.acquire().await?),
        };
        watch.tell(connection, &self.generations, &self.feed).await
    }
}
