//! Answers over HTTP/2 are taken, or the connection is given up.
//!
//! Whoever keeps a stream's window shut takes nothing, while the connection looks alive: nothing waits to be written to
//! it, and pings are answered. The answer, and its place in the change feed, would be kept for as long as that one likes.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// How long a piece of an answer may wait. A proxy's connection serves many; for whom it asks it usually gives up itself
/// after a minute.
const PATIENCE: Duration = Duration::from_secs(70);
/// How long not to look again after a look that found an answer waiting.
const REST: Duration = Duration::from_secs(1);
/// Who takes so many bytes is slow, and not stuck. No frame is longer unless somebody asks for it.
const PIECE: usize = 16 * 1024;

/// The answers of one connection that wait to be taken.
#[derive(Clone, Default)]
pub(super) struct Untaken(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    begins: Notify,
}

#[derive(Default)]
struct Waiting {
    answers: u64,
    /// By the number of the answer.
    since: HashMap<u64, Instant>,
}

impl Untaken {
    /// Watches an answer.
    pub(super) fn watch(&self, response: Response) -> Response {
        let number = {
            let mut waiting = self.waiting();
            waiting.answers += 1;
            waiting.answers
        };
        // It may not be asked for even once.
        self.add(number);
        let untaken = self.clone();
        response.map(|body| Body::new(Watched { body, rest: Bytes::new(), number, untaken }))
    }

    /// Comes back when an answer has waited too long.
    pub(super) async fn too_long(&self) {
        loop {
            let oldest = self.waiting().since.values().min().copied();
            match oldest {
                None => self.0.begins.notified().await,
                Some(since) if since.elapsed() < PATIENCE => {
                    sleep_until(since + PATIENCE).await;
                    sleep(REST).await;
                }
                Some(_) => return,
            }
        }
    }

    fn add(&self, number: u64) {
        self.waiting().since.insert(number, Instant::now());
        self.0.begins.notify_one();
    }

    fn remove(&self, number: u64) {
        self.waiting().since.remove(&number);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that says, piece by piece, that it waits to be taken.
struct Watched {
    body: Body,
    /// What is left of the last part of the body.
    rest: Bytes,
    number: u64,
    untaken: Untaken,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    /// hyper asks for a piece when the one before has a place in the other end's window.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.untaken.remove(self.number);
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        // The last byte waits for the window to take all before it: with its end an answer is out of sight.
        let length = self.rest.len().saturating_sub(1).clamp(1, PIECE);
        let piece = self.rest.split_to(length);
        self.untaken.add(self.number);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut all = SizeHint::new();
        all.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper() {
            all.set_upper(upper.saturating_add(rest));
        }
        all
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.untaken.remove(self.number);
    }
}
