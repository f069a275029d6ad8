//! Counts what became of each delivery.

use metrics::{counter, gauge, histogram};
use tokio::time::Instant;

use super::ReceiveError;
use crate::domain::Outcome;
use crate::domain::time::seconds;

/// The type of what is not ours, or not known.
const OTHER: &str = "other";

/// One delivery, counted when it is dropped. Without a word to the contrary it has failed: whoever sent it
/// went away before it was answered, and will send it again.
pub(super) struct Tally {
    started: Instant,
    event_type: &'static str,
    outcome: &'static str,
}

impl Tally {
    pub(super) fn start() -> Self {
        Self { started: Instant::now(), event_type: OTHER, outcome: "failed" }
    }

    /// Its signature is right.
    pub(super) fn record_arrival(received_at_ms: i64) {
        gauge!("roster_last_event_timestamp_seconds").set(seconds(received_at_ms));
    }

    /// It is of one of our types.
    pub(super) fn set_type(&mut self, event_type: &'static str) {
        self.event_type = event_type;
    }

    /// It has changed the read model. An event from the future has no lag.
    pub(super) fn record_lag(occurred_at_ms: Option<i64>, now_ms: i64) {
        if let Some(occurred_at_ms) = occurred_at_ms {
            histogram!("roster_event_lag_seconds").record(seconds(now_ms.saturating_sub(occurred_at_ms)));
        }
    }

    /// This is its answer.
    pub(super) fn end(mut self, answer: &Result<Outcome, ReceiveError>) {
        self.outcome = outcome(answer);
    }
}

/// The word for an answer, in metrics and spans.
pub(super) fn outcome(answer: &Result<Outcome, ReceiveError>) -> &'static str {
    match answer {
        Ok(outcome) => outcome.as_str(),
        Err(ReceiveError::Signature(_)) => "rejected",
        Err(ReceiveError::Unusable(_)) => "dead",
        Err(ReceiveError::NoSecret | ReceiveError::Store(_)) => "failed",
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        count(self.event_type, self.outcome);
        histogram!("roster_webhook_seconds").record(self.started.elapsed());
    }
}

/// Counts a delivery whose body was not taken, so that it never came to be looked at: it was wrong, or it `may_pass`
/// the next time.
pub fn count_unread(may_pass: bool) {
    count(OTHER, if may_pass { "failed" } else { "rejected" });
}

fn count(event_type: &'static str, outcome: &'static str) {
    counter!("roster_webhook_events_total", "type" => event_type, "outcome" => outcome).increment(1);
}
