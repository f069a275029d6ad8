//! The only place that knows every part: opens, wires, serves, drains.

mod claim;
mod refusals;
mod retention;
pub mod server;
mod stuck;
mod untaken;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::{self, Api};
use crate::clerk::backend_api::BackendApi;
use crate::clerk::jwks::KeySet;
use crate::clerk::session_token::Verifier;
use crate::config::{Config, Database, KeySource};
use crate::ops::{Console, Ops};
use crate::reconcile::Reconciler;
use crate::reconcile::hydrate::Hydrator;
use crate::reconcile::read_through::ReadThrough;
use crate::reconcile::schedule::{Gate, Schedule};
use crate::store::{self, Store};
use crate::webhook::Receiver;

pub use claim::{Claim, ClaimError};

/// A service that is wired, and not listening yet.
pub struct App {
    store: Store,
    public: api::Public,
    ops: axum::Router,
    claim: Option<Claim>,
    schedule: Option<Schedule>,
    stop: CancellationToken,
}

impl App {
    /// Claims and opens the database, and wires every part.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        let claim = match &config.database {
            Database::Sqlite(path) => Some(Claim::take(path)?),
            Database::Postgres(_) => None,
        };
        say_what_is_off(&config);
        // Before anything happens that is counted.
        let ops = Ops::start()?;
        let store = Store::open(&config.database).await.context("the database cannot be opened")?;
        let stop = CancellationToken::new();
        retention::start(store.clone(), config.journal_days, stop.clone());
        let gate = Gate::default();
        let backend_api = backend_api(&config)?;
        let schedule = match &backend_api {
            Some(api) => {
                let mut reconciler = Reconciler::new(store.clone(), api.clone(), config.max_deletes)
                    .of_instance(config.instance_id.clone());
                if claim.is_some() {
                    reconciler = reconciler.as_only_service().await?;
                }
                let (incremental, full) = (&config.reconcile_cron, &config.reconcile_full_cron);
                let schedule =
                    Schedule::start(reconciler, &store, incremental, full, gate.clone(), stop.clone());
                Some(schedule.await?)
            }
            None => None,
        };
        let hydrator =
            backend_api.as_ref().map(|api| Hydrator::start(store.clone(), api.clone(), stop.clone()));
        let console = Console {
            store: store.clone(),
            token: config.ops_token,
            trigger: schedule.as_ref().map(Schedule::trigger),
            gate: gate.clone(),
            instance_id: config.instance_id.clone(),
            hydrator: hydrator.clone(),
            address: config.ops_listen.ip(),
        };
        let ops = ops.router(console, stop.clone()).await?;
        let patience = Duration::from_millis(config.read_through_ms.into());
        let read_through = backend_api.as_ref().map(|api| ReadThrough::new(store.clone(), api, patience));

        let keys = KeySet::new(config.keys)?;
        let origins = config.authorized_parties.clone();
        let verifier = Verifier::new(keys, config.issuer, config.authorized_parties);
        let receiver = Receiver::new(store.clone(), &config.webhook_secrets, config.instance_id)?;
        let api = Api {
            store: store.clone(),
            verifier: Arc::new(verifier),
            origins,
            admin_roles: config.admin_roles.into(),
            receiver: Arc::new(receiver.with_hydrator(hydrator)),
            gate,
            read_through,
            stop: stop.clone(),
        };
        let public = api::Public::new(api, config.cache_mb);
        Ok(Self { store, public, ops, claim, schedule, stop })
    }

    /// Serves the public and the operators' listener until `shutdown`, finishes what is under way, and closes
    /// the database.
    pub async fn serve(
        self,
        listener: TcpListener,
        ops: TcpListener,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let address = ops.local_addr().context("the operators' listener has no address")?;
        info!(%address, "the console and metrics are on the operators' listener");
        let address = listener.local_addr().context("the listener has no address")?;
        info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
        // One signal stops the listener and the passes.
        let stop_passes = shutdown.clone().cancelled_owned();
        let stop = self.stop.clone();
        tokio::spawn(async move {
            stop_passes.await;
            stop.cancel();
        });
        let (drained, _) = tokio::join!(
            server::serve(listener, self.public, shutdown.clone()),
            server::serve(ops, self.ops, shutdown),
        );
        self.stop.cancel();
        if let Some(schedule) = self.schedule {
            schedule.drain().await;
        }
        self.store.close().await;
        drop(self.claim);
        if !drained {
            warn!("some requests were cut off: they took too long to finish");
        }
        info!("stopped");
        Ok(())
    }
}

/// Takes an address; the sentence of the error names the variable that chose it.
pub async fn listen(address: SocketAddr, variable: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address}: choose another address with {variable}"))
}

/// Runs the service beside the caller, for tests; the operators' listener is where the configuration says.
pub async fn start(config: Config, listener: TcpListener) -> anyhow::Result<Running> {
    let ops = listen(config.ops_listen, "ROSTER_OPS_LISTEN").await?;
    start_on(config, listener, ops).await
}

/// Runs the service beside the caller, on two listeners that are open already.
pub async fn start_on(config: Config, listener: TcpListener, ops: TcpListener) -> anyhow::Result<Running> {
    let address = listener.local_addr().context("the listener has no address")?;
    let app = App::open(config).await?;
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(app.serve(listener, ops, shutdown.clone()));
    Ok(Running { address, shutdown, task })
}

/// A service that runs beside the caller.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Stops it as a signal would, and waits until its database is closed.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        self.task.await.context("the service ended in a panic")?
    }
}

/// The way to Clerk's Backend API, for the service and for the commands; `None` without a secret key.
pub fn backend_api(config: &Config) -> anyhow::Result<Option<BackendApi>> {
    let with_key = |key: &SecretString| BackendApi::new(&config.api_url, key.clone(), config.clerk_rate);
    config.secret_key.as_ref().map(with_key).transpose()
}

fn say_what_is_off(config: &Config) {
    match &config.database {
        Database::Sqlite(path) => info!(path = %path.display(), "database"),
        Database::Postgres(url) => {
            let (host, name) = store::address(url).unzip();
            info!(host, name, "database: PostgreSQL");
        }
    }
    match &config.keys {
        KeySource::Pem(_) => info!("tokens are checked with CLERK_JWT_KEY"),
        KeySource::Jwks { url, .. } => info!(url, "tokens are checked with a key set"),
        KeySource::None => warn!("no token can be checked: set CLERK_PUBLISHABLE_KEY, or CLERK_JWT_KEY"),
    }
    if config.webhook_secrets.is_empty() {
        warn!("webhooks are answered 503: set CLERK_WEBHOOK_SIGNING_SECRET");
    }
    if config.authorized_parties.is_empty() {
        warn!("tokens of every origin are accepted: set CLERK_AUTHORIZED_PARTIES");
    }
    if config.secret_key.is_none() {
        info!(
            "no CLERK_SECRET_KEY: the copy is kept by webhooks alone; reconcile, backfill and read-through are off"
        );
    }
}
