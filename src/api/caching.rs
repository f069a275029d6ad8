//! Entity tags, so that a caller who has the list already is told so in a few bytes.
//!
//! A handler tags what it says: the body and `Link`, and nothing else, so that a tag changes when, and only
//! when, one of these does. [`settle`] runs outside of compression: it makes the tag that of the coding
//! that is really sent, and answers 304 where the caller has any coding of the same answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use aws_lc_rs::digest;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LINK, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::coding::CODINGS;
use crate::domain::time::iso8601;

const ROSTER_AS_OF: HeaderName = HeaderName::from_static("roster-as-of");
const DIGEST_BYTES: usize = 16;

/// A JSON answer that may be kept and asked for again.
pub(super) fn tagged(body: Vec<u8>, link: Option<HeaderValue>, as_of_ms: Option<i64>) -> Response {
    let tag = tag(&body, link.as_ref());
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(VARY, HeaderValue::from_static("Authorization, Cookie, Accept-Encoding"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(ETAG, tag);
    }
    if let Some(link) = link {
        headers.insert(LINK, link);
    }
    if let Some(as_of) = as_of_ms.and_then(|at_ms| HeaderValue::try_from(iso8601(at_ms)).ok()) {
        headers.insert(ROSTER_AS_OF, as_of);
    }
    response
}

/// A strong tag of an answer.
pub(super) fn tag(body: &[u8], link: Option<&HeaderValue>) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(body);
    // A body is JSON, which has no NUL: where it ends is beyond doubt.
    hash.update(&[0]);
    hash.update(link.map_or(&[], HeaderValue::as_bytes));
    let digest = hash.finish();
    let short = digest.as_ref().get(..DIGEST_BYTES).unwrap_or_default();
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(short))
}

/// What the caller has already, taken from a request before it is consumed.
pub(super) struct Precondition(Vec<HeaderValue>);

impl Precondition {
    /// Only reads can be answered from what the caller has.
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let sent = request.headers().get_all(IF_NONE_MATCH);
        Self(if reads { sent.iter().cloned().collect() } else { Vec::new() })
    }

    /// Whether it names `tag` in any coding. A weak comparison (RFC 9110, section 13.1.2).
    fn names(&self, tag: &str) -> bool {
        self.0
            .iter()
            .filter_map(|line| line.to_str().ok())
            .any(|line| line.trim() == "*" || tags(line).any(|candidate| is_coding_of(candidate, tag)))
    }
}

/// The opaque parts of a list of entity tags. It ends where the list is not well-formed.
fn tags(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let item = rest.trim_start_matches([' ', '\t', ',']);
        let quoted = item.strip_prefix("W/").unwrap_or(item).strip_prefix('"')?;
        let (tag, after) = quoted.split_once('"')?;
        rest = after;
        Some(tag)
    })
}

fn is_coding_of(candidate: &str, tag: &str) -> bool {
    candidate.strip_prefix(tag).is_some_and(|suffix| {
        suffix.is_empty() || suffix.strip_prefix('-').is_some_and(|coding| CODINGS.contains(&coding))
    })
}

/// Gives an answer the tag of its coding, or turns it into a 304.
pub(super) fn settle(mut response: Response, precondition: &Precondition) -> Response {
    let Some(tag) = opaque_tag(response.headers()) else { return response };
    let headers = response.headers_mut();
    if let Some(coding) = headers.get(CONTENT_ENCODING).and_then(|coding| coding.to_str().ok())
        && let Ok(tag) = HeaderValue::try_from(format!("\"{tag}-{coding}\""))
    {
        headers.insert(ETAG, tag);
    }
    if response.status() == StatusCode::OK && precondition.names(&tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        for content in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LENGTH] {
            response.headers_mut().remove(content);
        }
        *response.body_mut() = Body::new(NoContent);
    }
    response
}

fn opaque_tag(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(ETAG)?.to_str().ok()?;
    Some(tag.strip_prefix('"')?.strip_suffix('"')?.to_owned())
}

/// An empty body of unknown length. To an empty one axum adds `Content-Length: 0`, and a 304 may carry only
/// the length of the answer that it stands for.
struct NoContent;

impl HttpBody for NoContent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(coding: Option<&'static str>, if_none_match: &str) -> Response {
        let request = Request::get("/").header(IF_NONE_MATCH, if_none_match).body(()).unwrap();
        let mut response = tagged(b"[]".to_vec(), None, Some(0));
        if let Some(coding) = coding {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        settle(response, &Precondition::of(&request))
    }

    #[test]
    fn the_tag_is_of_the_body_and_the_link() {
        let link = HeaderValue::from_static("</a>; rel=\"next\"");
        let tags = [tag(b"[]", None), tag(b"[1]", None), tag(b"[]", Some(&link))];
        assert!(tags[0] != tags[1] && tags[0] != tags[2]);
        let with_time = |as_of| tagged(b"[]".to_vec(), None, as_of).headers()[ETAG].clone();
        assert_eq!(with_time(None), with_time(Some(7)));
    }

    #[test]
    fn any_tag_of_the_answer_is_enough() {
        let tag = opaque_tag(tagged(b"[]".to_vec(), None, None).headers()).unwrap();
        let hits = [
            "*".to_owned(),
            format!("\"{tag}\""),
            format!("W/\"{tag}-gzip\""),
            format!("\"a,b\", \"{tag}-br\""),
            format!(" \"x\",\t\"{tag}-zstd\" , \"y\""),
        ];
        for hit in hits {
            let response = answer(Some("zstd"), &hit);
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{hit}");
            assert_eq!(response.headers()[ETAG], format!("\"{tag}-zstd\""));
            assert!(!response.headers().contains_key(CONTENT_TYPE));
            assert_eq!(response.headers()[ROSTER_AS_OF], "1970-01-01T00:00:00.000Z");
            assert_eq!(response.body().size_hint().exact(), None);
        }
        for miss in [tag.clone(), format!("\"{tag}-deflate\""), format!("\"{tag}"), String::new()] {
            let response = answer(None, &miss);
            assert_eq!(response.status(), StatusCode::OK, "{miss}");
            assert_eq!(response.headers()[ETAG], format!("\"{tag}\""));
        }
    }
}
