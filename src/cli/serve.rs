//! `roster serve`

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::app::{self, App};
use crate::config::{self, Config, Flags};
use crate::telemetry;

/// Runs the service until SIGTERM or Ctrl-C.
pub async fn run(flags: &Flags) -> Result<(), Failure> {
    let values = config::values(flags);
    let ops_is_chosen = values.is_set("ROSTER_OPS_LISTEN");
    let config = values.check()?;
    let traces = telemetry::init_with_traces(&config.log, config.otlp_endpoint.as_ref())?;
    app::server::allow_connections();
    let served = serve(config, ops_is_chosen).await;
    traces.flush().await;
    Ok(served?)
}

async fn serve(config: Config, ops_is_chosen: bool) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    stop_on_signal(shutdown.clone())?;
    let (public, ops) = (config.listen, config.ops_listen);
    // The database first: who may not have it must not take the addresses either.
    let Some(app) = shutdown.run_until_cancelled(Box::pin(App::open(config))).await else { return Ok(()) };
    let app = app?;
    let listener = app::listen(public, "ROSTER_LISTEN").await?;
    let ops =
        if ops_is_chosen { app::listen(ops, "ROSTER_OPS_LISTEN").await? } else { usual_or_free(ops).await? };
    app.serve(listener, ops, shutdown).await
}

/// The usual address, or a free port where it is taken: Prometheus itself listens there, and a service that
/// nobody told where to show its metrics should not stay down for them.
async fn usual_or_free(usual: SocketAddr) -> anyhow::Result<TcpListener> {
    if let Ok(listener) = TcpListener::bind(usual).await {
        return Ok(listener);
    }
    let listener = app::listen(SocketAddr::new(usual.ip(), 0), "ROSTER_OPS_LISTEN").await?;
    let instead = listener.local_addr().context("the operators' listener has no address")?;
    tracing::warn!(%usual, %instead, "the operators' usual address is taken: set ROSTER_OPS_LISTEN");
    Ok(listener)
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
