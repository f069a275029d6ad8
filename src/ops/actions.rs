//! What the console may do, for those who have `ROSTER_OPS_TOKEN`. All of it is logged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use tracing::info;

use super::console::Serving;
use crate::api::problem::{Code, Problem};
use crate::domain::PassKind;
use crate::store::{EventCursor, EventFilter, StoreError, StoredEvent};
use crate::webhook::retry;

/// How many dead letters are read at once.
const PAGE: usize = 100;
/// How long one request tries dead letters again.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why an action was not done.
pub(super) enum Refused {
    /// No token is configured, so none is right.
    ReadOnly,
    WrongToken,
    Otherwise(Problem),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Otherwise(problem)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Otherwise(error.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::ReadOnly => Problem::new(
                Code::Forbidden,
                "The console is read-only: set ROSTER_OPS_TOKEN to a long random text and restart.",
            )
            .into_response(),
            Self::WrongToken => {
                let problem = Problem::new(Code::Unauthorized, "not ROSTER_OPS_TOKEN");
                ([(WWW_AUTHENTICATE, "Bearer")], problem).into_response()
            }
            Self::Otherwise(problem) => problem.into_response(),
        }
    }
}

/// Digests are compared, so that neither the content nor the length of the token shows in the time it takes.
fn authorize(token: Option<&SecretString>, headers: &HeaderMap) -> Result<(), Refused> {
    let token = token.ok_or(Refused::ReadOnly)?;
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (scheme, given) = given.split_once(' ').unwrap_or_default();
    let digest = |text: &str| digest(&SHA256, text.as_bytes());
    let equal =
        verify_slices_are_equal(digest(given.trim()).as_ref(), digest(token.expose_secret()).as_ref());
    if scheme.eq_ignore_ascii_case("bearer") && equal.is_ok() { Ok(()) } else { Err(Refused::WrongToken) }
}

impl Serving {
    fn authorize(&self, headers: &HeaderMap) -> Result<(), Refused> {
        authorize(self.console.token.as_ref(), headers)
    }

    async fn retry(&self, event: &StoredEvent) -> Result<serde_json::Value, StoreError> {
        let console = &self.console;
        let retried =
            retry(&console.store, event, console.instance_id.as_deref(), console.hydrator.as_ref()).await?;
        let (id, outcome) = (&event.message_id, retried.as_str());
        info!(action = "retry", id, outcome, "an action of the console");
        Ok(json!({"id": id, "outcome": outcome, "error": retried.reason()}))
    }
}

/// `POST /console/token`: is this the token?
pub(super) async fn check_token(
    State(serving): State<Arc<Serving>>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    serving.authorize(&headers).map(|()| StatusCode::NO_CONTENT)
}

/// `POST /console/events/{id}/retry`
pub(super) async fn retry_one(
    State(serving): State<Arc<Serving>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    serving.authorize(&headers)?;
    let unknown = || Problem::new(Code::NotFound, "The journal has no such event.");
    let Path(id) = id.map_err(|_| unknown())?;
    let event = serving.console.store.event(&id).await?.ok_or_else(unknown)?;
    Ok(Json(serving.retry(&event).await?).into_response())
}

/// `POST /console/dead-letters/retry`: all, the newest first.
pub(super) async fn retry_all(
    State(serving): State<Arc<Serving>>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    serving.authorize(&headers)?;
    let dead = EventFilter { outcome: Some("dead".to_owned()), ..EventFilter::default() };
    let mut retried = Vec::new();
    let (mut before, until) = (EventCursor::end(), Instant::now() + PATIENCE);
    loop {
        let page = serving.console.store.events(&dead, &before, PAGE).await?;
        // Those that stay dead stay where they are.
        let Some(last) = page.last().filter(|_| Instant::now() < until) else { break };
        before = last.cursor();
        for event in &page {
            retried.push(serving.retry(event).await?);
        }
    }
    Ok(Json(json!({ "events": retried })).into_response())
}

/// The pass that is wanted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wanted {
    kind: PassKind,
    #[serde(default)]
    allow_deletes: bool,
}

/// `POST /console/passes`
pub(super) async fn start_pass(
    State(serving): State<Arc<Serving>>,
    headers: HeaderMap,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<Response, Refused> {
    serving.authorize(&headers)?;
    let Ok(Json(Wanted { kind, allow_deletes })) = wanted else {
        let detail = r#"The body must be JSON, for example {"kind":"full","allowDeletes":false}."#;
        return Err(Problem::new(Code::ValidationError, detail).into());
    };
    let Some(trigger) = &serving.console.trigger else {
        let detail = "There are no passes without CLERK_SECRET_KEY: set it and restart.";
        return Err(Problem::new(Code::NotFound, detail).into());
    };
    if !trigger.ask(kind, allow_deletes) {
        let detail = "Another pass waits for its turn already; ask again when it has begun.";
        return Err(Problem::new(Code::RateLimited, detail).into());
    }
    info!(action = "pass", kind = kind.as_str(), allow_deletes, "an action of the console");
    Ok((StatusCode::ACCEPTED, Json(json!({"outcome": "asked"}))).into_response())
}
