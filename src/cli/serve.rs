//! `roster serve`

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::app::{self, App};
use crate::config::{self, Flags};
use crate::telemetry;

/// Runs the service until SIGTERM or Ctrl-C.
pub async fn run(flags: &Flags) -> Result<(), Failure> {
    let config = config::load(flags)?;
    telemetry::init(&config.log);
    let shutdown = CancellationToken::new();
    stop_on_signal(shutdown.clone())?;
    let (public, ops) = (config.listen, config.ops_listen);
    // The database first: who may not have it must not take the addresses either.
    let app = App::open(config).await?;
    let listener = app::listen(public, "ROSTER_LISTEN").await?;
    let ops = app::listen(ops, "ROSTER_OPS_LISTEN").await?;
    Ok(app.serve(listener, ops, shutdown).await?)
}

/// The first signal asks for an orderly end, the second one ends the process at once.
pub fn stop_on_signal(shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("signals cannot be handled")?;
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("stopping; a second signal stops at once");
        shutdown.cancel();
        signals.next().await;
        std::process::exit(1);
    });
    Ok(())
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// From here on no signal is lost.
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
