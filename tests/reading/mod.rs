//! From a token to a list, over a real socket.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod fresh;
mod http;
mod invitations;
mod origins;
mod pages;
pub mod site;
