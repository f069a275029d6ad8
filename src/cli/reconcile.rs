//! `roster reconcile`

use std::io::Write as _;

use anyhow::Context as _;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::Failure;
use super::serve::stop_on_signal;
use crate::app;
use crate::config::{self, Config, Flags};
use crate::domain::{Entity, PassKind, PassOutcome};
use crate::reconcile::{Ask, Drift, Glance, Reconciler, Report};
use crate::store::Store;
use crate::telemetry;

/// How to compare the copy with Clerk.
#[expect(clippy::struct_excessive_bools, reason = "four flags that do not depend on each other")]
#[derive(Debug, clap::Args)]
pub struct Reconcile {
    /// Look only at what changed since the last completed pass
    #[arg(long)]
    pub incremental: bool,
    /// Say what differs, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Remove what is gone, however much it is
    #[arg(long)]
    pub allow_deletes: bool,
    /// Print the report as one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Reconcile {
    /// Runs one pass and prints what it found.
    pub async fn run(self, flags: &Flags) -> Result<(), Failure> {
        let config = config::load(flags)?;
        let log = config.log.clone().or_warnings();
        let traces = telemetry::init_with_traces(&log, config.otlp_endpoint.as_ref())?;
        let ended = self.pass(&config).await;
        traces.flush().await;
        ended
    }

    async fn pass(&self, config: &Config) -> Result<(), Failure> {
        let api = app::backend_api(config)?.ok_or_else(|| {
            Failure::Usage(
                "CLERK_SECRET_KEY is not set: without it Clerk cannot be asked. \
                 Copy it from the API keys page of your Clerk dashboard, for example CLERK_SECRET_KEY=sk_live_…"
                    .to_owned(),
            )
        })?;
        let store = Store::open(&config.database).await.context("the database cannot be opened")?;
        let stop = CancellationToken::new();
        stop_on_signal(stop.clone())?;

        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}, {per_sec}, {eta} left");
        bar.set_style(style.context("the progress bar cannot be drawn")?);
        let draw = |glance: Glance| {
            bar.set_length(glance.total.max(glance.seen));
            bar.set_position(glance.seen);
            bar.set_message(glance.stage);
        };
        let kind = if self.incremental { PassKind::Incremental } else { PassKind::Full };
        let ask = Ask { kind, dry_run: self.dry_run, allow_deletes: self.allow_deletes };
        let reconciler = Reconciler::new(store.clone(), api, config.max_deletes)
            .of_instance(config.instance_id.clone())
            .as_command();
        let finished = reconciler.run(ask, &stop, &draw).await;
        bar.finish_and_clear();
        store.close().await;

        let finished = finished.context("the pass could not run")?.ok_or_else(|| {
            anyhow::anyhow!(
                "another process runs a pass on this database; wait until it has ended, and try again"
            )
        })?;
        print(&finished.report, self.json)?;
        match (finished.report.outcome, finished.error) {
            (PassOutcome::Completed, _) => Ok(()),
            (PassOutcome::Braked, _) => Err(Failure::Failed(anyhow::anyhow!(
                "more is gone at Clerk than a pass may remove, so nothing of it was removed; \
                 if it is right, run `roster reconcile --allow-deletes`"
            ))),
            (_, error) => {
                let seen: u64 =
                    Entity::ALL.iter().map(|entity| finished.report.entities.of(*entity).seen).sum();
                let resumes =
                    if self.dry_run || self.incremental { "" } else { "; the next pass goes on there" };
                let stopped =
                    error.map_or_else(|| anyhow::anyhow!("the pass was stopped"), anyhow::Error::from);
                Err(Failure::Failed(stopped.context(format!("the pass ended after {seen} objects{resumes}"))))
            }
        }
    }
}

fn print(report: &Report, json: bool) -> Result<(), anyhow::Error> {
    let text = if json { serde_json::to_string(report)? } else { table(report).to_string() };
    // Whoever closed the pipe does not want to know.
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(())
}

fn table(report: &Report) -> Table {
    let mut table = Table::new();
    let title = format!("{} pass, {}", report.kind.as_str(), report.outcome.as_str());
    let title = if report.dry_run { format!("{title} (dry run)") } else { title };
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header([title.as_str(), "seen", "missing", "stale", "gone", "repaired", "refused"]);
    for entity in Entity::ALL {
        let Drift { seen, missing, stale, gone, repaired, refused } = report.entities.of(entity);
        let counts = [seen, missing, stale, gone, repaired, refused].map(|count| count.to_string());
        table.add_row([entity.as_str().to_owned()].into_iter().chain(counts));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
