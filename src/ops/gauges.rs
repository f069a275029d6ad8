//! What is read from the store when somebody looks: row counts, dead letters, the last completed pass.
//!
//! These change without this process, by the commands beside it, so they are asked for and not counted
//! along. Counting rows reads whole tables: what takes long is then left alone for a while.

use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::domain::Entity;
use crate::domain::time::seconds;
use crate::reconcile;
use crate::store::{Store, StoreError};
use crate::telemetry::causes;

/// How long a scrape waits for fresh numbers; then it gets the last ones.
const PATIENCE: Duration = Duration::from_secs(2);
/// Counting that takes no longer than this is done for every scrape.
const QUICK: Duration = Duration::from_millis(100);
/// After slower counting comes a rest of so many times its length: a twentieth of one core at most.
const REST: u32 = 20;

/// Sets the gauges that speak of the store.
#[derive(Debug, Clone)]
pub(super) struct Gauges {
    store: Store,
    /// When rows are to be counted again. Held while somebody counts.
    due: Arc<Mutex<Instant>>,
}

impl Gauges {
    /// Takes over what earlier runs knew, so that a restart does not look like silence.
    pub(super) async fn begin(store: Store) -> Result<Self, StoreError> {
        if let Some(at_ms) = store.last_arrival_ms().await? {
            gauge!("roster_last_event_timestamp_seconds").set(seconds(at_ms));
        }
        Ok(Self { store, due: Arc::new(Mutex::new(Instant::now())) })
    }

    /// Brings the gauges up to date. Where that does not work they stay as they are.
    pub(super) async fn refresh(&self) {
        let fresh = async {
            self.look().await?;
            let due = Arc::clone(&self.due).lock_owned().await;
            if Instant::now() < *due {
                return Ok(());
            }
            // On its own: a scrape that waits no longer does not undo the counting, nor start another one.
            let counting = tokio::spawn(count_rows(self.store.clone(), due));
            counting.await.unwrap_or(Err(StoreError::Closed))
        };
        match timeout(PATIENCE, fresh).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                warn!(error = %causes(&error), "some metrics are not fresh");
            }
            Err(_) => warn!("some metrics are not fresh: the database is slow"),
        }
    }

    /// What takes no time, whatever the size of the site.
    async fn look(&self) -> Result<(), StoreError> {
        gauge!("roster_dead_letters").set(number(self.store.dead_letters().await?));
        // On its own: a scrape that waits no longer must not come between marking and counting.
        let counting = tokio::spawn(reconcile::count_passes_of_commands(self.store.clone()));
        counting.await.unwrap_or(Err(StoreError::Closed))?;
        if let Some(at_ms) = reconcile::last_success_ms(&self.store).await? {
            gauge!("roster_reconcile_last_success_timestamp_seconds").set(seconds(at_ms));
        }
        Ok(())
    }
}

async fn count_rows(store: Store, mut due: OwnedMutexGuard<Instant>) -> Result<(), StoreError> {
    let started = Instant::now();
    for entity in Entity::ALL {
        let rows = store.count(entity).await?;
        gauge!("roster_read_model_rows", "entity" => entity.as_str()).set(number(rows));
    }
    let took = started.elapsed();
    if took > QUICK {
        *due = Instant::now() + took * REST;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, and no table is so large")]
fn number(count: u64) -> f64 {
    count as f64
}
