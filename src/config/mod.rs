//! The configuration, checked before the first socket opens.
//!
//! `setting` is the table of every variable; `values` merges the four layers (flags, environment, `.env`,
//! `roster.toml`) into one text per variable; `check` turns the texts into a [`Config`]. Nothing stops at the
//! first mistake: whoever runs the program sees all of them at once, each with an example. No value is ever
//! printed, because half of them are secrets.

mod check;
mod cron;
mod database;
mod dotenv;
mod keys;
mod problem;
mod setting;
mod values;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use reqwest::Url;
use secrecy::SecretString;

use crate::domain::Role;

pub use check::is_loopback;
pub use problem::{Problem, Problems};
pub use setting::{SETTINGS, Setting};
pub use values::{Flags, Values};

/// Everything the service needs to know. Secrets have a blind `Debug`.
#[derive(Debug, Clone)]
pub struct Config {
    /// `DATABASE_URL`
    pub database: Database,
    /// `ROSTER_LISTEN`, or `PORT`
    pub listen: SocketAddr,
    /// `ROSTER_OPS_LISTEN`
    pub ops_listen: SocketAddr,
    /// `ROSTER_OPS_TOKEN`
    pub ops_token: Option<SecretString>,
    /// `CLERK_WEBHOOK_SIGNING_SECRET`: every one of them is valid.
    pub webhook_secrets: Vec<SecretString>,
    /// Where the public keys come from.
    pub keys: KeySource,
    /// `CLERK_ISSUER`, or the publishable key's; `None` when it is not known.
    pub issuer: Option<String>,
    /// `CLERK_AUTHORIZED_PARTIES`; empty when it is not set.
    pub authorized_parties: Vec<String>,
    /// `CLERK_SECRET_KEY`
    pub secret_key: Option<SecretString>,
    /// `CLERK_API_URL` without a slash at its end.
    pub api_url: String,
    /// `CLERK_INSTANCE_ID`
    pub instance_id: Option<String>,
    /// `ROSTER_CLERK_RATE`: requests per 10 s towards Clerk.
    pub clerk_rate: u32,
    /// `ROSTER_ADMIN_ROLES`
    pub admin_roles: Vec<Role>,
    /// `ROSTER_RECONCILE_CRON`: five or six fields, UTC.
    pub reconcile_cron: String,
    /// `ROSTER_RECONCILE_FULL_CRON`: five or six fields, UTC.
    pub reconcile_full_cron: String,
    /// `ROSTER_RECONCILE_MAX_DELETES`; `None` means the larger of 10 and 5 %.
    pub max_deletes: Option<u64>,
    /// `ROSTER_READ_THROUGH_MS`
    pub read_through_ms: u32,
    /// `ROSTER_CACHE_MB`
    pub cache_mb: u32,
    /// `ROSTER_JOURNAL_DAYS`
    pub journal_days: u32,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`; without it no span is exported.
    pub otlp_endpoint: Option<Url>,
    /// `ROSTER_LOG`, `RUST_LOG`, `ROSTER_LOG_FORMAT`
    pub log: Log,
}

impl Default for Config {
    /// What the program runs with when nothing is set.
    fn default() -> Self {
        let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self {
            database: Database::Sqlite(PathBuf::from("roster.db")),
            listen: loopback(8080),
            ops_listen: loopback(9090),
            ops_token: None,
            webhook_secrets: Vec::new(),
            keys: KeySource::None,
            issuer: None,
            authorized_parties: Vec::new(),
            secret_key: None,
            api_url: "https://api.clerk.com".to_owned(),
            instance_id: None,
            clerk_rate: 50,
            admin_roles: vec![Role::new("org:admin")],
            reconcile_cron: "*/15 * * * *".to_owned(),
            reconcile_full_cron: "0 3 * * *".to_owned(),
            max_deletes: None,
            read_through_ms: 800,
            cache_mb: 256,
            journal_days: 30,
            otlp_endpoint: None,
            log: Log { filter: None, format: None },
        }
    }
}

/// Where the read model is kept.
#[derive(Debug, Clone)]
pub enum Database {
    /// A file.
    Sqlite(PathBuf),
    /// A server; the URL may hold a password.
    Postgres(SecretString),
}

impl Database {
    /// Reads a `sqlite:` or `postgres:` URL. The error continues a sentence that begins with what holds the URL.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        database::parse(url)
    }
}

/// Where the public keys of session tokens come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// `CLERK_JWT_KEY`, as an armoured PEM text. No network is needed.
    Pem(String),
    /// A key set that is fetched.
    Jwks {
        /// The address.
        url: String,
        /// The secret key, where the Backend API serves the set.
        bearer: Option<SecretString>,
    },
    /// Nothing is configured: no token can be checked.
    None,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The filter, as `tracing` understands it; `None` means `info`, and for commands warnings.
    pub filter: Option<String>,
    /// `None` means text on a terminal and JSON elsewhere.
    pub format: Option<LogFormat>,
}

impl Log {
    /// For commands whose output is for a person: warnings only, unless a filter was chosen.
    #[must_use]
    pub fn or_warnings(mut self) -> Self {
        self.filter.get_or_insert_with(|| "warn".to_owned());
        self
    }
}

/// `ROSTER_LOG_FORMAT`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For eyes.
    Text,
    /// For programs.
    Json,
}

/// Reads and checks the configuration of this process: its flags, its environment, its working folder.
pub fn load(flags: &Flags) -> Result<Config, Problems> {
    values(flags).check()
}

/// What is set for this process, not checked yet. For commands that need a few variables only
/// ([`Values::keep`]).
pub fn values(flags: &Flags) -> Values {
    Values::gather(flags, &|name| std::env::var_os(name), Path::new("."))
}
