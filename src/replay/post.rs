//! Signs messages and posts them to one webhook endpoint over kept connections.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::header::{HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url, redirect};
use serde::Deserialize;

use super::Message;
use crate::clock;
use crate::config;
use crate::domain::Outcome;

/// The path of the webhook route.
const WEBHOOK_PATH: &str = "/webhooks/clerk";

/// One endpoint, and the secret that it shares with us.
#[derive(Debug, Clone)]
pub struct Poster {
    client: Client,
    url: Url,
    secret: std::sync::Arc<svix::webhooks::Webhook>,
}

/// What the endpoint said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status; 0 when there was no answer.
    pub status: u16,
    /// What became of the event, when the answer says so.
    pub outcome: Option<Outcome>,
    /// Why it failed, in the endpoint's words or ours. Holds nothing of the event.
    pub detail: Option<String>,
    /// How long the endpoint asks us to wait.
    pub retry_after: Option<Duration>,
    /// Why there was no answer, when there was none.
    pub no_answer: Option<NoAnswer>,
}

/// Why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// Nothing listens there.
    Unreachable,
    /// It took too long.
    TimedOut,
    /// The connection ended early.
    Broken,
}

impl Answer {
    /// The endpoint took the event: 2xx, whatever the body.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Another try soon may end better: the endpoint asks for it, or is being restarted.
    pub fn is_passing(&self) -> bool {
        matches!(self.status, 429 | 503) || self.no_answer.is_some_and(|why| why != NoAnswer::TimedOut)
    }
}

/// The answers that we understand: an outcome, or a problem.
#[derive(Default, Deserialize)]
struct Body {
    outcome: Option<String>,
    detail: Option<String>,
}

impl Poster {
    /// `to` is a base address (the route is added) or a whole webhook URL.
    pub fn new(to: &str, secret: &str, timeout: Duration) -> anyhow::Result<Self> {
        let url = webhook_url(to)?;
        let secret = svix::webhooks::Webhook::new(secret)
            .context("the webhook secret must be `whsec_` and base64 text, as the dashboard shows it")?;
        let mut client = Client::builder().timeout(timeout).redirect(redirect::Policy::none());
        if url.scheme() == "http" {
            // No certificate is looked at, so none need to be there; loading them takes time, too.
            client = client.tls_certs_only([]);
        }
        if config::is_loopback(&url) {
            client = client.no_proxy();
        }
        Ok(Self { client: client.build()?, url, secret: secret.into() })
    }

    /// Where the messages go, to be shown: without what may be a password.
    pub fn shown_url(&self) -> String {
        format!("{}{}", self.url.origin().ascii_serialization(), self.url.path())
    }

    /// Posts a message once, signed with the current time.
    pub async fn post(&self, message: &Message) -> anyhow::Result<Answer> {
        let at_s = clock::now_ms().div_euclid(1000);
        let signature = self.secret.sign(&message.id, at_s, message.body.as_bytes())?;
        let sent = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("svix-id", HeaderValue::from_str(&message.id)?)
            .header("svix-timestamp", at_s)
            .header("svix-signature", signature)
            .body(message.body.clone())
            .send()
            .await;
        Ok(match sent {
            Ok(response) => read_answer(response).await,
            Err(error) => no_answer(&error),
        })
    }
}

async fn read_answer(response: reqwest::Response) -> Answer {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
    let body = response.bytes().await.unwrap_or_default();
    let body: Body = serde_json::from_slice(&body).unwrap_or_default();
    let outcome = body.outcome.as_deref().and_then(known_outcome);
    let detail = match (status.is_success(), outcome) {
        (true, Some(_)) => None,
        (true, None) => Some(format!("{} without a known outcome: is this Roster?", status.as_u16())),
        (false, _) if status == StatusCode::UNAUTHORIZED => {
            Some("401: the signature was refused; is CLERK_WEBHOOK_SIGNING_SECRET the service's?".to_owned())
        }
        (false, _) => Some(problem(status, body.detail)),
    };
    Answer {
        status: status.as_u16(),
        outcome: outcome.filter(|_| status.is_success()),
        detail,
        retry_after,
        no_answer: None,
    }
}

fn known_outcome(text: &str) -> Option<Outcome> {
    [Outcome::Applied, Outcome::Stale, Outcome::Duplicate, Outcome::Ignored]
        .into_iter()
        .find(|outcome| outcome.as_str() == text)
}

fn problem(status: StatusCode, detail: Option<String>) -> String {
    match detail {
        Some(detail) => format!("{}: {detail}", status.as_u16()),
        None => status.to_string(),
    }
}

fn no_answer(error: &reqwest::Error) -> Answer {
    let (why, detail) = if error.is_timeout() {
        (NoAnswer::TimedOut, "no answer in time")
    } else if error.is_connect() {
        (NoAnswer::Unreachable, "nothing answers there: is the service running?")
    } else {
        (NoAnswer::Broken, "the connection broke")
    };
    Answer {
        status: 0,
        outcome: None,
        detail: Some(detail.to_owned()),
        retry_after: None,
        no_answer: Some(why),
    }
}

/// A base address gets the route; an address with a path is taken as it is.
fn webhook_url(to: &str) -> anyhow::Result<Url> {
    let with_scheme = if to.contains("://") { to.to_owned() } else { format!("http://{to}") };
    let mut url = Url::parse(&with_scheme)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .with_context(|| format!("`{to}` is not an address such as http://127.0.0.1:8080"))?;
    if url.path() == "/" {
        url.set_path(WEBHOOK_PATH);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_address_gets_the_route_and_a_whole_url_stays() {
        for (to, url) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/webhooks/clerk"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/webhooks/clerk"),
            ("localhost:8080", "http://localhost:8080/webhooks/clerk"),
            ("http://127.0.0.1:8080/webhooks/clerk", "http://127.0.0.1:8080/webhooks/clerk"),
            ("https://example.com/hooks/roster?x=1", "https://example.com/hooks/roster?x=1"),
        ] {
            assert_eq!(webhook_url(to).unwrap().as_str(), url);
        }
        for bad in ["", "ftp://example.com", "http://", "::"] {
            assert!(webhook_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_loopback_goes_round_the_proxy() {
        for (to, is) in [
            ("http://localhost:1", true),
            ("http://127.0.0.9", true),
            ("http://[::1]:8080", true),
            ("https://example.com", false),
        ] {
            assert_eq!(config::is_loopback(&webhook_url(to).unwrap()), is, "{to}");
        }
    }

    #[test]
    fn a_bad_secret_is_named_but_not_shown() {
        let error = Poster::new("localhost:1", "whsec_ not base64", Duration::from_secs(1)).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("whsec_` and base64") && !text.contains("not base64 "), "{text}");
    }
}
