//! What the console may do, for those who have `ROSTER_OPS_TOKEN`. All of it is logged.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::Json;
use axum::extract::rejection::JsonRejection;
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
use crate::reconcile::Kind;
use crate::store::{EventFilter, EventPlace, StoredEvent};
use crate::webhook::{Retried, retry};

/// How many dead letters one request tries again; the rest is for the next one.
const AT_ONCE: usize = 100;

/// Why somebody may not.
enum Denied {
    ReadOnly,
    WrongToken,
}

impl IntoResponse for Denied {
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
        }
    }
}

/// Digests are compared, so that neither the content nor the length of the token shows in the time it takes.
fn authorize(token: Option<&SecretString>, headers: &HeaderMap) -> Result<(), Denied> {
    let token = token.ok_or(Denied::ReadOnly)?;
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (scheme, given) = given.split_once(' ').unwrap_or_default();
    let digest = |text: &str| digest(&SHA256, text.as_bytes());
    let equal =
        verify_slices_are_equal(digest(given.trim()).as_ref(), digest(token.expose_secret()).as_ref());
    if scheme.eq_ignore_ascii_case("bearer") && equal.is_ok() { Ok(()) } else { Err(Denied::WrongToken) }
}

impl Serving {
    fn authorize(&self, headers: &HeaderMap) -> Result<(), Response> {
        authorize(self.console.token.as_ref(), headers).map_err(IntoResponse::into_response)
    }

    async fn retry(&self, event: &StoredEvent) -> Result<serde_json::Value, Response> {
        let console = &self.console;
        let retried = retry(&console.store, event, console.instance_id.as_deref()).await;
        let retried: Retried = retried.map_err(|error| Problem::from(error).into_response())?;
        let (id, outcome) = (&event.message_id, retried.as_str());
        info!(action = "retry", id, outcome, "by the console");
        Ok(json!({"id": id, "outcome": outcome, "error": retried.reason()}))
    }
}

/// `POST /console/token`: is this the token?
pub(super) async fn check_token(
    State(serving): State<Arc<Serving>>,
    headers: HeaderMap,
) -> Result<StatusCode, Response> {
    serving.authorize(&headers).map(|()| StatusCode::NO_CONTENT)
}

/// `POST /console/events/{id}/retry`
pub(super) async fn retry_one(
    State(serving): State<Arc<Serving>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    serving.authorize(&headers)?;
    let event = serving.console.store.event(&id).await;
    let event = event.map_err(|error| Problem::from(error).into_response())?;
    let Some(event) = event else {
        return Err(Problem::new(Code::NotFound, "The journal has no such event.").into_response());
    };
    Ok(Json(serving.retry(&event).await?).into_response())
}

/// `POST /console/dead-letters/retry`
pub(super) async fn retry_all(
    State(serving): State<Arc<Serving>>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    serving.authorize(&headers)?;
    let dead = EventFilter { outcome: Some("dead".to_owned()), ..EventFilter::default() };
    let events = serving.console.store.events(&dead, &EventPlace::end(), AT_ONCE).await;
    let mut retried = Vec::new();
    for event in events.map_err(|error| Problem::from(error).into_response())? {
        retried.push(serving.retry(&event).await?);
    }
    Ok(Json(json!({ "events": retried })).into_response())
}

/// The pass that is wanted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wanted {
    kind: Kind,
    #[serde(default)]
    allow_deletes: bool,
}

/// `POST /console/passes`
pub(super) async fn start_pass(
    State(serving): State<Arc<Serving>>,
    headers: HeaderMap,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<Response, Response> {
    serving.authorize(&headers)?;
    let Ok(Json(Wanted { kind, allow_deletes })) = wanted else {
        let detail = r#"The body must be JSON, for example {"kind":"full","allowDeletes":false}."#;
        return Err(Problem::new(Code::ValidationError, detail).into_response());
    };
    let Some(trigger) = &serving.console.trigger else {
        let detail = "There are no passes without CLERK_SECRET_KEY.";
        return Err(Problem::new(Code::Unavailable, detail).into_response());
    };
    if !trigger.ask(kind, allow_deletes) {
        let detail = "Another pass waits for its turn already.";
        return Err(Problem::new(Code::Unavailable, detail).into_response());
    }
    info!(action = "pass", kind = kind.as_str(), allow_deletes, "by the console");
    Ok((StatusCode::ACCEPTED, Json(json!({"outcome": "asked"}))).into_response())
}
