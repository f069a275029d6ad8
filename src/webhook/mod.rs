//! Takes Clerk's webhooks: bytes, verify, decode, store, and only then an answer.
//!
//! Svix retries every answer that is not 2xx, and forgets every event that got one. So a 2xx is sent when
//! the event is durable, or when it is none of ours, and never else.

mod receive;
mod retry;
mod tally;
mod verify;

pub use receive::{ReceiveError, Receiver};
pub use retry::{Retried, retry};
pub use tally::count_unread;
pub use verify::Refused;
