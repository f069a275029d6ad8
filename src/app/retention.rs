//! Forgets events and passes that need not be remembered any longer.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock;
use crate::store::Store;
use crate::telemetry::causes;

const EVERY: Duration = Duration::from_hours(1);
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Starts the task: at once, and then every hour, until `stop`.
pub(super) fn start(store: Store, days: u32, stop: CancellationToken) {
    tokio::spawn(async move { stop.run_until_cancelled(run(store, days)).await });
}

async fn run(store: Store, days: u32) {
    loop {
        let before_ms = clock::now_ms().saturating_sub(i64::from(days).saturating_mul(DAY_MS));
        match store.forget_events(before_ms).await {
            Ok(0) => {}
            Ok(forgotten) => info!(forgotten, days, "old events left the journal"),
            Err(error) => warn!(error = %causes(&error), "the journal was not shortened"),
        }
        if let Err(error) = store.forget_passes(before_ms).await {
            warn!(error = %causes(&error), "old passes were not forgotten");
        }
        tokio::time::sleep(EVERY).await;
    }
}
