//! The sending side of a webhook: events from files, signed and posted as Clerk's sender would.
//!
//! `roster replay` brings a service up to date with it; the simulated Clerk delivers through the same door,
//! so what the tests prove is what operators use.

pub mod files;
pub mod post;
pub mod send;

use serde_json::Value;

/// One event, ready to be posted: the same id means the same message to the receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `svix-id`
    pub id: String,
    /// The event, as JSON text.
    pub body: String,
}

impl Message {
    /// A message whose id comes from its content, so that sending it again is a duplicate.
    pub fn from_content(body: impl Into<String>) -> Self {
        let body = body.into();
        Self { id: content_id(&body), body }
    }

    /// A message that the receiver has not seen before, whatever it says.
    pub fn with_new_id(body: impl Into<String>) -> anyhow::Result<Self> {
        let mut bytes = [0; 20];
        aws_lc_rs::rand::fill(&mut bytes)?;
        Ok(Self { id: format!("msg_{}", hex(&bytes)), body: body.into() })
    }
}

/// White space and the order of keys do not make another event.
fn content_id(body: &str) -> String {
    let canonical =
        serde_json::from_str::<Value>(body).map_or_else(|_| body.to_owned(), |json| json.to_string());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, canonical.as_bytes());
    format!("msg_{}", hex(digest.as_ref()))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_comes_from_the_content_not_from_its_layout() {
        let compact = Message::from_content(r#"{"a":1,"b":[2]}"#);
        let pretty = Message::from_content("{\n  \"b\": [2],\n  \"a\": 1\n}");
        let other = Message::from_content(r#"{"a":1,"b":[3]}"#);
        assert_eq!(compact.id, pretty.id);
        assert_ne!(compact.id, other.id);
        assert_eq!(compact.id.len(), "msg_".len() + 64);
    }

    #[test]
    fn a_new_id_is_new_each_time() {
        assert_ne!(Message::with_new_id("{}").unwrap().id, Message::with_new_id("{}").unwrap().id);
    }
}
