//! Opens a PostgreSQL database: connections, their settings, and the schema.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::time::{Instant, timeout};

use super::backup::{LAST_ARRIVAL, Look};
use super::connection::Pool;
use super::error::StoreError;
use super::holder::Holder;
use super::migrations;
use super::rows::PREPARED;
use crate::telemetry::causes;

/// How services and commands call themselves to the server, and how a move does.
pub(super) const SERVICE: &str = "roster";
pub(super) const MOVE: &str = "roster migrate-store";

/// How many connections to this database have a name.
pub(super) const OTHERS: &str = "SELECT COUNT(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = $1";

/// The oldest server that is tested, as PostgreSQL writes it.
const OLDEST: i32 = 14_00_00;

/// How many requests may read at the same time. With the writer, the bookkeeper and the listener an instance takes
/// twelve connections.
const READERS: u32 = 8;

/// How long a request waits for a connection.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long an idle connection may take to show that it is alive.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// How long the server may be away at start.
const START: Duration = Duration::from_secs(30);

/// Names of the server's settings, and their values.
type Settings = [(&'static str, &'static str)];

/// What holds on every connection of a pool. The server ends what takes too long, and forgets an instance that vanished
/// in the middle of a transaction, so that it keeps no lock.
const SETTINGS: &Settings = &[
    ("statement_timeout", "10s"),
    ("lock_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "10s"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "2"),
    // What it finds worth noting is nothing that an operator would do something about.
    ("client_min_messages", "warning"),
    // Small statements, and many of them.
    ("jit", "off"),
];

/// What the writer asks for it asks for by key, a handful of rows at a time. The server does not know that of tables
/// that it has not counted yet, as in a first backfill or after a move: it would go through all of them, again and
/// again. How old a plan may be is said in `writer.rs`.
const WRITING: &Settings = &[
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    // All other instances wait for an instance that stands still in the middle of a batch.
    ("idle_in_transaction_session_timeout", "3s"),
];

/// Reads the URL, which was checked with the configuration.
pub(super) fn options(url: &SecretString, name: &str) -> Result<PgConnectOptions, StoreError> {
    let options: PgConnectOptions =
        url.expose_secret().parse().map_err(|error| StoreError::Unreachable(Arc::new(error)))?;
    Ok(options.application_name(name).statement_cache_capacity(PREPARED).disable_statement_logging())
}

/// Which host a URL leads to, and which database there.
pub fn address(url: &SecretString) -> Option<(String, String)> {
    let options: PgConnectOptions = url.expose_secret().parse().ok()?;
    // A slash that was not encoded makes the end of a password look like a part of the name.
    let name = options.get_database().filter(|name| !name.contains('@'))?;
    Some((options.get_host().to_owned(), name.to_owned()))
}

/// With statements, because there are poolers that decline, or drop without a word, what is asked for when a connection is
/// opened.
async fn set(connection: &mut PgConnection, settings: &Settings) -> Result<(), sqlx::Error> {
    let (names, values): (Vec<_>, Vec<_>) = settings.iter().copied().unzip();
    let set = "SELECT set_config(name, value, false) FROM unnest($1::TEXT[], $2::TEXT[]) AS s (name, value)";
    sqlx::query(set).bind(names).bind(values).execute(connection).await?;
    Ok(())
}

/// Waits for the server, checks it, and brings its schema up to date.
pub(super) async fn prepare(options: &PgConnectOptions) -> Result<(), StoreError> {
    let connect = || async {
        // A standby may be promoted in a moment, or an address that follows the primary lead to another server.
        let primary = timeout(PATIENCE, connect_to_primary(options)).await;
        primary.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    };
    let began = Instant::now();
    let patience = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .without_max_times();
    let mut connection = connect
        .retry(patience)
        .when(|error| is_away(error) && began.elapsed() < START)
        .notify(|error, _| {
            tracing::warn!(error = %causes(error), "PostgreSQL is not there yet");
        })
        .await
        .map_err(|error| StoreError::Unreachable(Arc::new(error)))?;
    set(&mut connection, SETTINGS).await?;
    check(&mut connection).await?;
    Holder::of_server(&mut connection).await?.admits_us()?;
    // A migration takes the time that it takes.
    set(&mut connection, &[("statement_timeout", "0"), ("lock_timeout", "0")]).await?;
    migrations::postgres().run(&mut connection).await?;
    connection.close().await.map_err(StoreError::from)
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    timeout(PATIENCE, options.connect()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

async fn connect_to_primary(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let mut connection = options.connect().await?;
    let standby = || std::io::Error::other("the server is a standby, which takes no writes");
    leads(&mut connection).await?.then_some(connection).ok_or_else(|| standby().into())
}

/// Whether it is worth waiting: nobody answers, or the server is starting up, or is full.
fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(error) => matches!(error.code().as_deref(), Some("57P03" | "53300")),
        _ => false,
    }
}

async fn check(connection: &mut PgConnection) -> Result<(), StoreError> {
    let server = "SELECT current_setting('server_version_num')::INT4, current_setting('server_version'),
        current_setting('server_encoding')";
    let (number, version, encoding): (i32, String, String) =
        sqlx::query_as(server).fetch_one(connection).await?;
    if number < OLDEST {
        return Err(StoreError::TooOld(version));
    }
    if encoding != "UTF8" {
        return Err(StoreError::Encoding(encoding));
    }
    Ok(())
}

/// What a look at a server tells; nothing is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLook {
    /// Whether it is one that takes no writes.
    pub is_standby: bool,
    /// Whether this role may create tables.
    pub may_create: bool,
    /// `None` when no Roster has been here yet.
    pub site: Option<Look>,
}

/// Looks at a PostgreSQL database.
pub async fn look_at_server(url: &SecretString) -> Result<ServerLook, StoreError> {
    let options = options(url, SERVICE)?;
    let mut connection = connect(&options).await.map_err(|error| StoreError::Unreachable(Arc::new(error)))?;
    set(&mut connection, SETTINGS).await?;
    check(&mut connection).await?;
    let is_standby = !leads(&mut connection).await?;
    let may_create = "SELECT COALESCE(has_schema_privilege(current_schema(), 'CREATE'), FALSE)";
    let may_create = sqlx::query_scalar(may_create).fetch_one(&mut connection).await?;
    let holder = Holder::of_server(&mut connection).await?;
    holder.admits_us()?;
    let mut site = None;
    if let Holder::Roster(newest) = holder {
        let last_arrival_ms = sqlx::query_scalar(LAST_ARRIVAL).fetch_one(&mut connection).await?;
        let is_newer = migrations::postgres().iter().all(|known| known.version < newest);
        site = Some(Look { is_newer, last_arrival_ms });
    }
    connection.close().await?;
    Ok(ServerLook { is_standby, may_create, site })
}

/// The readers' pool.
pub(super) fn readers(options: &PgConnectOptions) -> Pool {
    Pool::Postgres(pool(READERS, options, &[]))
}

/// A connection for what is neither an event nor a change: leases and the state of passes.
pub(super) fn bookkeeping(options: &PgConnectOptions) -> Pool {
    Pool::Postgres(pool(1, options, &[]))
}

/// The connection of this instance's writer.
pub(super) fn writer(options: &PgConnectOptions) -> Pool {
    Pool::Postgres(pool(1, options, WRITING))
}

/// The connections of this instance's listener.
pub(super) fn listener(options: &PgConnectOptions) -> PgPool {
    pool(2, options, &[])
}

fn pool(connections: u32, options: &PgConnectOptions, besides: &'static Settings) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        // Below more is asked than whether the connection is alive.
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                set(connection, SETTINGS).await?;
                set(connection, besides).await?;
                sqlx::query(DURABLE).execute(&mut *connection).await?;
                let standby = || sqlx::Error::Configuration("the server is a standby".into());
                leads(connection).await?.then_some(()).ok_or_else(standby)
            })
        })
        .before_acquire(|connection, _| {
            Box::pin(
                async move { Ok(matches!(timeout(SIGN_OF_LIFE, leads(connection)).await, Ok(Ok(true)))) },
            )
        })
        .connect_lazy_with(options.clone())
}

/// What was acknowledged is on the disk, also where the server's default is not to wait for it. Stricter
/// settings, which wait for replicas too, stay.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off'";

/// Whether the server is the one that takes writes. One that was demoted goes on answering, from yesterday.
async fn leads(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT NOT pg_is_in_recovery()").fetch_one(connection).await
}
