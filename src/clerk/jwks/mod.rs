//! The public keys of one issuer.
//!
//! Either one key from the configuration, which needs no network, or a key set that is fetched. Each issuer
//! has its own `KeySet`: keys shared between two instances would let the tokens of one pass for the other's.

mod fetch;
mod key;
mod remote;

use std::sync::Arc;

use anyhow::Context as _;

use self::fetch::Fetcher;
use self::key::{Key, Verdict};
use self::remote::Remote;
use super::session_token::TokenError;
use crate::clock;
use crate::config::KeySource;

pub(super) use self::key::{Signed, rsa_algorithm};

/// Which keys a token was checked with: a set that was fetched anew is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Revision(u64);

/// The key from the configuration never changes.
const CONFIGURED: Revision = Revision(0);

/// The key set: fresh for five minutes, fetched by one flight at a time.
#[derive(Debug)]
pub struct KeySet {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Pem(Box<Key>),
    Remote(Arc<Remote>),
    None,
}

impl KeySet {
    /// Prepares the key set; fetches nothing yet.
    pub fn new(source: KeySource) -> anyhow::Result<Self> {
        let source = match source {
            KeySource::Pem(pem) => Source::Pem(Box::new(Key::from_pem(&pem).context(
                "CLERK_JWT_KEY is not an RSA public key of 2048 to 8192 bits in PEM form \
                 (-----BEGIN PUBLIC KEY-----); copy it again from the dashboard, API keys, JWKS public key",
            )?)),
            KeySource::Jwks { url, bearer } => {
                Source::Remote(Arc::new(Remote::new(Fetcher::new(&url, bearer)?)))
            }
            KeySource::None => Source::None,
        };
        Ok(Self { source })
    }

    /// Whether a usable key is known; tries to fetch the set when none is (within the cool-down).
    pub async fn is_available(&self) -> bool {
        self.is_available_at(clock::now_ms()).await
    }

    /// [`Self::is_available`] at a given moment.
    pub async fn is_available_at(&self, now_ms: i64) -> bool {
        match &self.source {
            Source::Pem(_) => true,
            Source::Remote(remote) => remote.is_available(now_ms).await,
            Source::None => false,
        }
    }

    /// The keys that are known, when they need not be fetched before they are used.
    pub(super) fn fresh_revision(&self, now_ms: i64) -> Option<Revision> {
        match &self.source {
            Source::Pem(_) => Some(CONFIGURED),
            Source::Remote(remote) => remote.fresh_revision(now_ms),
            Source::None => None,
        }
    }

    /// Asks for the set once, and tells the ids of its usable keys, or why there are none. For whoever looks
    /// for what is wrong; a key of the configuration has no id.
    pub async fn probe(source: KeySource) -> anyhow::Result<Vec<String>> {
        let KeySource::Jwks { url, bearer } = source else {
            return Self::new(source).map(|_| Vec::new());
        };
        let keys = Fetcher::new(&url, bearer)?.fetch().await?;
        Ok(keys.iter().filter_map(Key::id).map(str::to_owned).collect())
    }

    /// Checks a signature, and nothing else. Answers with which keys.
    pub(super) async fn verify(&self, signed: &Signed<'_>, now_ms: i64) -> Result<Revision, TokenError> {
        match &self.source {
            Source::Pem(key) => match key.check(signed) {
                Verdict::Good => Ok(CONFIGURED),
                verdict => Err(TokenError::Refused(verdict.reason())),
            },
            Source::Remote(remote) => remote.verify(signed, now_ms).await,
            Source::None => Err(TokenError::KeysUnavailable),
        }
    }
}
