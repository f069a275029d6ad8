//! What became of an event.

use serde::Serialize;
use utoipa::ToSchema;

/// What became of an event that was accepted. The names are those of the webhook's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The read model changed.
    Applied,
    /// Older than what is known; recorded.
    Stale,
    /// This message was applied, or stale, before.
    Duplicate,
    /// A type or an instance that is not ours; nothing is recorded.
    Ignored,
}

impl Outcome {
    /// The word for it, as in answers, the journal and the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Stale => "stale",
            Self::Duplicate => "duplicate",
            Self::Ignored => "ignored",
        }
    }
}
