//! The table of every family, and the recorder that keeps them.
//!
//! Where something happens is where it is counted, by name; a family that is not in this table has no
//! description, which a test takes for a mistake. Series that can be foreseen begin at zero: a rate cannot
//! see the first event of a series that begins at one.

use std::sync::{Mutex, PoisonError};

use metrics::{SetRecorderError, counter, gauge, histogram};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use crate::clerk::event;
use crate::domain::{Entity, Outcome, PassKind, PassOutcome};

const COUNTERS: [(&str, &str); 6] = [
    ("roster_webhook_events_total", "Deliveries, by what the event is about and what became of it."),
    ("roster_reconcile_runs_total", "Passes of reconciliation that have ended."),
    ("roster_reconcile_drift_total", "Objects in which the copy and Clerk differed, as passes found them."),
    ("roster_clerk_api_requests_total", "Requests to Clerk, by the status answered; none without an answer."),
    ("roster_http_requests_total", "Requests to the public listener."),
    ("roster_cache_requests_total", "What was asked of a cache, and whether it was there."),
];

const GAUGES: [(&str, &str); 4] = [
    (
        "roster_last_event_timestamp_seconds",
        "When the last event with a right signature came in; 0 for never.",
    ),
    ("roster_dead_letters", "Events in the journal that could not be used."),
    (
        "roster_reconcile_last_success_timestamp_seconds",
        "When the last completed pass of reconciliation ended; 0 for never.",
    ),
    ("roster_read_model_rows", "Objects that the copy holds; deleted ones do not count."),
];

/// Answers from memory take microseconds; a sender of webhooks gives up after 15 s.
const ANSWER_SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// From Clerk's usual delay to the last retries, a day and more later.
const LAG_SECONDS: [f64; 14] =
    [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 28_800.0, 86_400.0];

const HISTOGRAMS: [(&str, &str, &[f64]); 3] = [
    (
        "roster_webhook_seconds",
        "How long deliveries took, from the whole body to the answer.",
        &ANSWER_SECONDS,
    ),
    ("roster_event_lag_seconds", "How long after it happened at Clerk an event was applied.", &LAG_SECONDS),
    ("roster_http_request_seconds", "How long the answers of the public listener took.", &ANSWER_SECONDS),
];

/// Why the recorder cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum InstallError {
    #[error("the buckets are wrong")]
    Buckets(#[from] BuildError),
    #[error("this process has another recorder")]
    Taken(#[from] SetRecorderError<PrometheusRecorder>),
}

/// The recorder of this process, which the first call makes.
pub(super) fn install() -> Result<PrometheusHandle, InstallError> {
    static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let mut builder = PrometheusBuilder::new();
    for (name, _, buckets) in HISTOGRAMS {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)?;
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    describe();
    begin_at_zero();
    *installed = Some(handle.clone());
    Ok(handle)
}

fn describe() {
    for (name, help) in COUNTERS {
        metrics::describe_counter!(name, help);
    }
    for (name, help) in GAUGES {
        metrics::describe_gauge!(name, help);
    }
    for (name, help, _) in HISTOGRAMS {
        metrics::describe_histogram!(name, help);
    }
}

fn begin_at_zero() {
    let answered = [Outcome::Applied, Outcome::Stale, Outcome::Duplicate, Outcome::Ignored];
    for event_type in event::types() {
        for outcome in answered.map(Outcome::as_str).into_iter().chain(["dead", "failed"]) {
            counter!("roster_webhook_events_total", "type" => event_type, "outcome" => outcome).absolute(0);
        }
    }
    for outcome in ["ignored", "rejected", "dead", "failed"] {
        counter!("roster_webhook_events_total", "type" => "other", "outcome" => outcome).absolute(0);
    }
    for kind in PassKind::ALL.map(PassKind::as_str) {
        for outcome in PassOutcome::ALL.map(PassOutcome::as_str) {
            counter!("roster_reconcile_runs_total", "kind" => kind, "outcome" => outcome).absolute(0);
        }
    }
    for entity in Entity::ALL.map(Entity::as_str) {
        gauge!("roster_read_model_rows", "entity" => entity).set(0.0);
        for drift in ["missing", "stale", "gone", "repaired", "refused"] {
            counter!("roster_reconcile_drift_total", "entity" => entity, "drift" => drift).absolute(0);
        }
    }
    for status in ["200", "401", "429", "none"] {
        counter!("roster_clerk_api_requests_total", "status" => status).absolute(0);
    }
    counter!("roster_http_requests_total", "route" => "-", "method" => "GET", "status" => "404").absolute(0);
    for cache in ["snapshots", "tokens"] {
        for outcome in ["hit", "miss"] {
            counter!("roster_cache_requests_total", "cache" => cache, "outcome" => outcome).absolute(0);
        }
    }
    for (name, _) in GAUGES.into_iter().filter(|(name, _)| *name != "roster_read_model_rows") {
        gauge!(name).set(0.0);
    }
    // Asking for a series is enough for it to be there.
    drop(histogram!("roster_webhook_seconds"));
    drop(histogram!("roster_event_lag_seconds"));
    drop(histogram!("roster_http_request_seconds", "route" => "-"));
}
