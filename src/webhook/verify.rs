//! Is this delivery from Clerk? Asked of the raw bytes, before anything reads them.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use svix::webhooks::{Webhook, WebhookError};

/// A delivery whose signature is right.
pub(super) struct Signed {
    /// The same on every retry.
    pub(super) message_id: String,
    /// When this attempt was signed, in Unix milliseconds.
    pub(super) attempted_at_ms: i64,
}

/// Why a delivery is refused. For the log; the sender is told nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// One of the three headers.
    #[error("a signature header is missing or cannot be read")]
    Headers,
    /// The time of the signature.
    #[error(
        "it was signed more than five minutes ago or ahead: check the clock, unless it was sent again by hand"
    )]
    Time(#[source] WebhookError),
    /// The signature.
    #[error("no configured secret made the signature")]
    Signature(#[source] WebhookError),
}

/// The configured secrets. Every one of them is valid, so that they can be rotated.
#[derive(Debug)]
pub(super) struct Secrets(Vec<Secret>);

#[derive(Debug)]
struct Secret {
    webhook: Webhook,
    /// For bodies that are not UTF-8, which the library cannot check.
    key: hmac::Key,
}

impl Secrets {
    pub(super) fn new(secrets: &[SecretString]) -> anyhow::Result<Self> {
        let secret = |secret: &SecretString| {
            let text = secret.expose_secret();
            let key = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text))?;
            let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
            Ok(Secret { webhook: Webhook::new(text)?, key })
        };
        secrets.iter().map(secret).collect::<anyhow::Result<_>>().map(Self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks a delivery against every secret: `svix-*` or `webhook-*` headers, at most 300 s old or early.
    pub(super) fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<Signed, Refused> {
        let header = |svix: &str, unbranded: &str| {
            let value = headers.get(svix).or_else(|| headers.get(unbranded)).ok_or(Refused::Headers)?;
            value.to_str().ok().filter(|text| !text.is_empty()).ok_or(Refused::Headers)
        };
        let message_id = header("svix-id", "webhook-id")?;
        let timestamp = header("svix-timestamp", "webhook-timestamp")?;
        let attempted_at_ms = timestamp.parse::<i64>().map_err(|_| Refused::Headers)?.saturating_mul(1_000);
        let mut refused = Refused::Headers;
        for secret in &self.0 {
            let verdict = match secret.webhook.verify(body, headers) {
                Err(WebhookError::InvalidPayload) => {
                    let signatures = header("svix-signature", "webhook-signature")?;
                    secret.verify_bytes(message_id, timestamp, body, signatures)
                }
                verdict => verdict,
            };
            match verdict {
                Ok(()) => return Ok(Signed { message_id: message_id.to_owned(), attempted_at_ms }),
                Err(error @ (WebhookError::TimestampTooOldError | WebhookError::FutureTimestampError)) => {
                    return Err(Refused::Time(error));
                }
                Err(error) => refused = Refused::Signature(error),
            }
        }
        Err(refused)
    }
}

impl Secret {
    /// The check of a body that is not UTF-8. The library has looked at the headers and their time before
    /// it gave up on the body. Such a body is of no use, but it deserves the answer of one that was signed.
    fn verify_bytes(
        &self,
        message_id: &str,
        timestamp: &str,
        body: &[u8],
        signatures: &str,
    ) -> Result<(), WebhookError> {
        // Made once, however many signatures the header claims.
        let mut tag = hmac::Context::with_key(&self.key);
        for part in [message_id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            tag.update(part);
        }
        let tag = tag.sign();
        let is_ours = |signature: &str| {
            let signature = signature.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
            signature.is_some_and(|made| verify_slices_are_equal(tag.as_ref(), &made).is_ok())
        };
        if signatures.split(' ').any(is_ours) { Ok(()) } else { Err(WebhookError::InvalidSignature) }
    }
}
