//! Lets the front ends that are named in `CLERK_AUTHORIZED_PARTIES` read answers from another origin.
//!
//! Browsers ask first whether a page may send its token, and show it an answer only when that says so. Nobody gets
//! in by it: the token is needed as ever, and cookies are not sent along.
//!
//! Source: the CORS protocol of <https://fetch.spec.whatwg.org/#http-cors-protocol>.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{edge, request_id};

/// What a page may send beside what every page may.
const SENT: HeaderValue =
    HeaderValue::from_static("Authorization, If-None-Match, Last-Event-ID, Traceparent, X-Request-Id");
/// What a page may see beside what every page may.
const SEEN: HeaderValue = HeaderValue::from_static("ETag, Link, Retry-After, Roster-As-Of, X-Request-Id");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD");
/// For how many seconds a browser need not ask again; none believes more than two hours.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The origins of the front ends.
#[derive(Debug, Clone, Default)]
pub(super) struct Cors(Arc<[HeaderValue]>);

impl Cors {
    /// What cannot stand in a header is nobody's origin.
    pub(super) fn new(origins: &[String]) -> Self {
        Self(origins.iter().filter_map(|origin| origin.parse().ok()).collect())
    }

    /// Who asks, if it is one of them.
    fn origin(&self, asked: &HeaderMap) -> Option<HeaderValue> {
        let origin = asked.get(ORIGIN)?;
        self.0.contains(origin).then(|| origin.clone())
    }

    /// Lets the page see an answer, when it is one of theirs.
    pub(super) fn show(&self, asked: &HeaderMap, response: &mut Response) {
        if let Some(origin) = self.origin(asked) {
            expose(origin, response.headers_mut());
        }
    }
}

fn expose(origin: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, SEEN);
    headers.append(VARY, HeaderValue::from_static("Origin"));
}

/// Answers the browser's first question, and lets the page see the answer to its own.
pub(super) async fn pass(State(cors): State<Cors>, request: Request, next: Next) -> Response {
    let Some(origin) = cors.origin(request.headers()) else { return next.run(request).await };
    let is_first =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let started = Instant::now();
    let mut response = if is_first {
        let answer = [
            (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (ACCESS_CONTROL_ALLOW_HEADERS, SENT),
            (ACCESS_CONTROL_MAX_AGE, MAX_AGE),
            (request_id::X_REQUEST_ID, request_id::of(request.headers())),
        ];
        edge::count(None, "OPTIONS", StatusCode::NO_CONTENT, started.elapsed());
        (StatusCode::NO_CONTENT, answer).into_response()
    } else {
        next.run(request).await
    };
    expose(origin, response.headers_mut());
    response
}
