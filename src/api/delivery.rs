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
use tokio::time::timeout;
use utoipa::ToSchema;

use super::Shared;
use super::openapi::parameters;
use super::problem::{Code, Problem};
use crate::domain::Outcome;
use crate::webhook::{self, ReceiveError};

/// Larger bodies are refused.
const MAX_BYTES: usize = 1024 * 1024;

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
    let body = timeout(BODY_LIMIT, read(&head.headers, body)).await;
    match body.unwrap_or_else(|_| Err(too_slow())) {
        Ok(bytes) => match shared.api.receiver.receive(&head.headers, &bytes).await {
            Ok(outcome) => Json(Receipt { outcome }).into_response(),
            Err(error) => Problem::from(error).into_response(),
        },
        Err(problem) => {
            webhook::count_rejected();
            problem.into_response()
        }
    }
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
async fn read(headers: &HeaderMap, mut body: Body) -> Result<Vec<u8>, Problem> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > MAX_DRAINED_BYTES) {
        return Err(too_large());
    }
    let mut seen = 0;
    let mut bytes = Vec::with_capacity(declared.unwrap_or_default().min(MAX_BYTES));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Problem::new(Code::ValidationError, "The body did not arrive whole; send it again.")
                .caused_by(&error)
        })?;
        let Ok(chunk) = frame.into_data() else { continue };
        seen += chunk.len();
        if seen <= MAX_BYTES {
            bytes.extend_from_slice(&chunk);
        } else if seen <= MAX_DRAINED_BYTES {
            bytes = Vec::new();
        } else {
            break;
        }
    }
    if seen > MAX_BYTES { Err(too_large()) } else { Ok(bytes) }
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

    #[tokio::test]
    async fn a_body_of_just_one_mebibyte_is_taken() {
        let whole = vec![b'x'; MAX_BYTES];
        let read_whole = read(&HeaderMap::new(), Body::from(whole.clone())).await;
        assert!(read_whole.is_ok_and(|bytes| bytes == whole));
    }

    #[tokio::test]
    async fn a_larger_body_is_refused_declared_or_not() {
        for size in [MAX_BYTES + 1, MAX_DRAINED_BYTES + 1] {
            let undeclared = read(&HeaderMap::new(), Body::from(vec![b'x'; size])).await;
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_LENGTH, size.into());
            let declared = read(&headers, Body::from(vec![b'x'; size])).await;
            for refused in [undeclared, declared] {
                assert!(refused.is_err_and(|problem| problem.code == Code::PayloadTooLarge));
            }
        }
    }
}
