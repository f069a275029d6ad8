//! Takes one delivery from its bytes to its outcome.

use axum::http::HeaderMap;
use secrecy::SecretString;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, trace_span};

use super::tally::{Tally, outcome};
use super::verify::{Refused, Secrets};
use crate::clerk::event::{self, Decoded, Reason, Subject};
use crate::clock;
use crate::domain::Outcome;
use crate::reconcile::hydrate::Hydrator;
use crate::store::{Delivery, Store, StoreError};

/// Why a delivery was not taken. The sender tries again whatever the reason, so a type that is not ours is
/// no error: it is acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// There is no secret to check it with.
    #[error("no webhook secret is configured; set CLERK_WEBHOOK_SIGNING_SECRET")]
    NoSecret,
    /// It is not from Clerk.
    #[error("the signature is refused")]
    Signature(#[source] Refused),
    /// It is, but says nothing that can be used.
    #[error("the event cannot be used")]
    Unusable(#[source] Reason),
    /// It could not be stored; nothing was recorded.
    #[error("the event could not be stored")]
    Store(#[from] StoreError),
}

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

    /// Takes one delivery; the answer comes when its effect is durable. The caller has bounded the body.
    pub async fn receive(&self, headers: &HeaderMap, body: &[u8]) -> Result<Outcome, ReceiveError> {
        let mut tally = Tally::start();
        let span = trace_span!("delivery", message_id = Empty, event_type = Empty, outcome = Empty);
        let answer = self.take(headers, body, &mut tally).instrument(span.clone()).await;
        span.record("outcome", outcome(&answer));
        tally.end(&answer);
        answer
    }

    async fn take(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        tally: &mut Tally,
    ) -> Result<Outcome, ReceiveError> {
        if self.secrets.is_empty() {
            return Err(ReceiveError::NoSecret);
        }
        let signed = trace_span!("verify").in_scope(|| self.secrets.verify(headers, body));
        let signed = signed.map_err(ReceiveError::Signature)?;
        Tally::record_arrival(clock::now_ms());
        let message_id = signed.message_id;
        let span = Span::current();
        match event::decode(body, signed.attempted_at_ms, self.instance_id.as_deref()) {
            Ok(Decoded::Event(event)) => {
                let event_type = event.subject.event_type;
                let occurred_at_ms = event.subject.occurred_at_ms;
                tally.set_type(event_type);
                span.record("event_type", event_type).record("message_id", &message_id);
                let member = event.change.member().cloned();
                let delivery = delivery(message_id.clone(), event.subject, clock::now_ms());
                let outcome =
                    self.store.deliver(delivery, vec![event.change]).instrument(trace_span!("apply")).await?;
                if let (Some(hydrator), Some(user_id)) = (&self.hydrator, member) {
                    hydrator.note(user_id);
                }
                if outcome == Outcome::Applied {
                    Tally::record_lag(occurred_at_ms, clock::now_ms());
                }
                tracing::info!(message_id, event_type, outcome = outcome.as_str(), "delivery");
                Ok(outcome)
            }
            Ok(Decoded::OtherType) => {
                tracing::debug!(message_id, "an event of a type that is not ours");
                Ok(Outcome::Ignored)
            }
            Ok(Decoded::OtherInstance(event_type)) => {
                tally.set_type(event_type);
                tracing::info!(message_id, event_type, "an event of another instance");
                Ok(Outcome::Ignored)
            }
            Err(unusable) => {
                let event_type = unusable.subject.as_ref().map_or("other", |subject| subject.event_type);
                let reason = &unusable.reason;
                tracing::warn!(
                    message_id,
                    event_type,
                    %reason,
                    "a delivery cannot be used; `roster events list --outcome dead` lists those that are kept"
                );
                if let Some(subject) = unusable.subject {
                    tally.set_type(subject.event_type);
                    let letter = delivery(message_id, *subject, clock::now_ms());
                    if let Some(outcome) = self.store.bury(letter, unusable.reason.to_string()).await? {
                        return Ok(outcome);
                    }
                }
                Err(ReceiveError::Unusable(unusable.reason))
            }
        }
    }
}

pub(super) fn delivery(message_id: String, subject: Subject, received_at_ms: i64) -> Delivery {
    Delivery {
        message_id,
        event_type: subject.event_type,
        object_id: subject.object_id,
        user_id: subject.user_id,
        occurred_at_ms: subject.occurred_at_ms,
        received_at_ms,
        payload: subject.payload,
    }
}
