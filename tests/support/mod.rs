//! What the tests share.

pub mod answer;
pub mod binary;
pub mod cluster;
pub mod database;
pub mod delivery;
pub mod site;

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Nothing that is waited for takes so long unless it never comes.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until something is true.
pub async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !look().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(LOOK).await;
    }
}
