//! `application/problem+json` (RFC 9457): the closed set of errors that a caller sees.
//!
//! A handler returns a [`Problem`]; `edge` renders it, because only there the request id is known. The
//! sentence for the caller and the reason for the log are two things: the reason never gets into a body.

use std::error::Error;

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::Level;
use utoipa::ToSchema;

use crate::store::StoreError;
use crate::telemetry::causes;

/// The `Content-Type` of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// How long a caller waits when nobody knows better.
const RETRY_AFTER_S: u32 = 5;

/// The machine-readable kind of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs, reason = "the names say it, and CONTRACT has the table")]
pub enum Code {
    ValidationError,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    PayloadTooLarge,
    UnprocessableEvent,
    RateLimited,
    InternalError,
    Unavailable,
}

impl Code {
    /// The status it is answered with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::ValidationError => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnprocessableEvent => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The one sentence of a kind that must not say more.
    fn fixed_detail(self) -> Option<&'static str> {
        match self {
            Self::Unauthorized => Some("The request was not authenticated; send valid credentials."),
            Self::InternalError => {
                Some("Something went wrong here; if it stays, tell the operator the request id.")
            }
            _ => None,
        }
    }
}

/// The body of an error answer.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub(super) struct Document<'a> {
    /// Always `about:blank`: the code says what it is.
    #[schema(example = "about:blank")]
    r#type: &'a str,
    /// The status in words.
    #[schema(example = "Bad Request")]
    title: &'a str,
    /// The status.
    #[schema(example = 400, minimum = 400, maximum = 599)]
    status: u16,
    code: Code,
    /// One sentence for people that names the mend.
    detail: &'a str,
    /// The name of the request, as the log has it; the same as `X-Request-Id`.
    request_id: &'a str,
}

/// An error answer.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Its kind.
    pub code: Code,
    /// One sentence to the caller that names the mend. `Unauthorized` and `InternalError` always show the
    /// same sentence instead, and this one goes to the log.
    pub detail: String,
    reason: Option<String>,
    retry_after_s: Option<u32>,
    level: Option<Level>,
}

impl Problem {
    /// An error answer of this kind. Those that may pass by themselves say when to try again.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let passes = matches!(code, Code::RateLimited | Code::Unavailable);
        Self {
            code,
            detail: detail.into(),
            reason: None,
            retry_after_s: passes.then_some(RETRY_AFTER_S),
            level: None,
        }
    }

    /// Says why in the log, and nowhere else.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Says why in the log with the whole chain of causes.
    #[must_use]
    pub fn caused_by(self, error: &dyn Error) -> Self {
        self.because(causes(error).to_string())
    }

    /// Sets `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// How loud the log says it, where that is not what the status says: a service that is starting is asked
    /// every second, and has not failed.
    #[must_use]
    pub fn logged_at(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// How loud the log says it, where it was chosen.
    pub fn level(&self) -> Option<Level> {
        self.level
    }

    /// What the log says of it.
    pub fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or(&self.detail)
    }

    /// The body.
    pub fn render(&self, request_id: &str) -> String {
        self.render_as(self.code.status(), request_id)
    }

    /// The same for a status that has no code of its own.
    pub(super) fn render_as(&self, status: StatusCode, request_id: &str) -> String {
        let document = Document {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            code: self.code,
            detail: self.code.fixed_detail().unwrap_or(&self.detail),
            request_id,
        };
        // Writing a struct of texts and a number cannot fail.
        serde_json::to_string(&document).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    /// The status and `Retry-After`; the body comes at the edge.
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let problem = match error {
            // Another try would find the same.
            StoreError::InvalidData(_) | StoreError::Panicked => Self::new(Code::InternalError, ""),
            _ => Self::new(Code::Unavailable, "The store cannot be reached now; try again."),
        };
        problem.caused_by(&error)
    }
}

impl From<serde_json::Error> for Problem {
    /// Only what is stored is ever written as JSON here.
    fn from(error: serde_json::Error) -> Self {
        Self::new(Code::InternalError, "").caused_by(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_its_members_in_order() {
        let problem = Problem::new(Code::ValidationError, "`limit` must be a number from 1 to 500.");
        insta::assert_snapshot!(problem.render("r-1"), @r#"{"type":"about:blank","title":"Bad Request","status":400,"code":"VALIDATION_ERROR","detail":"`limit` must be a number from 1 to 500.","requestId":"r-1"}"#);
    }

    #[test]
    fn the_set_is_closed() {
        let codes = [
            Code::ValidationError,
            Code::Unauthorized,
            Code::Forbidden,
            Code::NotFound,
            Code::MethodNotAllowed,
            Code::PayloadTooLarge,
            Code::UnprocessableEvent,
            Code::RateLimited,
            Code::InternalError,
            Code::Unavailable,
        ];
        let lines: Vec<_> = codes
            .iter()
            .map(|code| format!("{} {}", code.status(), serde_json::to_string(code).unwrap()))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        400 Bad Request "VALIDATION_ERROR"
        401 Unauthorized "UNAUTHORIZED"
        403 Forbidden "FORBIDDEN"
        404 Not Found "NOT_FOUND"
        405 Method Not Allowed "METHOD_NOT_ALLOWED"
        413 Payload Too Large "PAYLOAD_TOO_LARGE"
        422 Unprocessable Entity "UNPROCESSABLE_EVENT"
        429 Too Many Requests "RATE_LIMITED"
        500 Internal Server Error "INTERNAL_ERROR"
        503 Service Unavailable "UNAVAILABLE"
        "#);
    }

    #[test]
    fn a_refused_token_and_a_failure_say_nothing_of_the_cause() {
        for code in [Code::Unauthorized, Code::InternalError] {
            let problem = Problem::new(code, "the key was wrong").because("secret");
            assert_eq!(problem.render("r"), Problem::new(code, "").render("r"));
            assert_eq!(problem.reason(), "secret");
        }
    }

    #[test]
    fn the_log_gets_the_chain_of_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("the door is locked")]
        struct Locked(#[source] std::io::Error);

        let error = Locked(std::io::Error::other("no key"));
        let problem = Problem::new(Code::Unavailable, "try again").caused_by(&error);
        assert_eq!(problem.reason(), "the door is locked: no key");
        assert!(!problem.render("r").contains("key"));
    }

    #[test]
    fn what_may_pass_says_when_to_try_again() {
        let after = |problem: Problem| problem.into_response().headers().get(RETRY_AFTER).cloned();
        assert_eq!(after(Problem::new(Code::Unavailable, "")).unwrap(), "5");
        assert_eq!(after(Problem::new(Code::RateLimited, "").retry_after(30)).unwrap(), "30");
        assert_eq!(after(Problem::new(Code::NotFound, "")), None);
    }
}
