//! Fetches a key set: one bounded request, and a lenient look at the answer.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Client, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::key::Key;
use crate::clerk;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// From the first packet to the last byte of the answer: callers are waiting.
const TIMEOUT: Duration = Duration::from_secs(3);
const MAX_BYTES: usize = 1024 * 1024;

/// Why there is no key set.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no whole answer from the key set's address")]
    Http(#[source] reqwest::Error),
    #[error("the key set's address answered with status {0}")]
    Status(u16),
    #[error("the answer is larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("the answer is not a JSON object with an array `keys`")]
    Shape,
}

/// Where the set is, and the client that asks for it.
#[derive(Debug)]
pub(super) struct Fetcher {
    client: Client,
    url: Url,
    bearer: Option<SecretString>,
}

impl Fetcher {
    pub(super) fn new(url: &str, bearer: Option<SecretString>) -> anyhow::Result<Self> {
        let url = Url::parse(url).context(
            "the key set's address is not a URL; set CLERK_JWKS_URL to one, for example \
             https://clerk.example.com/.well-known/jwks.json",
        )?;
        let client = clerk::http_client(&url)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .build()
            .context("could not prepare the HTTP client")?;
        Ok(Self { client, url, bearer })
    }

    /// Asks once. Entries that we cannot use are left out; there may be none left.
    pub(super) async fn fetch(&self) -> Result<Vec<Key>, FetchError> {
        let mut request = self.client.get(self.url.clone());
        if let Some(bearer) = &self.bearer {
            request = request.bearer_auth(bearer.expose_secret());
        }
        let http = |error: reqwest::Error| FetchError::Http(error.without_url());
        let mut response = request.send().await.map_err(http)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(http)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        usable_keys(&body).ok_or(FetchError::Shape)
    }
}

fn usable_keys(body: &[u8]) -> Option<Vec<Key>> {
    let document: Value = serde_json::from_slice(body).ok()?;
    let entries = document.get("keys")?.as_array()?;
    Some(entries.iter().filter_map(Key::from_jwk).collect())
}
