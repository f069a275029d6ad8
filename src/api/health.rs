//! Whether the process runs, and whether it can answer truthfully. Nobody has to be known to ask.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use super::Shared;
use super::problem::{Code, Problem};

/// Whoever asks for readiness does not wait long.
const PING_LIMIT: Duration = Duration::from_secs(2);

/// `GET /healthz`
pub(super) async fn healthz() -> Response {
    status(r#"{"status":"ok"}"#)
}

/// `GET /readyz`
pub(super) async fn readyz(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    let api = &shared.api;
    let (ping, keys) =
        tokio::join!(timeout(PING_LIMIT, api.store.ping()), api.verifier.keys().is_available());
    let mut reasons = Vec::new();
    if !matches!(ping, Ok(Ok(()))) {
        reasons.push("database unreachable");
    }
    if !keys {
        reasons.push("keys unavailable");
    }
    if api.gate.is_closed() {
        reasons.push("first backfill not finished");
    }
    if reasons.is_empty() {
        return Ok(status(r#"{"status":"ready"}"#));
    }
    Err(Problem::new(Code::Unavailable, format!("Not ready: {}.", reasons.join(", "))))
}

fn status(body: &'static str) -> Response {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], body).into_response()
}
