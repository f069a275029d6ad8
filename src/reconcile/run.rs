//! Runs one pass: takes the lease, goes on where the last one stopped, and writes the report.

use std::collections::HashSet;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use metrics::counter;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, info, trace_span};

use super::lease::{Holder, Lease};
use super::pass::{Pass, WalkError};
use super::progress::{self, Progress, Stage};
use super::report::{Entities, Report};
use crate::clerk::backend_api::{ApiError, BackendApi, MAX_PAGE, Order};
use crate::clock;
use crate::domain::time::iso8601;
use crate::domain::{Entity, PassKind, PassOutcome};
use crate::store::{Store, StoreError};

/// A pass that stopped longer ago than this is not resumed: too much has changed since.
const RESUMABLE_MS: i64 = 24 * 60 * 60 * 1_000;

/// How the names of leases begin that a service holds, as opposed to a command.
const SERVICE: &str = "service ";

/// What is asked of a pass.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// How far it looks.
    pub kind: PassKind,
    /// Changes nothing.
    pub dry_run: bool,
    /// Lifts the brake.
    pub allow_deletes: bool,
}

/// How far a pass is, for a person who watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    /// Objects seen so far.
    pub seen: u64,
    /// Objects that Clerk says it holds.
    pub total: u64,
    /// What it looks at now.
    pub stage: &'static str,
}

/// A pass that has ended.
#[derive(Debug)]
pub struct Finished {
    /// What it found.
    pub report: Report,
    /// Why it ended early.
    pub error: Option<WalkError>,
}

/// Runs passes, one at a time.
#[derive(Debug, Clone)]
pub struct Reconciler {
    store: Store,
    api: BackendApi,
    max_deletes: Option<u64>,
    instance_id: Option<String>,
    page_size: u32,
    /// How the names of its leases begin.
    owners: &'static str,
    is_command: bool,
}

impl Reconciler {
    /// `max_deletes` is the brake, per entity and pass; `None` for its default.
    pub fn new(store: Store, api: BackendApi, max_deletes: Option<u64>) -> Self {
        let (page_size, owners) = (MAX_PAGE, "");
        Self { store, api, max_deletes, instance_id: None, page_size, owners, is_command: false }
    }

    /// Runs no pass with the key of another instance, when it is known whose the copy is.
    #[must_use]
    pub fn of_instance(mut self, instance_id: Option<String>) -> Self {
        self.instance_id = instance_id;
        self
    }

    /// For a service that has the database to itself but for commands: a lease that another service holds is
    /// that of a dead one, which nobody has to wait for. Commands keep theirs.
    pub async fn as_only_service(mut self) -> Result<Self, StoreError> {
        if self.store.clear_lease(SERVICE).await? {
            info!("the last service ended in the middle of a pass");
        }
        self.owners = SERVICE;
        Ok(self)
    }

    /// For a command, whose process has no metrics: the service beside it counts what it finds.
    #[must_use]
    pub fn as_command(mut self) -> Self {
        self.is_command = true;
        self
    }

    /// Writes down that a full pass is to be done, before anything else is: a restart must know.
    pub async fn owe_full_pass(&self) -> Result<(), StoreError> {
        let progress = Progress::new(PassKind::Full, true);
        self.store.save_pass(&progress.stored(&random_id(), None)).await
    }

    /// The same with shorter pages, so that a test has many of them.
    #[must_use]
    pub fn with_page_size(mut self, page_size: u32) -> Self {
        self.page_size = page_size.clamp(2, MAX_PAGE);
        self
    }

    /// Runs a pass, or goes on with the one that stopped. `None` when another process runs one.
    pub async fn run(
        &self,
        ask: Ask,
        stop: &CancellationToken,
        glance: &(dyn Fn(Glance) + Sync),
    ) -> Result<Option<Finished>, StoreError> {
        if ask.dry_run {
            return self.run_traced(ask, stop, &CancellationToken::new(), glance).await.map(Some);
        }
        let stop = stop.child_token();
        let Some(lease) = self.take_lease(&stop, glance).await? else { return Ok(None) };
        let finished = self.run_traced(ask, &stop, lease.lost(), glance).await;
        if finished.is_err() {
            count_run(ask.kind, PassOutcome::Failed);
        }
        lease.give_back().await;
        finished.map(Some)
    }

    /// A command waits for a holder that may have died: nobody starts it again.
    async fn take_lease(
        &self,
        stop: &CancellationToken,
        glance: &(dyn Fn(Glance) + Sync),
    ) -> Result<Option<Lease>, StoreError> {
        let holder = Holder::new(self.store.clone(), format!("{}{}", self.owners, random_id()));
        let lease = holder.clone().take(stop).await?;
        if lease.is_some() || !self.is_command {
            return Ok(lease);
        }
        glance(Glance { seen: 0, total: 0, stage: "looking whether another pass is alive" });
        holder.wait(stop).await
    }

    async fn run_traced(
        &self,
        ask: Ask,
        stop: &CancellationToken,
        lost: &CancellationToken,
        glance: &(dyn Fn(Glance) + Sync),
    ) -> Result<Finished, StoreError> {
        let span = trace_span!(
            "pass",
            kind = ask.kind.as_str(),
            dry_run = ask.dry_run,
            outcome = Empty,
            otel.status_code = Empty,
        );
        let finished = self.run_leased(ask, stop, lost, glance).instrument(span.clone()).await;
        let outcome = finished.as_ref().map_or(PassOutcome::Failed, |finished| finished.report.outcome);
        span.record("outcome", outcome.as_str());
        if outcome == PassOutcome::Failed {
            span.record("otel.status_code", "ERROR");
        }
        finished
    }

    async fn run_leased(
        &self,
        ask: Ask,
        stop: &CancellationToken,
        lost: &CancellationToken,
        glance: &(dyn Fn(Glance) + Sync),
    ) -> Result<Finished, StoreError> {
        let (id, mut progress) = if let Some(resumed) = self.resumable(ask).await? {
            resumed
        } else {
            let fills = ask.kind == PassKind::Full && !ask.dry_run && self.store.is_empty().await?;
            (random_id(), Progress::new(ask.kind, fills))
        };
        // A resumed pass goes on with what it has found, which was counted when it stopped, if it could.
        let found_before = *progress.uncounted.get_or_insert(progress.entities);
        let mut pass = Pass {
            store: &self.store,
            api: &self.api,
            page_size: self.page_size,
            max_deletes: self.max_deletes,
            instance_id: self.instance_id.as_deref(),
            allow_deletes: ask.allow_deletes,
            stop,
            glance,
            id,
            progress,
            dry: ask.dry_run.then(HashSet::new),
        };
        let result = pass.go().await;
        let (outcome, error) = match result {
            Ok(false) => (PassOutcome::Completed, None),
            Ok(true) => (PassOutcome::Braked, None),
            Err(WalkError::Stopped) if lost.is_cancelled() => {
                (PassOutcome::Interrupted, Some(WalkError::LeaseLost))
            }
            Err(error @ WalkError::Stopped) => (PassOutcome::Interrupted, Some(error)),
            Err(error) => (PassOutcome::Failed, Some(error)),
        };
        pass.progress.finished_at_ms = clock::now_ms().max(pass.progress.started_at_ms);
        let report = pass.progress.report(outcome, ask.dry_run);
        // Whoever has the lease now may be far ahead with this very pass.
        if !ask.dry_run && !lost.is_cancelled() {
            // A full pass that did not get to its end stays open, so that the next one goes on there.
            let ended = matches!(outcome, PassOutcome::Completed | PassOutcome::Braked);
            let closed = ended || ask.kind == PassKind::Incremental;
            if !self.is_command {
                pass.progress.uncounted = None;
            }
            self.store.save_pass(&pass.progress.stored(&pass.id, closed.then_some(outcome))).await?;
            count(&report, &found_before);
        } else if lost.is_cancelled() {
            // Its drift is counted by whoever goes on with it.
            count_run(ask.kind, outcome);
        }
        log(&report);
        Ok(Finished { report, error })
    }

    async fn resumable(&self, ask: Ask) -> Result<Option<(String, Progress)>, StoreError> {
        if ask.dry_run || ask.kind == PassKind::Incremental {
            return Ok(None);
        }
        let Some(stored) = self.store.unfinished_pass(ask.kind).await? else { return Ok(None) };
        let is_fresh =
            |progress: &Progress| clock::now_ms().saturating_sub(progress.opened_at_ms) < RESUMABLE_MS;
        match serde_json::from_str::<Progress>(&stored.progress) {
            Ok(mut progress) if is_fresh(&progress) => {
                progress.resume();
                info!(pass = stored.id, started_at = iso8601(stored.started_at_ms), "going on with a pass");
                Ok(Some((stored.id, progress)))
            }
            _ => {
                // It is written down first: should this process die now, the one is not forgotten with the other.
                let anew = Progress::new(ask.kind, progress::is_backfill(&stored));
                let id = random_id();
                self.store.save_pass(&anew.stored(&id, None)).await?;
                let outcome = Some(PassOutcome::Interrupted);
                self.store.save_pass(&crate::store::StoredPass { outcome, ..stored }).await?;
                Ok(Some((id, anew)))
            }
        }
    }
}

impl Pass<'_> {
    /// Goes from where the pass stands to its end. True when the brake refused something.
    async fn go(&mut self) -> Result<bool, WalkError> {
        self.check_instance().await?;
        // A pass that is resumed has looked around.
        if self.progress.is_new() {
            self.look_around().await?;
        }
        if self.progress.kind == PassKind::Incremental {
            let last = self.store.last_completed_pass().await?;
            self.take_recent(last.map_or(i64::MIN, |last| last.started_at_ms)).await?;
            self.compare_counts().await;
            return Ok(false);
        }
        loop {
            match self.progress.stage {
                Stage::Lists(_) => self.walk().await?,
                Stage::Gone => self.remove_gone().await?,
                Stage::Done => break,
            }
        }
        self.compare_counts().await;
        Ok(Entity::ALL.iter().any(|entity| self.progress.entities.of(*entity).refused > 0))
    }

    /// Another instance's key would bring its people here, and all of ours would be gone.
    async fn check_instance(&self) -> Result<(), WalkError> {
        let Some(ours) = self.instance_id else { return Ok(()) };
        match self.ask(self.api.instance()).await {
            Ok(found) if found.value.id == ours => Ok(()),
            Ok(found) => Err(WalkError::OtherInstance { found: found.value.id }),
            // Whoever does not say it may be right all the same.
            Err(WalkError::Clerk(ApiError::Refused { .. } | ApiError::Garbage { .. })) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks how much there is, and what time it is at Clerk.
    async fn look_around(&mut self) -> Result<(), WalkError> {
        let users = self.ask(self.api.users_count()).await?;
        self.progress.begin(users.observed_at_ms);
        self.progress.totals.insert(Entity::Users, users.value);
        if self.progress.kind == PassKind::Full {
            self.suspect().await?;
        }
        let first = [
            (Entity::Organizations, self.ask(self.api.organizations_page(1, 0, Order::OldestFirst)).await),
            (Entity::Memberships, self.ask(self.api.memberships_page(1, 0, Order::OldestFirst)).await),
            (Entity::Invitations, self.ask(self.api.invitations_page(1, 0, Order::OldestFirst)).await),
        ];
        for (entity, page) in first {
            match page {
                Ok(page) => {
                    self.progress.totals.insert(entity, page.value.total_count.unwrap_or(0));
                }
                Err(WalkError::Clerk(ApiError::FeatureOff { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.checkpoint().await?)
    }
}

/// Counts the passes that commands have run since somebody looked. Of several services the first one does. To be let
/// run to its end: what is marked as counted is counted next.
pub async fn count_passes_of_commands(store: Store) -> Result<(), StoreError> {
    for pass in store.uncounted_passes().await? {
        let progress = serde_json::from_str::<Progress>(&pass.progress);
        let (Some(outcome), Ok(mut progress)) = (pass.outcome, progress) else { continue };
        let Some(before) = progress.uncounted.take() else { continue };
        if store.replace_progress(&pass, &progress.stored(&pass.id, Some(outcome))).await? {
            count(&progress.report(outcome, false), &before);
        }
    }
    Ok(())
}

pub(super) fn count_run(kind: PassKind, outcome: PassOutcome) {
    let (kind, outcome) = (kind.as_str(), outcome.as_str());
    counter!("roster_reconcile_runs_total", "kind" => kind, "outcome" => outcome).increment(1);
}

fn count(report: &Report, before: &Entities) {
    count_run(report.kind, report.outcome);
    for entity in Entity::ALL {
        let (now, before) = (report.entities.of(entity), before.of(entity));
        for (drift, now, before) in [
            ("missing", now.missing, before.missing),
            ("stale", now.stale, before.stale),
            ("gone", now.gone, before.gone),
            ("repaired", now.repaired, before.repaired),
            ("refused", now.refused, before.refused),
        ] {
            counter!("roster_reconcile_drift_total", "entity" => entity.as_str(), "drift" => drift)
                .increment(now.saturating_sub(before));
        }
    }
}

/// What was found. Why a pass ended early is for whoever asked for it to say.
fn log(report: &Report) {
    let kind = report.kind.as_str();
    let outcome = report.outcome.as_str();
    let drift = serde_json::to_string(&report.entities).unwrap_or_default();
    info!(kind, outcome, dry_run = report.dry_run, drift, "pass");
}

/// An id that nobody else has; later ones are greater.
fn random_id() -> String {
    let mut bytes = [0; 9];
    // Without randomness the time alone must do.
    let _ = rand::fill(&mut bytes);
    format!("{:013}-{}", clock::now_ms(), URL_SAFE_NO_PAD.encode(bytes))
}
