//! `roster replay`

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::Failure;
use crate::config::{self, Flags};
use crate::replay::post::Poster;
use crate::replay::{Message, files, send};

/// The most failures that are told one by one.
const FAILURES_TOLD: usize = 20;

/// What to replay, and where to.
#[derive(Debug, clap::Args)]
pub struct Replay {
    /// Files (one event, an array of events, JSON lines) or folders (their *.json and *.jsonl, by name)
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The service, or its whole webhook URL [default: the local service]
    #[arg(long, value_name = "URL")]
    pub to: Option<String>,
    /// Send each event as a new message; without it the ids come from the content, and a second replay is all
    /// duplicates
    #[arg(long)]
    pub new_ids: bool,
}

impl Replay {
    /// Reads everything, then sends it in order.
    pub async fn run(self, flags: &Flags) -> Result<(), Failure> {
        let needed = ["CLERK_WEBHOOK_SIGNING_SECRET", "ROSTER_LISTEN", "PORT"];
        let config = config::values(flags).keep(&needed).check()?;
        let secret = config.webhook_secrets.first().ok_or_else(|| {
            Failure::Usage(
                "CLERK_WEBHOOK_SIGNING_SECRET is not set: the events must be signed with the secret of the service, \
                 for example CLERK_WEBHOOK_SIGNING_SECRET=whsec_…"
                    .to_owned(),
            )
        })?;
        let to = self.to.unwrap_or_else(|| base_url(config.listen));
        let usage = |error: anyhow::Error| Failure::Usage(format!("{error:#}"));
        let poster = Poster::new(&to, secret.expose_secret(), Duration::from_secs(30)).map_err(usage)?;
        let events = files::read(&self.paths).map_err(|error| usage(error.into()))?;
        let messages = if self.new_ids {
            events.into_iter().map(Message::with_new_id).collect::<anyhow::Result<_>>()?
        } else {
            events.into_iter().map(Message::from_content).collect()
        };
        deliver(&poster, messages).await
    }
}

async fn deliver(poster: &Poster, messages: Vec<Message>) -> Result<(), Failure> {
    // Drawn on a terminal only.
    let bar = ProgressBar::new(u64::try_from(messages.len()).unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} events, {per_sec}, {eta} left");
    bar.set_style(style.context("the progress bar cannot be drawn")?);
    let mut told = 0;
    let tally = send::send(poster, &messages, |index, answer| {
        bar.inc(1);
        if let (Some(reason), Some(message)) = (&answer.detail, messages.get(index)) {
            told += 1;
            if told <= FAILURES_TOLD {
                bar.suspend(|| eprintln!("event {} ({}): {reason}", index + 1, subject(&message.body)));
            }
        }
    })
    .await?;
    bar.finish_and_clear();
    // Whoever closed the pipe does not want to know.
    let _ = writeln!(std::io::stdout(), "{tally}");
    if tally.failed == 0 {
        return Ok(());
    }
    let (failed, total, to) = (tally.failed, tally.total(), poster.shown_url());
    Err(Failure::Failed(anyhow::anyhow!("{failed} of {total} events were not taken by {to}")))
}

/// What an event is about: its type and an id, nothing personal.
fn subject(body: &str) -> String {
    let event: Value = serde_json::from_str(body).unwrap_or_default();
    let field = |pointer| event.pointer(pointer).and_then(Value::as_str);
    match (field("/type"), field("/data/id")) {
        (Some(event_type), Some(id)) => format!("{event_type} {id}"),
        (Some(event_type), None) => event_type.to_owned(),
        _ => "of no type".to_owned(),
    }
}

/// Where a service that listens there can be reached from here.
pub(super) fn base_url(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_listens_everywhere_is_found_here() {
        for (listen, url) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:8080", "http://[::1]:8080"),
            ("192.0.2.7:8080", "http://192.0.2.7:8080"),
        ] {
            assert_eq!(base_url(listen.parse().unwrap()), url);
        }
    }

    #[test]
    fn a_failure_is_named_by_type_and_id() {
        let event = r#"{"type":"user.created","data":{"id":"user_1","first_name":"Ada"}}"#;
        assert_eq!(subject(event), "user.created user_1");
        assert_eq!(subject(r#"{"type":"user.created"}"#), "user.created");
        assert_eq!(subject("[]"), "of no type");
    }
}
