//! From a signed POST to what callers see: `POST /webhooks/clerk`, over real sockets and a real file.

mod erasure;
mod hostile;
mod leniency;
mod outcomes;
mod payloads;
mod privacy;
mod shuffled;
mod signatures;
