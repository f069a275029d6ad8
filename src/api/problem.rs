//! `application/problem+json` (RFC 9457): the closed set of errors that a caller sees. (signatures first)

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// The machine-readable kind of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
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

/// An error answer.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Its kind.
    pub code: Code,
    /// One sentence to the caller that names the mend.
    pub detail: String,
}

impl Problem {
    /// An error answer of this kind.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (StatusCode::IM_A_TEAPOT, self.detail).into_response()
    }
}
