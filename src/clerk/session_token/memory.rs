//! Tokens that were found good, so that a page that calls ten times pays for one RSA check.
//!
//! What is remembered is what a token says, under the digest of the token: never the token itself, and never
//! that its bearer may do something. Times are looked at on every use. A key set that was fetched anew begins a
//! new memory, and one that is due to be fetched is asked first: a key that was taken back is found out as
//! soon as without the memory. Only what was accepted is remembered.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use moka::sync::Cache;

use super::Claims;
use super::claims::Times;
use crate::clerk::jwks::Revision;

/// Several megabytes, and more people than ask within a token's minute.
const MOST: u64 = 32 * 1024;
/// Tokens of Clerk live for a minute. One that lives longer is checked again after this.
const KEPT: Duration = Duration::from_mins(5);

type Digest = [u8; 32];

/// The accepted tokens.
#[derive(Debug)]
pub(super) struct Memory(Cache<Digest, Arc<Remembered>>);

/// What an accepted token says.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) claims: Arc<Claims>,
    pub(super) times: Times,
    /// The keys that it was checked with.
    pub(super) revision: Revision,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(MOST).time_to_live(KEPT).build())
    }

    pub(super) fn recall(&self, digest: &Digest) -> Option<Arc<Remembered>> {
        self.0.get(digest)
    }

    pub(super) fn remember(&self, digest: Digest, token: Remembered) {
        self.0.insert(digest, Arc::new(token));
    }
}

/// The name that a token is remembered under.
pub(super) fn digest(token: &str) -> Option<Digest> {
    digest::digest(&digest::SHA256, token.as_bytes()).as_ref().try_into().ok()
}
