//! The change feed: whoever follows it refreshes instead of polling.
//!
//! An event says who changed and never how: that is read from the list, by the same rules as ever. It names the
//! version that may be resumed from, which is greater only after the last change of a batch, so whoever is cut
//! off in the middle gets the rest again. Nothing is made before the reader takes it, so a slow one costs no
//! memory; see `store/feed.rs`.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};
use utoipa::ToSchema;

use super::Shared;
use super::caller::Caller;
use super::openapi::parameters;
use super::problem::Problem;
use super::streams::StreamPermit;
use crate::clock;
use crate::store::{Follower, MemberChange, News, StoreError, Told};
use crate::telemetry::causes;

/// How often a line is sent when nothing happens.
const BEAT: Duration = Duration::from_secs(15);
/// How often is asked for a caller of whose membership nothing is known: no change is told of such a one.
const LOOK: Duration = Duration::from_secs(1);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// A proxy that collects answers would keep the news to itself.
const UNBUFFERED: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

/// What an event of the change feed says
#[derive(Serialize, ToSchema)]
pub(super) struct Change<'a> {
    /// Clerk's id of the user.
    #[schema(example = "user_2h8op3Isl1QR7tKu5FGNfaLKEoU")]
    id: &'a str,
    change: Kind,
}

/// Whether it is listed now: new or changed, or not any more.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Upserted,
    Removed,
}

impl From<MemberChange> for Kind {
    fn from(change: MemberChange) -> Self {
        match change {
            MemberChange::Upserted => Self::Upserted,
            MemberChange::Removed => Self::Removed,
        }
    }
}

/// Who of the caller's organization changed, as it happens
///
/// Server-sent events without an end. Follow first, then read the list: whatever comes after is told. `event: member`
/// names a member that changed (`upserted`: read it again) or left (`removed`), some of them more than once.
/// `event: reset` says that something was missed: read the whole list again. A comment comes every 15 seconds. The
/// answer ends when the token does; come back with a new one and the last `id:` as `Last-Event-ID`.
#[utoipa::path(
    get, path = "/api/v1/changes", operation_id = "followChanges", tag = "changes",
    params(parameters::Changes),
    responses((
        status = 200, description = "The changes; `data` of each `member` is a `Change`",
        content_type = "text/event-stream", body = String,
        example = "id: 17\nevent: member\ndata: {\"id\":\"user_2h8op3Isl1QR7tKu5FGNfaLKEoU\",\"change\":\"upserted\"}\n\n",
    )),
    security(("bearer" = []), ("session" = [])),
)]
pub(super) async fn follow(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let taken = shared.streams.take(caller.user_id())?;
    let mut follower = caller.follow(&shared.api.store);
    let mut first = String::new();
    match last_event_id(&headers) {
        Sent::Nothing => id_line(&mut first, follower.version()),
        Sent::Version(version) if follower.resume(version).await? => {}
        _ => reset(&mut first, follower.version()),
    }
    let now = Instant::now();
    let stream = Stream {
        ends: now + until(caller.expires_at_ms()),
        beat: now + BEAT,
        // What was done since the caller was looked at is not told any more.
        look: now,
        first: Some(first).filter(|first| !first.is_empty()),
        caller,
        follower,
        shared,
        _permit: taken,
    };
    let texts = unfold(stream, async |mut stream| {
        let text = stream.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), stream))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store"), UNBUFFERED];
    Ok((headers, Body::from_stream(texts)).into_response())
}

/// What a client says that it heard last.
enum Sent {
    Nothing,
    Version(i64),
    /// No version of ours.
    Unknown,
}

fn last_event_id(headers: &HeaderMap) -> Sent {
    let mut lines = headers.get_all(LAST_EVENT_ID).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return if headers.contains_key(LAST_EVENT_ID) { Sent::Unknown } else { Sent::Nothing };
    };
    version(line).map_or(Sent::Unknown, Sent::Version)
}

fn version(line: &HeaderValue) -> Option<i64> {
    let text = line.to_str().ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// How long it is until then.
fn until(at_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(at_ms.saturating_sub(clock::now_ms())).unwrap_or_default())
}

/// One answer.
struct Stream {
    caller: Caller,
    follower: Follower,
    shared: Arc<Shared>,
    /// Said before anything else.
    first: Option<String>,
    ends: Instant,
    beat: Instant,
    look: Instant,
    _permit: StreamPermit,
}

/// Why the stream wakes up.
enum Woken {
    News,
    Look,
    End,
}

impl Stream {
    /// The next lines to send; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            match self.proceed().await {
                Ok(Some(text)) if text.is_empty() => {}
                Ok(text) => return text,
                Err(error) => {
                    // Who comes back is told that the store is away, or is served by another instance.
                    tracing::debug!(error = %causes(&error), "a feed was ended");
                    return None;
                }
            }
        }
    }

    /// Waits for something, and says it. `None` at the end.
    async fn proceed(&mut self) -> Result<Option<String>, StoreError> {
        let woken = self.wait().await?;
        // A machine that slept has slept through its timers.
        if matches!(woken, Woken::End) || until(self.caller.expires_at_ms()).is_zero() {
            return Ok(None);
        }
        let mut text = String::new();
        let is_look = matches!(woken, Woken::Look);
        let news = self.follower.take().await?;
        let (told, of_caller) = match news {
            News::Changes { told, of_follower } => (told, of_follower),
            News::Forgotten => {
                reset(&mut text, self.follower.version());
                (Vec::new(), true)
            }
        };
        if (is_look || of_caller) && !self.stands().await? {
            return Ok(None);
        }
        for told in told {
            member(&mut text, &told);
        }
        let now = Instant::now();
        if is_look && now >= self.beat {
            self.beat = now + BEAT;
            text.push_str(": nothing else is new\n");
            // Others have moved the version on. Whoever comes back later has less to go through.
            id_line(&mut text, self.follower.version());
        }
        Ok(Some(text))
    }

    async fn wait(&mut self) -> Result<Woken, StoreError> {
        let at = Instant::now();
        if at >= self.ends || self.shared.api.stop.is_cancelled() {
            return Ok(Woken::End);
        }
        if self.follower.is_behind() {
            return Ok(Woken::News);
        }
        Ok(tokio::select! {
            biased;
            () = self.shared.api.stop.cancelled() => Woken::End,
            () = sleep_until(self.ends) => Woken::End,
            () = sleep_until(self.beat.min(self.look)) => Woken::Look,
            changed = self.follower.changed() => { changed?; Woken::News }
        })
    }

    /// Whether the caller may still hear of this.
    async fn stands(&mut self) -> Result<bool, StoreError> {
        let Some(standing) = self.caller.standing(&self.shared).await? else { return Ok(false) };
        let now = Instant::now();
        self.look = if standing.membership.is_some() { now + BEAT } else { now + LOOK };
        Ok(true)
    }
}

/// Moves the place from which to go on, and is no event.
fn id_line(text: &mut String, version: i64) {
    let _ = write!(text, "id: {version}\n\n");
}

fn member(text: &mut String, told: &Told) {
    let change = Change { id: &told.user_id, change: told.change.into() };
    // A struct of two texts cannot fail to be written, and JSON has no line ends.
    let data = serde_json::to_string(&change).unwrap_or_default();
    let _ = write!(text, "id: {}\nevent: member\ndata: {data}\n\n", told.version);
}

/// With data, because browsers leave out events that have none.
fn reset(text: &mut String, version: i64) {
    let _ = write!(text, "id: {version}\nevent: reset\ndata: {{}}\n\n");
}
