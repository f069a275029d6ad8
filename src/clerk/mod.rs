//! All we know of Clerk's wire: events, objects, the Backend API, key sets, session tokens.
//!
//! What we do not need never gets past this room: decoding picks an allow-list of fields, and the journal's
//! copy of an event is stripped to the same list.

pub mod backend_api;
pub mod event;
mod fields;
pub mod jwks;
pub mod object;
pub mod session_token;
mod strip;
