//! All we know of Clerk's wire: events, objects, the Backend API, key sets, session tokens.
//!
//! What we do not need never gets past this room: decoding picks an allow-list of fields, and the journal's
//! copy of an event is stripped to the same list.

use reqwest::{ClientBuilder, Url, redirect};

use crate::config;

pub mod backend_api;
pub mod event;
mod fields;
pub mod jwks;
pub mod object;
pub mod session_token;
mod strip;

/// How Clerk is asked, at the configured address and nowhere else: the secret key goes there, and session tokens are
/// believed by what comes from there.
fn http_client(url: &Url) -> ClientBuilder {
    let client = ClientBuilder::new()
        .redirect(redirect::Policy::none())
        .user_agent(concat!("roster/", env!("CARGO_PKG_VERSION")));
    // What runs on this machine is not behind its proxy.
    if config::is_loopback(url) { client.no_proxy() } else { client }
}
