//! Which session tokens are accepted, and what the key set does when Clerk is slow, away, or rotates its key.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is a failed test")]

mod clerk;
mod good;
mod hostile;
mod hostile_bytes;
mod hostile_claims;
mod key_set;
mod key_set_faults;
mod make;
mod remembered;
