//! `POST /webhooks/clerk`: bounds the body, and hands it on as it came.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;

use super::Api;
use super::problem::{Code, Problem};

/// Larger bodies are refused.
const MAX_BYTES: usize = 1024 * 1024;

/// So much of a refused body is read and dropped. Closing the connection while the sender still writes
/// resets it, and then the sender may never see the answer.
const MAX_DRAINED_BYTES: usize = 8 * MAX_BYTES;

/// Takes one delivery.
pub(super) async fn receive(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    match read(&head.headers, body).await {
        Ok(bytes) => api.receiver.receive(&head.headers, &bytes).await,
        Err(problem) => problem.into_response(),
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
