//! When passes run: a backfill at the first start, then both kinds on their schedules.
//!
//! The scheduler only rings; one loop runs, so passes of one process never overlap, and one that takes
//! longer than its interval is followed by one more, not by all that it missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_cron_scheduler::{Job, JobScheduler};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::report::{Kind, PassOutcome};
use super::run::{Ask, Finished, Glance, Reconciler};
use crate::store::{Store, StoreError};

/// Passes begin up to this much later than their schedule says, so that many sites do not all ask Clerk at
/// the full minute.
const JITTER_MS: u64 = 5_000;
/// How long a failed backfill waits for the next try: the least and the most.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(1));
/// How often a pass under way says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Whether the first backfill is still to be done: until then the copy is not Clerk's truth.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<AtomicBool>);

impl Gate {
    /// Whether lists cannot be answered from the copy yet.
    pub fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self, closed: bool) {
        self.0.store(closed, Ordering::Release);
    }
}

/// The schedules, running.
pub struct Schedule {
    scheduler: JobScheduler,
    runner: JoinHandle<()>,
}

impl Schedule {
    /// Starts both schedules (cron expressions of five or six fields, UTC) and, where no full pass has ever
    /// been completed, a backfill.
    pub async fn start(
        reconciler: Reconciler,
        store: &Store,
        incremental: &str,
        full: &str,
        gate: Gate,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let backfill = !store.has_full_pass().await?;
        let unfinished = store.unfinished_pass(Kind::Full.as_str()).await?.is_some();
        gate.set(backfill && (unfinished || is_empty(store).await?));

        let scheduler = JobScheduler::new().await.context("the scheduler cannot start")?;
        // One of each kind may wait; a further one would only repeat it.
        let (incremental_bell, incremental_rings) = mpsc::channel(1);
        let (full_bell, full_rings) = mpsc::channel(1);
        for (expression, bell) in [(incremental, incremental_bell), (full, full_bell)] {
            let job = Job::new_async(with_seconds(expression).as_str(), move |_, _| {
                let bell = bell.clone();
                Box::pin(async move { _ = bell.try_send(()) })
            });
            scheduler.add(job.context("a schedule cannot be used")?).await?;
        }
        scheduler.start().await.context("the scheduler cannot start")?;
        let runner = Runner { reconciler, gate, stop, incremental: incremental_rings, full: full_rings };
        let runner = tokio::spawn(runner.run(backfill || unfinished));
        Ok(Self { scheduler, runner })
    }

    /// Waits for the pass under way to finish its page. The signal to stop has been given.
    pub async fn drain(self) {
        let mut scheduler = self.scheduler;
        if let Err(error) = scheduler.shutdown().await {
            warn!(%error, "the scheduler did not stop cleanly");
        }
        if let Err(error) = self.runner.await {
            error!(%error, "reconciliation ended badly");
        }
    }
}

/// The scheduler wants seconds; most people write none.
fn with_seconds(expression: &str) -> String {
    if expression.split_whitespace().count() == 5 { format!("0 {expression}") } else { expression.to_owned() }
}

async fn is_empty(store: &Store) -> Result<bool, StoreError> {
    for entity in crate::domain::Entity::ALL {
        if store.count(entity).await? > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

struct Runner {
    reconciler: Reconciler,
    gate: Gate,
    stop: CancellationToken,
    incremental: mpsc::Receiver<()>,
    full: mpsc::Receiver<()>,
}

impl Runner {
    async fn run(mut self, full_first: bool) {
        let mut retry = RETRY.0;
        let mut owed = full_first;
        loop {
            if owed {
                owed = !self.pass(Kind::Full).await;
                if owed && self.stop.run_until_cancelled(tokio::time::sleep(retry)).await.is_none() {
                    return;
                }
                retry = if owed { (retry * 2).min(RETRY.1) } else { RETRY.0 };
                continue;
            }
            let kind = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                Some(()) = self.full.recv() => Kind::Full,
                Some(()) = self.incremental.recv() => Kind::Incremental,
                else => return,
            };
            let later = Duration::from_millis(jitter_ms());
            if self.stop.run_until_cancelled(tokio::time::sleep(later)).await.is_none() {
                return;
            }
            self.pass(kind).await;
        }
    }

    /// Runs a pass; true when it came to its end.
    async fn pass(&self, kind: Kind) -> bool {
        let ask = Ask { kind, dry_run: false, allow_deletes: false };
        let said = std::sync::Mutex::new(tokio::time::Instant::now());
        let say = |glance: Glance| {
            let mut said = said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if said.elapsed() >= SAY_EVERY {
                *said = tokio::time::Instant::now();
                info!(
                    kind = kind.as_str(),
                    at = glance.stage,
                    seen = glance.seen,
                    of = glance.total,
                    "pass under way"
                );
            }
        };
        match self.reconciler.run(ask, &self.stop, &say).await {
            Ok(Some(Finished { report, .. })) => {
                let ended = matches!(report.outcome, PassOutcome::Completed | PassOutcome::Braked);
                if ended && kind == Kind::Full {
                    self.gate.set(false);
                }
                ended
            }
            Ok(None) => {
                info!(kind = kind.as_str(), "another process runs a pass; this one is left out");
                false
            }
            Err(error) => {
                error!(
                    kind = kind.as_str(),
                    error = &error as &dyn std::error::Error,
                    "a pass could not run"
                );
                false
            }
        }
    }
}

fn jitter_ms() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness there is no jitter, which does no harm.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_le_bytes(bytes) % JITTER_MS
}
