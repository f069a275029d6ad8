//! The configuration, checked before the first socket opens.

use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::SecretString;

use crate::domain::Role;

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
    /// `ROSTER_ADMIN_ROLES`
    pub admin_roles: Vec<Role>,
    /// `ROSTER_JOURNAL_DAYS`
    pub journal_days: u32,
}

/// Where the read model is kept.
#[derive(Debug, Clone)]
pub enum Database {
    /// A file.
    Sqlite(PathBuf),
    /// A server; the URL may hold a password.
    Postgres(SecretString),
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
