//! One thing that happened at Clerk.

use serde_json::{Value, json};

use super::shapes::Object;
use crate::replay::Message;

/// An event with its message id, as a webhook carries it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `svix-id`: the same however often it is delivered.
    pub message_id: String,
    /// Clerk's name of the event.
    pub event_type: String,
    /// The whole event: type, time, instance and `data`.
    pub envelope: Value,
}

impl Event {
    pub(super) fn new(
        message_id: String,
        event_type: &str,
        instance_id: &str,
        at_ms: i64,
        data: &Object,
    ) -> Self {
        let envelope = json!({
            "object": "event", "type": event_type, "timestamp": at_ms, "instance_id": instance_id,
            "event_attributes": {"http_request": {
                "client_ip": "192.0.2.10",
                "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            }},
            "data": data,
        });
        Self { message_id, event_type: event_type.to_owned(), envelope }
    }

    /// The id of the object that it is about: of the user that was made, the membership that ended.
    pub fn id(&self) -> &str {
        self.envelope.pointer("/data/id").and_then(Value::as_str).unwrap_or_default()
    }

    /// When it happened.
    pub fn at_ms(&self) -> i64 {
        self.envelope.get("timestamp").and_then(Value::as_i64).unwrap_or_default()
    }

    /// The event as it is posted.
    pub fn message(&self) -> Message {
        Message { id: self.message_id.clone(), body: self.envelope.to_string() }
    }
}
