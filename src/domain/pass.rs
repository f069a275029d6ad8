//! The passes of reconciliation.

use serde::{Deserialize, Serialize};

/// How far a pass looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PassKind {
    /// Everything, and what is gone.
    Full,
    /// What changed since the last completed pass.
    Incremental,
}

impl PassKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Full, Self::Incremental];

    /// The word for it, as in reports and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
        }
    }

    /// The kind with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// How a pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PassOutcome {
    /// It looked at everything that it had to.
    Completed,
    /// So did it, but more was gone than it may remove.
    Braked,
    /// It was told to stop; the next one resumes.
    Interrupted,
    /// Clerk or the store did not let it; the next one resumes.
    Failed,
}

impl PassOutcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Completed, Self::Braked, Self::Interrupted, Self::Failed];

    /// The word for it, as in reports and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Braked => "braked",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }

    /// The outcome with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}
