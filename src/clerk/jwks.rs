//! The public keys of one issuer. (signatures first)
#![allow(unused_variables, clippy::unused_async, clippy::needless_pass_by_value)]

use crate::config::KeySource;

/// The key set: fresh for five minutes, fetched by one flight at a time.
#[derive(Debug)]
pub struct KeySet {}

impl KeySet {
    /// Prepares the key set; fetches nothing yet.
    pub fn new(source: KeySource) -> anyhow::Result<Self> {
        todo!()
    }
    /// Whether a usable key is known; tries to fetch the set when none is (within the cool-down).
    pub async fn is_available(&self) -> bool {
        todo!()
    }
}
