//! `roster dev`: the service, beside a simulated Clerk, with people in it.
//!
//! Everything takes the real way: the events are signed and posted to the webhook route, the tokens are
//! checked against a key set that is fetched. Only the names of the keys are made up.

mod folder;
mod guide;

use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::digest;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::replay::base_url;
use super::{Failure, serve};
use crate::app::{self, ClaimError};
use crate::clock;
use crate::config::{self, Config, Database, Flags, KeySource};
use crate::replay::post::Poster;
use crate::replay::send::{Tally, send};
use crate::replay::{Message, files};
use crate::sim::Instance;
use crate::sim::fixtures;
use crate::sim::server::{Server, Shared};
use crate::telemetry;

use folder::Folder;

/// The origin that the printed tokens name, as a front end on its usual port would.
const ORIGIN: &str = "http://localhost:3000";
/// How far the simulated Clerk's clock may be behind.
const TICK: Duration = Duration::from_millis(100);

/// How to run the demo.
#[derive(Debug, clap::Args)]
pub struct Dev {
    /// Send the events of this folder (its *.json and *.jsonl) instead of the built-in ones
    #[arg(long, value_name = "DIR")]
    pub fixtures: Option<PathBuf>,
    /// Forget everything from earlier runs: database, key and secret in .roster-dev
    #[arg(long)]
    pub reset: bool,
    /// Withhold this share of the events, as an outage would, and print the line that mends it
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub lose: Option<u8>,
}

impl Dev {
    /// Runs until SIGTERM or Ctrl-C.
    pub async fn run(self, flags: &Flags) -> Result<(), Failure> {
        let Settings { config, ops_listen_is_chosen } = own_settings(flags)?;
        let traces = telemetry::init_with_traces(&config.log, config.otlp_endpoint.as_ref())?;
        let ended = self.demonstrate(config, ops_listen_is_chosen).await;
        traces.flush().await;
        ended
    }

    async fn demonstrate(&self, config: Config, ops_listen_is_chosen: bool) -> Result<(), Failure> {
        let messages = self.messages()?;
        let shutdown = CancellationToken::new();
        serve::stop_on_signal(shutdown.clone())?;
        let listener = listen(config.listen, "ROSTER_LISTEN", "127.0.0.1:8081").await?;
        let ops = listen_for_operators(config.ops_listen, ops_listen_is_chosen).await?;
        let ops_address = ops.local_addr().map_err(anyhow::Error::from)?;
        let address = listener.local_addr().map_err(anyhow::Error::from)?;
        let folder = Folder::open(self.reset).map_err(or_runs_already)?;
        let secret = folder.webhook_secret()?;

        let mut clerk = Instance::new(folder.signing_key()?, rand_seed(), clock::now_ms());
        for message in &messages {
            clerk.ingest(&serde_json::from_str(&message.body).unwrap_or(Value::Null));
        }
        let clerk = Shared::new(clerk);
        tokio::spawn(keep_time(clerk.clone()));
        let server = Server::start(clerk.clone()).await?;
        let config = Config {
            database: Database::Sqlite(folder.database()),
            webhook_secrets: vec![secret.clone()],
            keys: KeySource::Jwks { url: server.jwks_url(), bearer: None },
            issuer: Some(clerk.lock().issuer().to_owned()),
            authorized_parties: vec![ORIGIN.to_owned()],
            ..config
        };
        let running = app::start_on(config, listener, ops).await.map_err(or_runs_already)?;
        let sent = messages.iter().filter(|message| !self.is_lost(message)).cloned().collect::<Vec<_>>();
        let lost = messages.len() - sent.len();
        let filled = shutdown.run_until_cancelled(fill(address, &secret, &sent)).await;
        if let Some(tally) = filled.transpose()? {
            let here = guide::Here {
                service: base_url(address),
                ops: base_url(ops_address),
                clerk: server.url(),
                folder: &folder,
                lost,
            };
            let guide = guide::text(&here, &mut clerk.lock(), tally, clock::now_ms())?;
            // The service goes on when nobody reads (any more).
            let _ = std::io::stdout().write_all(guide.as_bytes());
            shutdown.cancelled().await;
        }
        Ok(running.stop().await?)
    }

    /// Whether an event is withheld. It depends on the event alone, so the next run loses the same ones.
    fn is_lost(&self, message: &Message) -> bool {
        let digest = digest::digest(&digest::SHA256, message.id.as_bytes());
        let place = digest.as_ref().first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        self.lose.is_some_and(|lose| place % 100 < u32::from(lose))
    }

    fn messages(&self) -> Result<Vec<Message>, Failure> {
        let read = match &self.fixtures {
            Some(path) => files::read(std::slice::from_ref(path))
                .map(|events| events.into_iter().map(Message::from_content).collect()),
            None => fixtures::messages(),
        };
        read.map_err(|error| Failure::Usage(format!("{:#}", anyhow::Error::from(error))))
    }
}

/// `20` or `20%`.
fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok().filter(|percent| *percent <= 100);
    number.ok_or_else(|| "must be a number from 0 to 100, for example 20".to_owned())
}

/// What the demo heeds.
struct Settings {
    config: Config,
    ops_listen_is_chosen: bool,
}

/// Addresses and logs are heeded; what is said about a real Clerk or a real database is not for the demo.
fn own_settings(flags: &Flags) -> Result<Settings, Failure> {
    let heeded = [
        "ROSTER_LISTEN",
        "PORT",
        "ROSTER_OPS_LISTEN",
        "ROSTER_OPS_TOKEN",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "ROSTER_LOG",
        "RUST_LOG",
        "ROSTER_LOG_FORMAT",
    ];
    let values = config::values(flags).keep(&heeded);
    let ops_listen_is_chosen = values.is_set("ROSTER_OPS_LISTEN");
    let mut config = values.check()?;
    // The lines to copy must not drown.
    config.log = config.log.or_warnings();
    Ok(Settings { config, ops_listen_is_chosen })
}

async fn listen(address: SocketAddr, variable: &str, example: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => Failure::Usage(format!(
            "{address} is taken: choose another address with {variable}, for example {variable}={example}"
        )),
        _ => Failure::Usage(format!(
            "cannot listen on {address} ({error}): set {variable} to an address of this machine"
        )),
    })
}

/// Whoever tries the demo out has not asked for this listener, so its usual address being taken is no reason
/// to decline: Prometheus itself listens there.
async fn listen_for_operators(address: SocketAddr, is_chosen: bool) -> Result<TcpListener, Failure> {
    if !is_chosen && let Ok(listener) = TcpListener::bind(address).await {
        return Ok(listener);
    }
    let address = if is_chosen { address } else { SocketAddr::new(address.ip(), 0) };
    listen(address, "ROSTER_OPS_LISTEN", "127.0.0.1:9091").await
}

/// The database of the demo cannot be chosen, so the usual advice would not help.
fn or_runs_already(error: anyhow::Error) -> Failure {
    match error.downcast_ref::<ClaimError>() {
        Some(ClaimError::Taken(_)) => Failure::Usage(
            "another `roster dev` runs in this folder: stop it, or go to another folder".to_owned(),
        ),
        _ => Failure::Failed(error),
    }
}

/// Sends the events through the webhook route, as Clerk would.
async fn fill(address: SocketAddr, secret: &SecretString, messages: &[Message]) -> anyhow::Result<Tally> {
    let poster = Poster::new(&base_url(address), secret.expose_secret(), Duration::from_secs(30))?;
    send(&poster, messages, |_, answer| {
        if let Some(reason) = &answer.detail {
            tracing::warn!(reason, "an event was not taken");
        }
    })
    .await
}

/// Time passes at that Clerk too: what it answers is dated.
async fn keep_time(clerk: Shared) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        clerk.lock().catch_up(clock::now_ms());
    }
}

/// Sessions of this run are not those of the last.
fn rand_seed() -> u64 {
    clock::now_ms().unsigned_abs()
}
