//! The passes that were, and the one under way, as people look at them.

use serde::Serialize;

use super::progress::Progress;
use super::report::Entities;
use crate::domain::time::iso8601;
use crate::domain::{Entity, PassKind, PassOutcome};
use crate::store::{Store, StoreError};

/// One pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PastPass {
    id: String,
    kind: PassKind,
    /// How it ended; `running`, or `unfinished` where a later one goes on with it or leaves it.
    outcome: &'static str,
    started_at: String,
    finished_at: Option<String>,
    /// What it looks at, or looked at last.
    stage: &'static str,
    /// Objects that it has seen, of those that Clerk says it holds.
    seen: u64,
    total: u64,
    entities: Entities,
}

/// The newest passes, newest first.
pub async fn history(store: &Store, limit: i64, now_ms: i64) -> Result<Vec<PastPass>, StoreError> {
    let mut is_under_way = store.is_pass_under_way(store.lease_clock_ms(now_ms).await?).await?;
    let passes = store.recent_passes(limit).await?.into_iter().filter_map(|stored| {
        // What another version has written in another form is left out.
        let progress: Progress = serde_json::from_str(&stored.progress).ok()?;
        let ended = stored.outcome.is_some();
        let outcome = stored.outcome.map_or_else(
            // One runs at a time, and it is the newest of those that are open.
            || if std::mem::take(&mut is_under_way) { "running" } else { "unfinished" },
            PassOutcome::as_str,
        );
        Some(PastPass {
            id: stored.id,
            kind: stored.kind,
            outcome,
            started_at: iso8601(stored.started_at_ms),
            finished_at: ended.then(|| iso8601(progress.finished_at_ms)),
            stage: progress.stage.name(),
            seen: Entity::ALL.into_iter().map(|entity| progress.entities.of(entity).seen).sum(),
            total: progress.total(),
            entities: progress.entities,
        })
    });
    Ok(passes.collect())
}
