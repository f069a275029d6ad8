//! From a signed POST to what callers see: `POST /webhooks/clerk`, over real sockets and a real file.

mod contradictions;
mod erasure;
mod forged;
mod leniency;
mod outcomes;
pub mod payloads;
mod privacy;
mod read_your_write;
mod shuffled;
mod signatures;
mod unusable;
