//! Tries a dead letter again, from what the journal has kept of it.
//!
//! The stripped event decodes to what the whole one did, so this helps after an update of this program that
//! understands more. It goes through the door that deliveries take, under the message's own id.

use super::receive::delivery;
use crate::clerk::event::{self, Decoded};
use crate::domain::Outcome;
use crate::reconcile::hydrate::Hydrator;
use crate::store::{Store, StoreError, StoredEvent};

/// What became of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retried {
    /// It was understood.
    Taken(Outcome),
    /// It still cannot be used; the reason is that of today.
    StillDead(String),
    /// It is of another instance than the configured one.
    OtherInstance,
    /// Nothing of it was kept, because it named nobody, or it was erased.
    NothingKept,
}

impl Retried {
    /// Whether the letter is settled.
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Taken(_))
    }

    /// The word for it, as an outcome.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Taken(outcome) => outcome.as_str(),
            Self::StillDead(_) | Self::NothingKept => "dead",
            Self::OtherInstance => "ignored",
        }
    }

    /// Why it is not settled, and what to do about it.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Taken(_) => None,
            Self::StillDead(reason) => Some(reason.clone()),
            Self::OtherInstance => Some("it is of another Clerk instance than CLERK_INSTANCE_ID".to_owned()),
            Self::NothingKept => Some(
                "nothing of it was kept; send it again from Clerk's dashboard (Webhooks, your endpoint, Resend)"
                    .to_owned(),
            ),
        }
    }
}

/// Tries an event of the journal again. One that was applied, or stale, before is a duplicate. The user of a membership is
/// left with `hydrator`, as that of a delivery is.
pub async fn retry(
    store: &Store,
    stored: &StoredEvent,
    instance_id: Option<&str>,
    hydrator: Option<&Hydrator>,
) -> Result<Retried, StoreError> {
    if !stored.is_dead() {
        return Ok(Retried::Taken(Outcome::Duplicate));
    }
    let Some(payload) = store.event_payload(&stored.message_id).await? else {
        return Ok(Retried::NothingKept);
    };
    // The time of the attempt was not kept; it came in at about that time.
    let decoded = event::decode(payload.as_bytes(), stored.received_at_ms, instance_id);
    let (message_id, event_type) = (&stored.message_id, &stored.event_type);
    let again = |subject| delivery(message_id.clone(), subject, stored.received_at_ms);
    let retried = match decoded {
        Ok(Decoded::Event(event)) => {
            let member = event.change.member().cloned();
            let outcome = store.deliver(again(event.subject), vec![event.change]).await?;
            if let (Some(hydrator), Some(user_id)) = (hydrator, member) {
                hydrator.note(user_id);
            }
            Retried::Taken(outcome)
        }
        Ok(Decoded::OtherInstance(_)) => Retried::OtherInstance,
        Ok(Decoded::OtherType) => Retried::StillDead("its type is none of ours".to_owned()),
        Err(unusable) => {
            let reason = unusable.reason.to_string();
            if let Some(subject) = unusable.subject
                && let Some(outcome) = store.bury(again(*subject), reason.clone()).await?
            {
                return Ok(Retried::Taken(outcome));
            }
            Retried::StillDead(reason)
        }
    };
    tracing::info!(message_id, event_type, outcome = retried.as_str(), "a dead letter was tried again");
    Ok(retried)
}
