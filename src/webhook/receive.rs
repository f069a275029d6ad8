//! Answers one delivery.

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use secrecy::SecretString;
use serde_json::json;

use super::verify::Secrets;
use crate::api::problem::{Code, Problem};
use crate::clerk::event::{self, Decoded, Subject};
use crate::clock;
use crate::domain::{Change, Outcome};
use crate::reconcile::hydrate::Hydrator;
use crate::store::{Delivery, Store, StoreError};

/// Verifies deliveries, decodes them and hands them to the store.
#[derive(Debug)]
pub struct Receiver {
    store: Store,
    secrets: Secrets,
    instance_id: Option<String>,
    hydrator: Option<Hydrator>,
}

impl Receiver {
    /// The secrets have been checked by the configuration; without one every delivery is answered 503.
    /// With `instance_id`, events of another instance or of none are ignored.
    pub fn new(store: Store, secrets: &[SecretString], instance_id: Option<String>) -> anyhow::Result<Self> {
        Ok(Self { store, secrets: Secrets::new(secrets)?, instance_id, hydrator: None })
    }

    /// Leaves the users of new memberships with `hydrator`, in case their own events do not come.
    #[must_use]
    pub fn with_hydrator(mut self, hydrator: Option<Hydrator>) -> Self {
        self.hydrator = hydrator;
        self
    }

    /// Answers one delivery. The route has already bounded the body.
    pub async fn receive(&self, headers: &HeaderMap, body: &[u8]) -> Response {
        match self.outcome(headers, body).await {
            Ok(outcome) => Json(json!({ "outcome": outcome.as_str() })).into_response(),
            Err(problem) => problem.into_response(),
        }
    }

    async fn outcome(&self, headers: &HeaderMap, body: &[u8]) -> Result<Outcome, Problem> {
        if self.secrets.is_empty() {
            let detail = "No webhook secret is configured. Set CLERK_WEBHOOK_SIGNING_SECRET.";
            return Err(Problem::new(Code::Unavailable, detail));
        }
        let signed = self.secrets.verify(headers, body).map_err(|refused| {
            tracing::info!(reason = &refused as &dyn std::error::Error, "delivery refused");
            Problem::new(Code::Unauthorized, "The signature of this delivery is missing or wrong.")
        })?;
        let message_id = signed.message_id;
        match event::decode(body, signed.attempted_at_ms, self.instance_id.as_deref()) {
            Ok(Decoded::Event(event)) => {
                let event_type = event.subject.event_type;
                let member = match &event.change {
                    Change::Membership(membership) => Some(membership.content.user_id.clone()),
                    _ => None,
                };
                let delivery = delivery(message_id.clone(), event.subject);
                let outcome = self.store.deliver(delivery, vec![event.change]).await;
                let outcome = outcome.map_err(|error| not_written(&error))?;
                if let (Some(hydrator), Some(user_id)) = (&self.hydrator, member) {
                    hydrator.note(user_id);
                }
                tracing::info!(message_id, event_type, outcome = outcome.as_str(), "delivery");
                Ok(outcome)
            }
            Ok(Decoded::OtherType) => {
                tracing::debug!(message_id, "an event of a type that is not ours");
                Ok(Outcome::Ignored)
            }
            Ok(Decoded::OtherInstance(event_type)) => {
                tracing::info!(message_id, event_type, "an event of another instance");
                Ok(Outcome::Ignored)
            }
            Err(unusable) => {
                let reason = unusable.reason.to_string();
                let event_type = unusable.subject.as_ref().map_or("other", |subject| subject.event_type);
                tracing::warn!(message_id, event_type, reason, "delivery cannot be used");
                if let Some(subject) = unusable.subject {
                    let letter = delivery(message_id, *subject);
                    self.store.bury(letter, reason.clone()).await.map_err(|error| not_written(&error))?;
                }
                let detail = format!("The signature is right, but the event cannot be used: {reason}.");
                Err(Problem::new(Code::UnprocessableEvent, detail))
            }
        }
    }
}

fn delivery(message_id: String, subject: Subject) -> Delivery {
    Delivery {
        message_id,
        event_type: subject.event_type,
        object_id: subject.object_id,
        user_id: subject.user_id,
        occurred_at_ms: subject.occurred_at_ms,
        received_at_ms: clock::now_ms(),
        payload: subject.payload,
    }
}

/// The writer has logged what broke; a full queue is worth a line of its own.
fn not_written(error: &StoreError) -> Problem {
    if matches!(error, StoreError::Busy) {
        tracing::warn!("a delivery was turned away: too many writes are waiting");
    }
    Problem::new(Code::Unavailable, "The event cannot be stored at the moment. Send it again.")
}
