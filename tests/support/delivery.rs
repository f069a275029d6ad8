//! One POST as Clerk's sender makes it, until a test spoils it.
//!
//! The signature is made here from its description and not by the library that checks it.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roster::clock;
use roster::sim::Event;

/// The secret that every site knows, unless its test says otherwise.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A message id, a moment and a body, signed.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Delivery {
    /// A good one, signed just now.
    pub fn new(id: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::signed(SECRET, id, now_s(), body)
    }

    pub fn of(event: &Event) -> Self {
        Self::new(&event.message_id, event.envelope.to_string())
    }

    /// Signed with another secret, or at another moment.
    pub fn signed(secret: &str, id: &str, at_s: i64, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let signature = sign(secret, id.as_bytes(), &at_s.to_string(), &body);
        let headers =
            [("svix-id", id), ("svix-timestamp", &at_s.to_string()), ("svix-signature", &signature)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        Self { headers: headers.to_vec(), body }
    }

    /// Says something else in a header.
    pub fn with(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    /// Under the names of Standard Webhooks.
    pub fn unbranded(mut self) -> Self {
        for (name, _) in &mut self.headers {
            *name = name.replace("svix-", "webhook-");
        }
        self
    }

    pub fn header(&self, name: &str) -> String {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name).unwrap();
        String::from_utf8(value.clone()).unwrap()
    }

    /// The signature without its version.
    pub fn bare_signature(&self) -> String {
        self.header("svix-signature").strip_prefix("v1,").unwrap().to_owned()
    }
}

pub fn now_s() -> i64 {
    clock::now_ms() / 1000
}

/// `v1,` and the signature of a message.
pub fn sign(secret: &str, id: &[u8], timestamp: &str, body: &[u8]) -> String {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let content = [id, b".", timestamp.as_bytes(), b".", body].concat();
    format!("v1,{}", mac(hmac::HMAC_SHA256, &key, &content))
}

pub fn mac(algorithm: hmac::Algorithm, key: &[u8], content: &[u8]) -> String {
    STANDARD.encode(hmac::sign(&hmac::Key::new(algorithm, key), content))
}
