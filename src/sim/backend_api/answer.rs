//! What the API says, before anything goes wrong with it.

use std::time::Duration;

use serde_json::json;

/// An answer.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// A part of a list, each object as its JSON.
    List {
        items: Vec<String>,
        /// `None` for users, who come as a bare array.
        total_count: Option<usize>,
    },
    /// One object, as its JSON.
    One(String),
    /// No.
    Refused { status: u16, code: String, message: String, retry_after: Option<u64> },
}

impl Answer {
    pub(super) fn refused(status: u16, code: &str, message: &str) -> Self {
        Self::Refused { status, code: code.to_owned(), message: message.to_owned(), retry_after: None }
    }

    pub(super) fn wrong_key() -> Self {
        Self::refused(401, "clerk_key_invalid", "the provided Clerk Secret Key is invalid")
    }

    pub(super) fn not_found() -> Self {
        Self::refused(404, "resource_not_found", "not found")
    }

    pub(super) fn invalid(message: &str) -> Self {
        Self::refused(422, "form_param_value_invalid", message)
    }

    pub(super) fn too_many(wait: Duration) -> Self {
        Self::Refused {
            status: 429,
            code: "too_many_requests".to_owned(),
            message: "too many requests, retry later".to_owned(),
            retry_after: Some(wait.as_secs() + 1),
        }
    }

    pub(super) fn status(&self) -> u16 {
        match self {
            Self::List { .. } | Self::One(_) => 200,
            Self::Refused { status, .. } => *status,
        }
    }

    pub(super) fn body(&self) -> String {
        match self {
            Self::List { items, total_count: None } => format!("[{}]", items.join(",")),
            Self::List { items, total_count: Some(total) } => {
                format!(r#"{{"data":[{}],"total_count":{total}}}"#, items.join(","))
            }
            Self::One(object) => object.clone(),
            Self::Refused { code, message, .. } => {
                let error = json!({"message": message, "long_message": message, "code": code});
                json!({"errors": [error], "clerk_trace_id": "4a1c0000000000000000000000000000"}).to_string()
            }
        }
    }
}
