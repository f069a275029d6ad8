//! `POST /webhooks/clerk`: bounds the body, and hands it on as it came.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::Shared;
use super::openapi::parameters;
use super::problem::{Code, Problem};
use crate::domain::Outcome;
use crate::webhook::{self, ReceiveError};

/// Larger bodies are refused.
const MAX_BYTES: usize = 1024 * 1024;

/// So much of a body is taken in whoever sends it: nobody is known before all of it is there. Clerk's events are
/// a few KiB.
const SMALL_BYTES: usize = 64 * 1024;

/// How many larger ones are taken in at the same time, so that strangers cannot fill the memory with them.
pub(super) const LARGE_AT_ONCE: usize = 64;

/// So much of a refused body is read and dropped. Closing the connection while the sender still writes
/// resets it, and then the sender may never see the answer.
const MAX_DRAINED_BYTES: usize = 8 * MAX_BYTES;

/// As long as the sender itself waits for an answer.
const BODY_LIMIT: Duration = Duration::from_secs(15);

/// Takes one webhook of Clerk's
///
/// Verified over the raw bytes, whatever the media type says. 200 comes when what it says is on the disk; every other
/// answer means that nothing was kept but, with 422, the event itself, so the sender is to try again.
#[utoipa::path(
    post, path = "/webhooks/clerk", operation_id = "receiveWebhook", tag = "webhooks",
    request_body(
        content = parameters::Event, content_type = "application/json", description = "An event as Clerk sends it, at most 1 MiB.",
        example = json!({"object": "event", "type": "user.created", "timestamp": 1_654_012_591_835_i64,
            "instance_id": "ins_1", "data": {"object": "user", "id": "user_1"}}),
    ),
    responses((
        status = 200, description = "It is on the disk, or is not ours", body = Receipt,
        example = json!({"outcome": "applied"}),
    )),
    security(("svix-id" = [], "svix-timestamp" = [], "svix-signature" = [])),
)]
pub(super) async fn receive(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = timeout(BODY_LIMIT, read(&head.headers, body, &shared.large_bodies)).await;
    match body.unwrap_or_else(|_| Err(too_slow())) {
        Ok(body) => match shared.api.receiver.receive(&head.headers, &body.bytes).await {
            Ok(outcome) => Json(Receipt { outcome }).into_response(),
            Err(error) => Problem::from(error).into_response(),
        },
        Err(problem) => {
            webhook::count_unread(problem.code == Code::Unavailable);
            problem.into_response()
        }
    }
}

/// A whole body, and its place among the large ones, which it keeps as long as it lives.
struct Taken {
    bytes: Vec<u8>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// What became of a delivery.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Receipt {
    outcome: Outcome,
}

impl From<ReceiveError> for Problem {
    fn from(error: ReceiveError) -> Self {
        let problem = match &error {
            ReceiveError::NoSecret => Self::new(
                Code::Unavailable,
                "No webhook secret is configured; set CLERK_WEBHOOK_SIGNING_SECRET.",
            ),
            ReceiveError::Signature(_) => Self::new(Code::Unauthorized, "the signature is refused"),
            ReceiveError::Unusable(reason) => {
                let detail = format!("The signature is right, but the event cannot be used: {reason}.");
                Self::new(Code::UnprocessableEvent, detail)
            }
            ReceiveError::Store(_) => {
                Self::new(Code::Unavailable, "The event cannot be stored now; send it again.")
            }
        };
        problem.caused_by(&error)
    }
}

/// Reads a body whether or not its length is declared.
async fn read(headers: &HeaderMap, mut body: Body, large: &Arc<Semaphore>) -> Result<Taken, Problem> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > MAX_DRAINED_BYTES) {
        return Err(too_large());
    }
    let mut seen = 0;
    let mut permit = None;
    let mut bytes = Vec::with_capacity(declared.unwrap_or_default().min(SMALL_BYTES));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Problem::new(Code::ValidationError, "The body did not arrive whole; send it again.")
                .caused_by(&error)
        })?;
        let Ok(chunk) = frame.into_data() else { continue };
        seen += chunk.len();
        if seen <= MAX_BYTES {
            if seen > SMALL_BYTES && permit.is_none() {
                permit = Some(Arc::clone(large).try_acquire_owned().map_err(|_| too_many())?);
            }
            bytes.extend_from_slice(&chunk);
        } else if seen <= MAX_DRAINED_BYTES {
            (bytes, permit) = (Vec::new(), None);
        } else {
            break;
        }
    }
    if seen > MAX_BYTES { Err(too_large()) } else { Ok(Taken { bytes, _permit: permit }) }
}

fn too_many() -> Problem {
    Problem::new(Code::Unavailable, "Too many large bodies arrive at once; send it again.")
}

fn too_slow() -> Problem {
    Problem::new(Code::ValidationError, "The body did not arrive in time; send it again.")
}

fn too_large() -> Problem {
    Problem::new(Code::PayloadTooLarge, "The body is over 1 MiB, which no event of Clerk's is.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(count: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(count))
    }

    async fn refusal(headers: &HeaderMap, body: Body, large: &Arc<Semaphore>) -> Option<Code> {
        read(headers, body, large).await.err().map(|problem| problem.code)
    }

    #[tokio::test]
    async fn a_body_of_just_one_mebibyte_is_taken() {
        let whole = vec![b'x'; MAX_BYTES];
        let taken = read(&HeaderMap::new(), Body::from(whole.clone()), &places(1)).await;
        assert!(taken.is_ok_and(|taken| taken.bytes == whole));
    }

    #[tokio::test]
    async fn a_larger_body_is_refused_declared_or_not() {
        for size in [MAX_BYTES + 1, MAX_DRAINED_BYTES + 1] {
            let undeclared = HeaderMap::new();
            let declared = HeaderMap::from_iter([(CONTENT_LENGTH, size.into())]);
            for headers in [undeclared, declared] {
                let refused = refusal(&headers, Body::from(vec![b'x'; size]), &places(1)).await;
                assert_eq!(refused, Some(Code::PayloadTooLarge));
            }
        }
    }

    #[tokio::test]
    async fn large_bodies_have_so_many_places_and_give_them_back() {
        let (large, none) = (places(1), HeaderMap::new());
        let body = |size: usize| Body::from(vec![b'x'; size]);
        let first = read(&none, body(SMALL_BYTES + 1), &large).await;
        assert_eq!(refusal(&none, body(SMALL_BYTES + 1), &large).await, Some(Code::Unavailable));
        assert_eq!(refusal(&none, body(SMALL_BYTES), &large).await, None, "a small one needs no place");
        drop(first);
        assert_eq!(refusal(&none, body(MAX_BYTES + 1), &large).await, Some(Code::PayloadTooLarge));
        assert_eq!(refusal(&none, body(MAX_BYTES), &large).await, None);
    }
}
