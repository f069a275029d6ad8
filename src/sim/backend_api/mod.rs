//! The Backend API of the simulated Clerk: real paging, real refusals, and every way to fail that we know of.
//!
//! What is asked is answered from the [`Instance`](super::Instance) as it is at that moment, so lists shift
//! under a walk as they do at Clerk. [`Controls`] says how badly it goes.

mod answer;
mod controls;
mod fault;
mod lists;
mod query;
mod rate;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::any;
use chrono::DateTime;

use super::server::Shared;
use answer::Answer;

pub use controls::{Asked, Controls, LostCursor};
pub use fault::Fault;
pub(super) use fault::Hangup;
pub use rate::RateLimit;

/// The key that is accepted until another is set.
pub const SECRET_KEY: &str = "sk_test_simulated";
/// The longest page, the length of a page when none, or a longer one, is asked for.
pub(super) const MAX_PAGE: usize = 500;
pub(super) const DEFAULT_PAGE: usize = 10;

const VERSIONS: [&str; 5] = ["2021-02-05", "2024-10-01", "2025-04-10", "2025-11-10", "2026-05-12"];

/// The routes, over one instance.
pub(super) fn router(instance: Shared, controls: Controls) -> Router {
    Router::new().route("/v1/{*path}", any(serve)).with_state((instance, controls))
}

async fn serve(
    State((instance, controls)): State<(Shared, Controls)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    _request: Request,
) -> Response {
    let (asked, fault, latency) = controls.ask(&method, &uri, &mut instance.lock());
    if let Some(mut held) = controls.held(&asked) {
        while held.changed().await.is_ok() {}
    }
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let answer = match &fault {
        Some(Fault::NoAnswer) => std::future::pending().await,
        _ => match refusal(&controls, &asked, &headers) {
            Some(refusal) => refusal,
            None => lists::answer(&instance.lock(), &controls, &asked),
        },
    };
    let mut response = match fault {
        Some(fault) => fault.spoil(answer),
        None => response(&answer),
    };
    // Clerk's clock is the instance's.
    let date = DateTime::from_timestamp_millis(instance.lock().now_ms()).unwrap_or_default();
    let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(date) = HeaderValue::from_str(&date) {
        response.headers_mut().insert(DATE, date);
    }
    response
}

/// What is said before anything is looked at.
fn refusal(controls: &Controls, asked: &Asked, headers: &HeaderMap) -> Option<Answer> {
    if let Err(retry_after) = controls.admit() {
        return Some(Answer::too_many(retry_after));
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let key = header(AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
    if key != Some(controls.secret_key().as_str()) {
        return Some(Answer::wrong_key());
    }
    let (by_header, by_query) = (header("clerk-api-version"), asked.first("__clerk_api_version"));
    let version = by_header.or(by_query);
    if by_header.is_some() && by_query.is_some() {
        return Some(Answer::refused(400, "clerk_api_version_invalid", "name the version once"));
    }
    if version.is_some_and(|version| !VERSIONS.contains(&version)) {
        return Some(Answer::refused(400, "clerk_api_version_invalid", "there is no such version"));
    }
    (asked.method != "GET").then(|| Answer::refused(405, "method_not_allowed", "only GET is simulated"))
}

fn response(answer: &Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body()));
    *response.status_mut() = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::OK);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Answer::Refused { retry_after: Some(seconds), .. } = answer {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*seconds));
    }
    response
}
