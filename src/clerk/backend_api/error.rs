//! Why Clerk gave no answer that can be used, by what can be done about it.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

/// The longest message of Clerk's that is passed on, in characters.
const LONGEST_MESSAGE: usize = 300;

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The key is not one of Clerk's, or was revoked.
    #[error(
        "Clerk refuses the secret key: set CLERK_SECRET_KEY to a key from the API keys page of your Clerk dashboard"
    )]
    WrongKey,
    /// Organizations, or the plan for them, are off. This says nothing about what exists.
    #[error(
        "Clerk answers with status {status} where organizations are asked for: \
         switch organizations on in the Clerk dashboard, and check that the plan includes them"
    )]
    FeatureOff {
        /// 402, 403 or 404.
        status: u16,
    },
    /// Clerk kept saying that it was asked too often.
    #[error(
        "Clerk says that it is asked too often{}: lower ROSTER_CLERK_RATE, \
         or find out what else uses up the rate limit of this instance",
        .retry_after.map_or(String::new(), |wait| format!(", and wants to be left alone for {} s", wait.as_secs()))
    )]
    RateLimited {
        /// How long Clerk wants to be left alone, when it said so.
        retry_after: Option<Duration>,
    },
    /// No whole answer, or a server error, however often it was tried.
    #[error(
        "Clerk's API is not answering ({what}): check the network, CLERK_API_URL and https://status.clerk.com; \
         what was fetched before stays"
    )]
    Down {
        /// What happened at the last try.
        what: String,
        /// The cause, when there was no answer.
        #[source]
        source: Option<reqwest::Error>,
    },
    /// An answer that is not Clerk's JSON, however often it was tried.
    #[error(
        "the answer is not what Clerk documents ({what}): check that CLERK_API_URL is the address of Clerk's \
         Backend API, and that nothing on the way changes its answers"
    )]
    Garbage {
        /// What is wrong with it; nothing of its content.
        what: String,
    },
    /// Another refusal. Asking again would not help.
    #[error("Clerk refuses the request with status {status} ({code}): {message}")]
    Refused {
        /// The status.
        status: u16,
        /// Clerk's code, or `unknown`.
        code: String,
        /// Clerk's message, cut short.
        message: String,
    },
}

impl ApiError {
    pub(super) fn garbage(what: impl Into<String>) -> Self {
        Self::Garbage { what: what.into() }
    }
}

/// One of the errors in the body of a refusal.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    pub(super) code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    long_message: String,
}

impl Refusal {
    /// Reads the body of a refusal; `None` when Clerk did not write it.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Body {
            errors: Vec<Refusal>,
        }
        let body: Body = serde_json::from_slice(body).ok()?;
        Some(body.errors.into_iter().next().unwrap_or_default())
    }

    /// The refusal as it may be shown and logged.
    pub(super) fn into_error(self, status: u16, key: &SecretString) -> ApiError {
        let message = if self.long_message.is_empty() { self.message } else { self.long_message };
        let shown = |text: String, otherwise: &str| {
            let text = text.replace(key.expose_secret(), "…");
            let text: String = text.chars().filter(|c| !c.is_control()).take(LONGEST_MESSAGE).collect();
            if text.is_empty() { otherwise.to_owned() } else { text }
        };
        let code = shown(self.code, "unknown");
        ApiError::Refused { status, code, message: shown(message, "it does not say why") }
    }
}
