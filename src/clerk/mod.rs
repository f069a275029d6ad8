//! All we know of Clerk's wire: events, key sets, session tokens.

pub mod event;
pub mod jwks;
pub mod session_token;
