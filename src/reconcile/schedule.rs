//! When passes run: a backfill at the first start, then both kinds on their schedules.
//!
//! The scheduler only rings; one loop runs, so passes of one process never overlap, and one that takes
//! longer than its interval is followed by one more, not by all that it missed.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_cron_scheduler::{Job, JobScheduler};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::pass::WalkError;
use super::progress::is_backfill;
use super::run::{Ask, Finished, Glance, Reconciler, count_run};
use crate::domain::{PassKind, PassOutcome};
use crate::store::{Store, StoreError};
use crate::telemetry::causes;

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

/// Asks for a pass out of turn.
#[derive(Debug, Clone)]
pub struct Trigger(mpsc::Sender<Ask>);

impl Trigger {
    /// The pass begins when the one under way has ended. False when another one waits already.
    pub fn ask(&self, kind: PassKind, allow_deletes: bool) -> bool {
        self.0.try_send(Ask { kind, dry_run: false, allow_deletes }).is_ok()
    }
}

/// The schedules, running.
pub struct Schedule {
    trigger: Trigger,
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
        // Asked first: another instance may begin to fill it at any moment, and then it is no longer empty.
        let is_empty = store.is_empty().await?;
        let mut unfinished = store.unfinished_pass(PassKind::Full).await?;
        let never = store.last_ended_pass(PassKind::Full).await?.is_none();
        if is_empty && unfinished.is_none() && never {
            // Webhooks come at once, and then nothing else tells that this was the first start.
            reconciler.owe_full_pass().await?;
            unfinished = store.unfinished_pass(PassKind::Full).await?;
        }
        gate.set(never && unfinished.as_ref().is_some_and(is_backfill));

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
        let (store, incremental, full) = (store.clone(), incremental_rings, full_rings);
        let (trigger, asked) = mpsc::channel(1);
        let runner = Runner { reconciler, store, gate, stop, asked, incremental, full, left_out_after: None };
        let runner = tokio::spawn(runner.run());
        Ok(Self { trigger: Trigger(trigger), scheduler, runner })
    }

    /// For whoever wants a pass out of turn.
    pub fn trigger(&self) -> Trigger {
        self.trigger.clone()
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

struct Runner {
    reconciler: Reconciler,
    store: Store,
    gate: Gate,
    stop: CancellationToken,
    asked: mpsc::Receiver<Ask>,
    incremental: mpsc::Receiver<()>,
    full: mpsc::Receiver<()>,
    /// When a scheduled full pass did not come to its end: which was the last that had, as far as it could be looked up.
    left_out_after: Option<Result<Option<String>, StoreError>>,
}

impl Runner {
    async fn run(mut self) {
        if self.backfill().await.is_none() {
            return;
        }
        loop {
            let kind = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                Some(ask) = self.asked.recv() => {
                    self.pass(ask).await;
                    continue;
                }
                Some(()) = self.full.recv() => PassKind::Full,
                Some(()) = self.incremental.recv() => PassKind::Incremental,
                else => return,
            };
            if self.answer(kind).await.is_none() {
                return;
            }
        }
    }

    /// Runs the pass whose time has come. The bell rings on every instance; who comes late finds it answered. `None`
    /// when it was told to stop.
    async fn answer(&mut self, kind: PassKind) -> Option<()> {
        let before = self.store.last_ended_pass(kind).await;
        let later = Duration::from_millis(jitter_ms());
        self.stop.run_until_cancelled(tokio::time::sleep(later)).await?;
        let now = self.store.last_ended_pass(kind).await;
        let is_answered = matches!((before, now), (Ok(before), Ok(now)) if before != now);
        if !is_answered {
            self.run_scheduled(kind).await;
        }
        if kind == PassKind::Incremental && self.is_full_pass_behind().await {
            self.run_scheduled(PassKind::Full).await;
        }
        Some(())
    }

    async fn run_scheduled(&mut self, kind: PassKind) {
        let last = self.store.last_ended_pass(kind).await;
        let ran = self.pass(scheduled(kind)).await;
        if kind == PassKind::Full {
            self.left_out_after = if matches!(ran, Ran::ToItsEnd) { None } else { Some(last) };
        }
    }

    /// Whether a full pass waits for more than its schedule. Whoever had begun one may be dead, and Clerk or the database
    /// that was away may be back; or one was left out, perhaps for a short pass of another process or because it could
    /// not even begin, and none has ended since.
    async fn is_full_pass_behind(&self) -> bool {
        if matches!(self.store.unfinished_pass(PassKind::Full).await, Ok(Some(_))) {
            return true;
        }
        let Some(last) = &self.left_out_after else { return false };
        match (last, self.store.last_ended_pass(PassKind::Full).await) {
            (Ok(last), Ok(now)) => now == *last,
            // Rather one too many than one too few.
            (Err(_), Ok(_)) => true,
            (_, Err(_)) => false,
        }
    }

    /// Runs full passes until one came to its end, where none ever did or one was begun. A copy that was filled once is
    /// kept current meanwhile, however long that takes. `None` when it was told to stop.
    async fn backfill(&mut self) -> Option<()> {
        let mut retry = RETRY.0;
        loop {
            match self.is_owed().await {
                Ok(false) => {
                    self.gate.set(false);
                    return Some(());
                }
                Ok(true) => match self.pass(scheduled(PassKind::Full)).await {
                    Ran::ToItsEnd => continue,
                    // Whoever runs one may be done at any moment.
                    Ran::Elsewhere => retry = RETRY.0,
                    Ran::NotToItsEnd => {}
                },
                Err(error) => {
                    error!(error = %causes(&error), "the last pass cannot be looked up");
                }
            }
            // Without a pass that came to its end, the newest changes are all there ever were.
            let is_filled = matches!(self.store.last_completed_pass().await, Ok(Some(_)));
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                Some(ask) = self.asked.recv() => {
                    self.pass(ask).await;
                }
                Some(()) = self.incremental.recv(), if is_filled => {
                    self.answer(PassKind::Incremental).await?;
                }
                () = tokio::time::sleep(retry) => {}
            }
            retry = (retry * 2).min(RETRY.1);
        }
    }

    /// Whether a full pass is to be done at once. A command may have done it meanwhile.
    async fn is_owed(&self) -> Result<bool, StoreError> {
        let begun = self.store.unfinished_pass(PassKind::Full).await?;
        Ok(begun.is_some() || self.store.last_ended_pass(PassKind::Full).await?.is_none())
    }

    /// Runs a pass.
    async fn pass(&self, ask: Ask) -> Ran {
        let kind = ask.kind;
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
        let run = AssertUnwindSafe(self.reconciler.run(ask, &self.stop, &say)).catch_unwind();
        // A panic must not end the schedule, and with it every pass until a restart.
        let run = run.await.unwrap_or_else(|_| {
            count_run(kind, PassOutcome::Failed);
            Err(StoreError::Panicked)
        });
        match run {
            Ok(Some(Finished { report, error })) => {
                if let Some(cause) = error.filter(|cause| !matches!(cause, WalkError::Stopped)) {
                    error!(
                        kind = kind.as_str(),
                        error = %causes(&cause),
                        "a pass ended early; the next one goes on there"
                    );
                }
                match report.outcome {
                    PassOutcome::Completed | PassOutcome::Braked => Ran::ToItsEnd,
                    PassOutcome::Interrupted | PassOutcome::Failed => Ran::NotToItsEnd,
                }
            }
            Ok(None) => {
                info!(kind = kind.as_str(), "another process runs a pass; this one is left out");
                Ran::Elsewhere
            }
            Err(error) => {
                error!(
                    kind = kind.as_str(),
                    error = %causes(&error),
                    "a pass could not run"
                );
                Ran::NotToItsEnd
            }
        }
    }
}

fn scheduled(kind: PassKind) -> Ask {
    Ask { kind, dry_run: false, allow_deletes: false }
}

/// What became of a pass.
enum Ran {
    ToItsEnd,
    NotToItsEnd,
    /// Another process runs one.
    Elsewhere,
}

fn jitter_ms() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness there is no jitter, which does no harm.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_le_bytes(bytes) % JITTER_MS
}
