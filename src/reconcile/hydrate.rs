//! Fetches users of whom only a membership is known.
//!
//! A member is listed once both halves are known. The user's own event is usually just behind, so this waits
//! a moment before it asks Clerk; and it never makes a webhook wait.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::clerk::backend_api::{ApiError, BackendApi, MAX_IDS};
use crate::domain::UserId;
use crate::store::{Store, StoreError};
use crate::telemetry::causes;

/// How many users may wait. Past that they are left to the next full pass.
const QUEUE: usize = 10_000;
/// How long a user's own event may be behind.
const GRACE: Duration = Duration::from_secs(2);

/// Where to leave the ids of users who may be missing.
#[derive(Debug, Clone)]
pub struct Hydrator(mpsc::Sender<UserId>);

impl Hydrator {
    /// Starts the task. It ends with `stop`.
    pub fn start(store: Store, api: BackendApi, stop: CancellationToken) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        tokio::spawn(async move { stop.run_until_cancelled(run(store, api, queue)).await });
        Self(sender)
    }

    /// Notes a user who may be missing.
    pub fn note(&self, user_id: UserId) {
        if self.0.try_send(user_id).is_err() {
            debug!("too many users wait to be fetched; the next full pass brings them");
        }
    }
}

/// Why something was not fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Clerk(#[from] ApiError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

async fn run(store: Store, api: BackendApi, mut queue: mpsc::Receiver<UserId>) {
    let mut users = Vec::new();
    while let Some(first) = queue.recv().await {
        users.push(first);
        tokio::time::sleep(GRACE).await;
        while users.len() < MAX_IDS
            && let Ok(next) = queue.try_recv()
        {
            users.push(next);
        }
        if let Err(error) = fetch(&store, &api, &users).await {
            warn!(
                error = %causes(&error),
                "missing users were not fetched; the next full pass brings them"
            );
        }
        users.clear();
    }
}

/// Fetches those of these users who are not known.
pub(super) async fn fetch(store: &Store, api: &BackendApi, users: &[UserId]) -> Result<(), FetchError> {
    let unknown = store.unknown_users(users).await?;
    if !unknown.is_empty() {
        let fetched = api.users_by_ids(&unknown).await?.value;
        debug!(asked = unknown.len(), found = fetched.changes.len(), "missing users were asked for");
        store.apply(fetched.changes).await?;
    }
    Ok(())
}
