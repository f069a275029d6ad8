//! A list that is ready to be sent: its bytes, and every header that goes with them, made once.
//!
//! Compressed forms are made when somebody first asks for them, each once. A caller who has the list already
//! is told so before any of its bytes are looked at.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use tokio::sync::OnceCell;

use super::caching::{self, JSON, NoContent, PRIVATE, ROSTER_AS_OF, Settled, VARIES};
use super::coding::{self, COMPRESS_FROM_BYTES, Coding};

/// Below this, making a compressed form takes no longer than handing it to another thread is worth.
const INLINE_BYTES: usize = 64 * 1024;

/// One body in all its forms.
#[derive(Debug)]
pub(super) struct Ready {
    tag: String,
    plain: Form,
    coded: [Coded; Coding::ALL.len()],
}

#[derive(Debug)]
struct Coded {
    etag: HeaderValue,
    form: OnceCell<Form>,
}

#[derive(Debug, Clone)]
struct Form {
    etag: HeaderValue,
    length: HeaderValue,
    body: Bytes,
}

impl Form {
    fn new(etag: HeaderValue, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self { etag, length: body.len().into(), body }
    }
}

impl Ready {
    /// Takes a body that has no next page.
    pub(super) fn new(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let tag = caching::tag(&body, None);
        // A tag is base64url, which every header takes.
        let header = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("\"\""));
        let coded = Coding::ALL.map(|coding| Coded {
            etag: header(format!("\"{tag}-{}\"", coding.as_str())),
            form: OnceCell::new(),
        });
        Self { plain: Form::new(header(format!("\"{tag}\"")), body), coded, tag }
    }

    /// How much memory it takes, its compressed forms to come included: together they are about half of it.
    pub(super) fn bytes(&self) -> usize {
        self.plain.body.len() + self.plain.body.len() / 2
    }

    /// The answer to a request, if the form that it takes is there.
    pub(super) fn answer(
        &self,
        method: &Method,
        asked: &HeaderMap,
        as_of: Option<HeaderValue>,
    ) -> Option<Response> {
        let coding = self.coding(asked);
        let coded = coding.and_then(|coding| self.coded.get(coding.index()));
        if caching::is_named(asked.get_all(IF_NONE_MATCH), &self.tag) {
            let etag = coded.map_or(&self.plain.etag, |coded| &coded.etag);
            return Some(response(StatusCode::NOT_MODIFIED, Body::new(NoContent), etag, as_of));
        }
        let form = match coded {
            Some(coded) => coded.form.get()?,
            None => &self.plain,
        };
        let is_head = method == Method::HEAD;
        let body = if is_head { Body::new(NoContent) } else { Body::from(form.body.clone()) };
        let mut response = response(StatusCode::OK, body, &form.etag, as_of);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        // As with answers that are compressed on the way, whose length nobody knows before they are sent.
        if !is_head || coding.is_none() {
            headers.insert(CONTENT_LENGTH, form.length.clone());
        }
        if let Some(coding) = coding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
        }
        Some(response)
    }

    /// Makes the form that a request takes, if it is not there.
    pub(super) async fn prepare(&self, asked: &HeaderMap) -> std::io::Result<()> {
        let Some(coding) = self.coding(asked) else { return Ok(()) };
        let Some(coded) = self.coded.get(coding.index()) else { return Ok(()) };
        let make = async || {
            let body = self.plain.body.clone();
            let bytes = if body.len() <= INLINE_BYTES {
                coding.compress(&body)
            } else {
                let task = tokio::task::spawn_blocking(move || coding.compress(&body));
                task.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
            };
            Ok::<_, std::io::Error>(Form::new(coded.etag.clone(), bytes?))
        };
        coded.form.get_or_try_init(make).await.map(drop)
    }

    fn coding(&self, asked: &HeaderMap) -> Option<Coding> {
        if self.plain.body.len() < COMPRESS_FROM_BYTES { None } else { coding::choose(asked) }
    }
}

fn response(status: StatusCode, body: Body, etag: &HeaderValue, as_of: Option<HeaderValue>) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(8);
    headers.insert(CACHE_CONTROL, PRIVATE);
    headers.insert(VARY, VARIES);
    headers.insert(ETAG, etag.clone());
    if let Some(as_of) = as_of {
        headers.insert(ROSTER_AS_OF, as_of);
    }
    response.extensions_mut().insert(Settled);
    response
}

/// The text of the last moment that was shown: it changes with an event, and is shown with every answer.
#[derive(Debug, Default)]
pub(super) struct AsOf(arc_swap::ArcSwapOption<(i64, HeaderValue)>);

impl AsOf {
    /// The header's value.
    pub(super) fn show(&self, at_ms: Option<i64>) -> Option<HeaderValue> {
        let at_ms = at_ms?;
        if let Some(shown) = self.0.load().as_ref().filter(|shown| shown.0 == at_ms) {
            return Some(shown.1.clone());
        }
        let value = caching::as_of(at_ms)?;
        self.0.store(Some(Arc::new((at_ms, value.clone()))));
        Some(value)
    }
}
