//! What the console sees: server-sent events, and a look further back into the journal.
//!
//! The journal and the passes also change by other processes, so the database is asked every second, and
//! only what is new is sent. A look shows the newest events and no more, so a reader who is slow, or away for a
//! while, costs nothing.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::Uri;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde::Serialize;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::console::Serving;
use crate::api::problem::{Code, Problem};
use crate::clock;
use crate::domain::time::iso8601;
use crate::reconcile::{history, last_success_ms};
use crate::store::{EventCursor, EventFilter, StoreError, StoredEvent};
use crate::telemetry::causes;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// How many events, dead letters and passes a look shows.
const EVENTS: usize = 100;
const DEAD_LETTERS: usize = 50;
const PASSES: i64 = 60;

/// `GET /console/stream`
pub(super) async fn watch(State(serving): State<Arc<Serving>>) -> Response {
    let Ok(permit) = Arc::clone(&serving.watchers).try_acquire_owned() else {
        return Problem::new(Code::Unavailable, "Too many consoles watch already; close one.")
            .into_response();
    };
    let watcher =
        Watcher { serving, _permit: permit, is_new: true, events: HashMap::new(), sent: HashMap::new() };
    let looks = unfold(watcher, async |mut watcher| {
        let is_new = std::mem::replace(&mut watcher.is_new, false);
        if !is_new {
            // The end of the service is the end of the stream.
            watcher.serving.stop.run_until_cancelled(tokio::time::sleep(LOOK)).await?;
        }
        let text = watcher.look().await;
        Some((Ok::<_, Infallible>(Bytes::from(text)), watcher))
    });
    // A proxy that collects answers would keep the news to itself.
    let unbuffered = (HeaderName::from_static("x-accel-buffering"), "no");
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store"), unbuffered];
    (headers, Body::from_stream(looks)).into_response()
}

/// One page that watches.
struct Watcher {
    serving: Arc<Serving>,
    _permit: OwnedSemaphorePermit,
    is_new: bool,
    /// The events of the last look.
    events: HashMap<String, StoredEvent>,
    /// What was last sent of the rest, by name.
    sent: HashMap<&'static str, String>,
}

impl Watcher {
    /// What has changed since the last look, as server-sent events.
    async fn look(&mut self) -> String {
        let mut text = String::new();
        match self.all(&mut text).await {
            Ok(()) => self.sent.remove("trouble"),
            Err(error) => {
                tracing::debug!(error = %causes(&error), "the console sees nothing");
                self.send(&mut text, "trouble", &"The database cannot be read now.");
                None
            }
        };
        if text.is_empty() {
            // So that a page whose line has gone dead can tell.
            text.push_str(": nothing new\n\n");
        }
        text
    }

    async fn all(&mut self, text: &mut String) -> Result<(), StoreError> {
        let serving = Arc::clone(&self.serving);
        let console = &serving.console;
        let (store, now_ms) = (&console.store, clock::now_ms());
        let status = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "asOf": store.as_of_ms().map(iso8601),
            "lastEventAt": store.last_arrival_ms().await?.map(iso8601),
            "lastPassAt": last_success_ms(store).await?.map(iso8601),
            "deadLetters": store.dead_letters().await?,
            "filling": console.gate.is_closed(),
            "passes": console.trigger.is_some(),
            "actions": console.token.is_some(),
        });
        if self.send(text, "status", &status) {
            // The page shows how long ago things were, by our clock.
            let _ = write!(text, "event: clock\ndata: {now_ms}\n\n");
        }
        self.send(text, "passes", &history(store, PASSES, now_ms).await?);
        let dead = EventFilter { outcome: Some("dead".to_owned()), ..EventFilter::default() };
        self.send(text, "dead", &store.events(&dead, &EventCursor::end(), DEAD_LETTERS).await?);
        let newest = store.events(&EventFilter::default(), &EventCursor::end(), EVENTS).await?;
        let new: Vec<_> =
            newest.iter().filter(|event| self.events.get(&event.message_id) != Some(event)).collect();
        if !new.is_empty() {
            push(text, "events", &new);
        }
        self.events = newest.into_iter().map(|event| (event.message_id.clone(), event)).collect();
        Ok(())
    }

    /// Sends something unless it is what was sent last. True when it was sent.
    fn send(&mut self, text: &mut String, name: &'static str, content: &impl Serialize) -> bool {
        let mut message = String::new();
        push(&mut message, name, content);
        if self.sent.get(name) == Some(&message) {
            return false;
        }
        text.push_str(&message);
        self.sent.insert(name, message);
        true
    }
}

fn push(text: &mut String, name: &str, content: &impl Serialize) {
    // Plain structs with text keys: writing them cannot fail, and JSON has no line ends.
    let content = serde_json::to_string(content).unwrap_or_default();
    let _ = write!(text, "event: {name}\ndata: {content}\n\n");
}

/// `GET /console/events`, with `outcome`, `type` and `subject`
pub(super) async fn events(State(serving): State<Arc<Serving>>, uri: Uri) -> Result<Response, Problem> {
    let mut filter = EventFilter::default();
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        let value = Some(value.into_owned()).filter(|value| !value.is_empty());
        match &*name {
            "outcome" => filter.outcome = value,
            "type" => filter.event_type = value,
            "subject" => filter.subject = value,
            _ => {}
        }
    }
    let events = serving.console.store.events(&filter, &EventCursor::end(), EVENTS).await?;
    Ok(Json(json!({ "events": events })).into_response())
}
