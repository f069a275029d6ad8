//! Takes Clerk's webhooks. (signatures first)
#![allow(unused_variables, clippy::unused_async, clippy::needless_pass_by_value)]

use axum::http::HeaderMap;
use axum::response::Response;
use secrecy::SecretString;

use crate::store::Store;

/// Verifies deliveries, decodes them and hands them to the store.
#[derive(Debug)]
pub struct Receiver {}

impl Receiver {
    /// The secrets have been checked by the configuration; without one every delivery is answered 503.
    pub fn new(store: Store, secrets: &[SecretString], instance_id: Option<String>) -> anyhow::Result<Self> {
        todo!()
    }
    /// Answers one delivery. The route has already bounded the body at 1 MiB.
    pub async fn receive(&self, headers: &HeaderMap, body: &[u8]) -> Response {
        todo!()
    }
}
