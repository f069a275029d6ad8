//! The one layer that every request passes first and every answer last.
//!
//! It knows the request id, so it renders the errors; it sees the coding that is really sent, so it settles
//! the entity tag; it sees both ends, so it limits the time, writes the log line and counts. One layer and not
//! five, because each costs something on every request.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Version};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use metrics::{SharedString, counter, histogram};
use tokio::time::{Instant, timeout};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate as _, SizeAbove};
use tracing::field::Empty;
use tracing::{
    Instrument as _, Level, Span, debug, enabled, error, info, info_span, span_enabled, trace_span,
};

use super::coding::COMPRESS_FROM_BYTES;
use super::problem::{Code, PROBLEM_JSON, Problem};
use super::{caching, coding, request_id};
use crate::telemetry::traces;

/// No answer of ours takes so long unless something is wrong.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Whose requests these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    /// The users' and Clerk's. They are counted.
    Public,
    /// The operators', who do not want to see themselves when they look.
    Operators,
}

/// Puts the layers around routes, fallbacks included.
pub(crate) fn around<S: Clone + Send + Sync + 'static>(listener: Listener, routes: Router<S>) -> Router<S> {
    let unsettled = |_: StatusCode, _: Version, _: &HeaderMap, extensions: &Extensions| {
        extensions.get::<caching::Settled>().is_none()
    };
    let compressible = SizeAbove::new(COMPRESS_FROM_BYTES as u64)
        .and(NotForContentType::IMAGES)
        .and(NotForContentType::SSE)
        .and(unsettled);
    routes.layer(
        ServiceBuilder::new()
            .layer(from_fn(move |request, next| pass(listener, request, next)))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(CompressionLayer::new().compress_when(compressible)),
    )
}

async fn pass(listener: Listener, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id::of(request.headers());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let span = info_span!(
        "request",
        request_id = id.to_str().unwrap_or_default(),
        method = request.method().as_str(),
        route = route.as_ref().map_or("-", MatchedPath::as_str),
    );
    let method = known(request.method());
    let precondition = caching::Precondition::of(&request);
    coding::settle(request.headers_mut());

    let trace = trace(listener, &request, method, route.as_ref(), &id);
    let answer = timeout(TIME_LIMIT, next.run(request)).instrument(span.clone());
    let answered = answer.instrument(trace.clone()).await;
    let mut response = answered.unwrap_or_else(|_| too_slow().into_response());

    let problem = response.extensions_mut().remove::<Problem>();
    response = match &problem {
        Some(problem) => render(response, problem, &id),
        None => caching::settle(response, &precondition),
    };
    response.headers_mut().insert(request_id::X_REQUEST_ID, id);
    let took = started.elapsed();
    span.in_scope(|| log(&response, problem.as_ref(), took));
    trace.record("http.response.status_code", response.status().as_u16());
    if response.status().is_server_error() {
        trace.record("otel.status_code", "ERROR");
    }
    if listener == Listener::Public {
        count(route.as_ref(), method, response.status(), took);
    }
    response
}

/// The span that is exported. The one of the logs must not grow by what collectors want to read. Orchestrators and
/// operators, who ask again and again how things are, get none.
fn trace(
    listener: Listener,
    request: &Request,
    method: &'static str,
    route: Option<&MatchedPath>,
    id: &HeaderValue,
) -> Span {
    let is_watching = route.is_some_and(|route| matches!(route.as_str(), "/healthz" | "/readyz"));
    if !span_enabled!(Level::TRACE) || is_watching || listener == Listener::Operators {
        return Span::none();
    }
    let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {}", route.as_str()));
    let span = trace_span!(
        "request",
        otel.name = name,
        otel.kind = "server",
        http.request.method = method,
        http.route = route.map(MatchedPath::as_str),
        request_id = id.to_str().unwrap_or_default(),
        http.response.status_code = Empty,
        otel.status_code = Empty,
    );
    traces::continue_from(&span, request.headers());
    span
}

/// 503 and not 504 or 408: there is no gateway, and the caller was not slow. It says what is true, that it is
/// worth trying again; a webhook that was applied meanwhile is a duplicate then.
fn too_slow() -> Problem {
    Problem::new(Code::Unavailable, "The answer took too long; try again.").because("time limit reached")
}

/// The message of a panic can quote what it was about, so it is left to the panic hook.
fn panicked(_message: Box<dyn Any + Send>) -> Response {
    Problem::new(Code::InternalError, "a handler panicked").into_response()
}

fn render(mut response: Response, problem: &Problem, id: &HeaderValue) -> Response {
    let body = problem.render(id.to_str().unwrap_or_default());
    *response.body_mut() = body.into();
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn log(response: &Response, problem: Option<&Problem>, took: Duration) {
    let status = response.status();
    let latency_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let reason = problem.map_or("-", Problem::reason);
    let by_status = match status.as_u16() {
        500.. => Level::ERROR,
        400.. => Level::INFO,
        _ => Level::DEBUG,
    };
    let level = problem.and_then(Problem::level).unwrap_or(by_status);
    let status = status.as_u16();
    match (level, problem) {
        (Level::ERROR, _) => error!(status, latency_us, reason, "failed"),
        (Level::INFO, _) => info!(status, latency_us, reason, "refused"),
        (_, Some(_)) => debug!(status, latency_us, reason, "refused"),
        (_, None) => debug!(status, latency_us, "answered"),
    }
}

/// The headers, as they are sent, and the body of the answer to a request whose head could not be read. It has no route
/// and no method, and its own request id is not known either.
pub(crate) fn unreadable(status: StatusCode) -> (String, String) {
    let problem = match status {
        StatusCode::URI_TOO_LONG => {
            Problem::new(Code::PayloadTooLarge, "The path and the query are too long: shorten them.")
        }
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Problem::new(
            Code::PayloadTooLarge,
            "The headers are too many or too long: send at most 100, in less than 64 KiB.",
        ),
        _ => Problem::new(
            Code::ValidationError,
            "This is not a well-formed HTTP request. Plain HTTP is spoken here; TLS ends in front of it.",
        ),
    };
    let id = request_id::of(&HeaderMap::new());
    let id = id.to_str().unwrap_or_default();
    info_span!("request", request_id = id, method = "-", route = "-")
        .in_scope(|| info!(status = status.as_u16(), reason = problem.reason(), "refused"));
    let body = problem.render_as(status, id);
    let length = body.len();
    let headers = format!(
        "content-type: {PROBLEM_JSON}\r\ncache-control: no-store\r\nx-request-id: {id}\r\ncontent-length: {length}\r\n"
    );
    (headers, body)
}

/// The same line and span for an answer that did not come this way. Nobody pays for it who does not want it.
pub(super) fn log_answered<B>(
    request: &axum::http::Request<B>,
    route: &'static str,
    id: &HeaderValue,
    response: &Response,
    took: Duration,
) {
    let method = request.method();
    let request_id = id.to_str().unwrap_or_default();
    if span_enabled!(Level::TRACE) {
        traces::answered(request.headers(), method.as_str(), route, request_id, response.status(), took);
    }
    if enabled!(Level::DEBUG) {
        info_span!("request", request_id, method = method.as_str(), route)
            .in_scope(|| log(response, None, took));
    }
}

/// Anybody can make up methods, and each would be a series of its own.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

pub(super) fn count(route: Option<&MatchedPath>, method: &'static str, status: StatusCode, took: Duration) {
    let route =
        route.map_or(SharedString::const_str("-"), |route| SharedString::from_shared(route.as_str().into()));
    let status = status.as_str().to_owned();
    histogram!("roster_http_request_seconds", "route" => route.clone()).record(took);
    counter!("roster_http_requests_total", "route" => route, "method" => method, "status" => status)
        .increment(1);
}

#[cfg(test)]
mod tests;
