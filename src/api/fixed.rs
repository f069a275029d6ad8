//! Answers that are part of the program: the description of the API and its page.
//!
//! Anyone may ask for them, as often as they like. So the tag and each compressed form are made once, and whoever
//! takes an answer slowly holds no more of it than a place in bytes that are there anyway.

use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;

use super::problem::{Code, Problem};
use super::ready::Ready;

/// One answer in all its forms.
#[derive(Debug)]
pub(super) struct Fixed {
    content_type: &'static str,
    ready: Ready,
}

impl Fixed {
    pub(super) fn new(content_type: &'static str, body: &'static [u8]) -> Self {
        Self { content_type, ready: Ready::new(Bytes::from_static(body)) }
    }

    /// The form that a request takes. Asked for again, it is usually still the same.
    pub(super) async fn answer(&self, method: &Method, asked: &HeaderMap) -> Result<Response, Problem> {
        let failed = |error| Problem::new(Code::InternalError, "").caused_by(&error);
        self.ready.prepare(asked).await.map_err(failed)?;
        let answer = self.ready.answer(method, asked, None);
        let mut response = answer.ok_or_else(|| Problem::new(Code::InternalError, "it is not ready"))?;
        let headers = response.headers_mut();
        if let Some(content_type) = headers.get_mut(CONTENT_TYPE) {
            *content_type = HeaderValue::from_static(self.content_type);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, no-cache"));
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Ok(response)
    }
}
