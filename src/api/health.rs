//! Whether the process runs, and whether it can answer truthfully. Nobody has to be known to ask.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::{Level, info, warn};
use utoipa::ToSchema;

use super::Shared;
use super::problem::{Code, Problem};
use crate::store::Store;

/// Whoever asks for readiness does not wait long.
const PING_LIMIT: Duration = Duration::from_secs(2);

/// The last question to the database, and its answer. Anyone may ask for readiness, so one question is asked at a
/// time, and those who came before it began share it.
#[derive(Debug, Default)]
pub(super) struct Ping(Mutex<Option<(Instant, bool)>>);

impl Ping {
    async fn is_answered(&self, store: &Store) -> bool {
        let came = Instant::now();
        let mut last = self.0.lock().await;
        if let Some((began, answered)) = *last
            && began > came
        {
            return answered;
        }
        let began = Instant::now();
        let answered = matches!(timeout(PING_LIMIT, store.ping()).await, Ok(Ok(())));
        *last = Some((began, answered));
        answered
    }
}

/// Why it was not ready when somebody last asked. The log is told of each change, and not of each question.
#[derive(Debug, Default)]
pub(super) struct Told(std::sync::Mutex<Option<String>>);

impl Told {
    fn readiness(&self, reasons: &str) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_deref() == Some(reasons) {
            return;
        }
        if reasons.is_empty() {
            info!("ready");
        } else {
            warn!(reasons, "not ready");
        }
        *last = Some(reasons.to_owned());
    }
}

/// Whether the process runs
#[utoipa::path(
    get, path = "/healthz", operation_id = "getHealth", tag = "health",
    responses((status = 200, description = "It runs", body = Status, example = json!({"status": "ok"}))),
    security(()),
)]
pub(super) async fn healthz() -> Response {
    Status { status: "ok" }.into_response()
}

/// Whether requests can be answered truthfully
///
/// 503 says why not: the database cannot be reached, no keys are there to check tokens with, or the first backfill
/// is not finished.
#[utoipa::path(
    get, path = "/readyz", operation_id = "getReadiness", tag = "health",
    responses((status = 200, description = "It is ready", body = Status, example = json!({"status": "ready"}))),
    security(()),
)]
pub(super) async fn readyz(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    let api = &shared.api;
    let (database, keys) =
        tokio::join!(shared.ping.is_answered(&api.store), api.verifier.keys().is_available());
    let mut reasons = Vec::new();
    if !database {
        reasons.push("database unreachable");
    }
    if !keys {
        reasons.push("keys unavailable");
    }
    if api.gate.is_closed() {
        reasons.push("first backfill not finished");
    }
    let reasons = reasons.join(", ");
    shared.told.readiness(&reasons);
    if reasons.is_empty() {
        return Ok(Status { status: "ready" }.into_response());
    }
    let problem = Problem::new(Code::Unavailable, format!("Not ready: {reasons}."));
    // Orchestrators ask every second, and they are told.
    Err(problem.logged_at(Level::DEBUG))
}

/// How the service is.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Status {
    /// `ok` or `ready`.
    status: &'static str,
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
        ([(CACHE_CONTROL, "no-store")], Json(self)).into_response()
    }
}
