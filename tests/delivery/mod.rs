//! From a signed POST to what callers see: `POST /webhooks/clerk`, over real sockets and a real file.

mod hostile;
mod leniency;
mod outcomes;
mod payloads;
mod signatures;
