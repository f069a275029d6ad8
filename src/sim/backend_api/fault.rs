//! The ways in which an answer goes wrong.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use hyper::body::Frame;
use serde_json::Value;

use super::answer::Answer;
use super::response;

/// One way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Another status, with an error body as Clerk writes them. 402, 403 and 404 are how a feature that is
    /// off answers.
    Status(u16),
    /// Another status and no body, as a proxy might answer.
    Bare(u16),
    /// 401.
    WrongKey,
    /// 429, with this `Retry-After`.
    TooMany(Option<&'static str>),
    /// Nothing at all comes back; the connection stays open.
    NoAnswer,
    /// The connection is closed instead of an answer.
    Hangup,
    /// A page of HTML, with status 200.
    Garbage,
    /// The connection is closed in the middle of the body.
    Torn,
    /// The body ends in the middle of the JSON, as if that were all.
    CutShort,
    /// A page with nothing on it.
    EmptyPage,
    /// A list with nothing on it, which counts nothing either. What is no list is as it should be.
    EmptyList,
    /// A page with this many objects at most.
    ShortPage(usize),
    /// A page (or object) on which the object of this place, from 0, has a `created_at` that is no number.
    Unusable(usize),
    /// A page on which the object of this place, from 0, is there twice.
    Repeated(usize),
    /// A redirect.
    Redirect,
}

/// On a response: the connection is to be closed without it.
#[derive(Debug, Clone)]
pub(in crate::sim) struct Hangup;

impl Fault {
    /// What comes of an answer.
    pub(super) fn spoil(self, answer: Answer) -> Response {
        match self {
            Self::Status(status) => {
                response(&Answer::refused(status, "simulated", "this is a simulated fault"))
            }
            Self::Bare(status) => with_status(status, Body::empty()),
            Self::WrongKey => response(&Answer::wrong_key()),
            Self::TooMany(retry_after) => {
                let mut response = response(&Answer::refused(429, "too_many_requests", "too many requests"));
                if let Some(retry_after) = retry_after {
                    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(retry_after));
                }
                response
            }
            Self::NoAnswer | Self::Hangup => {
                let mut response = Response::default();
                response.extensions_mut().insert(Hangup);
                response
            }
            Self::Garbage => {
                let mut response =
                    with_status(200, Body::from("<html><body>Welcome to the hotel</body></html>"));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
                response
            }
            Self::Torn => torn(&answer),
            Self::CutShort => {
                let mut body = answer.body();
                let half = (0..=body.len() / 2).rev().find(|at| body.is_char_boundary(*at));
                body.truncate(half.unwrap_or(0));
                let mut cut = with_status(answer.status(), Body::from(body));
                cut.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                cut
            }
            Self::EmptyPage => response(&with_items(answer, Vec::clear)),
            Self::EmptyList => response(&match answer {
                Answer::List { total_count, .. } => {
                    Answer::List { items: Vec::new(), total_count: total_count.map(|_| 0) }
                }
                other => other,
            }),
            Self::ShortPage(most) => response(&with_items(answer, |items| items.truncate(most))),
            Self::Unusable(place) => response(&with_items(answer, |items| {
                if let Some(item) = items.get_mut(place) {
                    let mut object: Value = serde_json::from_str(item).unwrap_or_default();
                    object["created_at"] = "yesterday".into();
                    *item = object.to_string();
                }
            })),
            Self::Repeated(place) => response(&with_items(answer, |items| {
                items.extend(items.get(place).cloned());
            })),
            Self::Redirect => {
                let mut response = with_status(307, Body::empty());
                response.headers_mut().insert(LOCATION, HeaderValue::from_static("http://127.0.0.1:1/"));
                response
            }
        }
    }
}

fn with_status(status: u16, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

fn with_items(mut answer: Answer, change: impl FnOnce(&mut Vec<String>)) -> Answer {
    match &mut answer {
        Answer::List { items, .. } => change(items),
        Answer::One(object) => {
            let mut items = vec![std::mem::take(object)];
            change(&mut items);
            *object = items.pop().unwrap_or_default();
        }
        Answer::Refused { .. } => {}
    }
    answer
}

/// Promises the whole body and breaks off in the middle.
fn torn(answer: &Answer) -> Response {
    let body = answer.body();
    let half = Bytes::copy_from_slice(body.as_bytes().get(..body.len() / 2).unwrap_or_default());
    let mut response = with_status(answer.status(), Body::new(Torn(Some(half))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    response
}

struct Torn(Option<Bytes>);

impl HttpBody for Torn {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let torn = || io::Error::other("this is a simulated fault");
        Poll::Ready(Some(self.0.take().map(Frame::data).ok_or_else(torn)))
    }
}
