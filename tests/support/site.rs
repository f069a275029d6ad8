//! The whole program but its command line: the app over a real SQLite file, and a small Clerk beside it.

use std::sync::LazyLock;

use reqwest::header::HeaderValue;
use reqwest::{Client, RequestBuilder};
use roster::app::{self, Running};
use roster::clock;
use roster::config::{Config, Database, KeySource};
use roster::sim::keys::SigningKey;
use roster::sim::{Event, Instance};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::answer::Answer;
use super::database::Rows;
use super::delivery::{Delivery, SECRET, now_s};

pub const USERS: &str = "/api/v1/entities/users";
pub const ADMIN: &str = "/api/admin/getUsersInOrg";
const MINUTE_MS: i64 = 60_000;

/// Making a key takes a while; one is enough for all.
static KEY: LazyLock<Vec<u8>> =
    LazyLock::new(|| SigningKey::generate("ins_test").unwrap().to_pkcs8().unwrap());

/// A running site in a folder of its own, gone with the value.
pub struct Site {
    /// Clerk's side. Its clock began an hour ago, so that tokens may be younger than what it tells.
    pub clerk: Instance,
    pub rows: Rows,
    folder: TempDir,
    running: Running,
    client: Client,
}

/// An instance that always has the same key.
pub fn clerk(seed: u64) -> Instance {
    let key = SigningKey::from_pkcs8("ins_test", &KEY).unwrap();
    Instance::new(key, seed, clock::now_ms() - 60 * MINUTE_MS)
}

impl Site {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let clerk = clerk(1);
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config {
            database: Database::Sqlite(folder.path().join("roster.db")),
            ops_listen: "127.0.0.1:0".parse().unwrap(),
            webhook_secrets: vec![SECRET.into()],
            keys: KeySource::Pem(clerk.key().public_pem().unwrap()),
            issuer: Some(clerk.issuer().to_owned()),
            ..Config::default()
        };
        change(&mut config);
        let database = config.database.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let running = app::start(config, listener).await.unwrap();
        let client = Client::builder().no_proxy().no_gzip().build().unwrap();
        Self { clerk, rows: Rows::in_database(&database).await, folder, running, client }
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.running.address)
    }

    pub async fn post(&self, delivery: &Delivery) -> Answer {
        Answer::of(post(&self.client, &self.url(), delivery)).await
    }

    /// Delivers an event as Clerk would, and tells what became of it.
    pub async fn deliver(&self, event: &Event) -> String {
        self.post(&Delivery::of(event)).await.verdict()
    }

    /// A body under a message id.
    pub async fn deliver_as(&self, id: &str, body: impl Into<Vec<u8>>) -> String {
        self.post(&Delivery::new(id, body)).await.verdict()
    }

    /// Delivers all that happened at Clerk and was not delivered yet; every event must change something.
    pub async fn catch_up(&mut self) {
        for event in self.clerk.take_events() {
            assert_eq!(self.deliver(&event).await, "200 applied", "{}", event.event_type);
        }
    }

    /// Lets Clerk's clock catch up with ours, so that what happens next is younger than tokens issued before.
    pub fn now_at_clerk(&mut self) {
        self.clerk.advance(clock::now_ms() - self.clerk.now_ms());
    }

    /// A token that says what it is told to, whatever is true, issued so long ago.
    pub fn token(&self, user_id: &str, organization_id: &str, role: &str, seconds_ago: i64) -> String {
        self.token_issued_at(now_s() - seconds_ago, user_id, organization_id, role)
    }

    pub fn token_issued_at(&self, issued: i64, user_id: &str, organization_id: &str, role: &str) -> String {
        token(&self.clerk, issued, user_id, organization_id, role)
    }

    pub async fn get(&self, path: &str, token: &str) -> Answer {
        Answer::of(self.client.get(format!("{}{path}", self.url())).bearer_auth(token)).await
    }

    /// An admin asks of whose membership nothing is known yet: the token is enough.
    pub async fn ask(&self, path: &str, organization_id: &str) -> Answer {
        self.get(path, &self.token("user_newcomer", organization_id, "admin", 5)).await
    }

    /// Who is in an organization, by the list that every member may read.
    pub async fn members(&self, organization_id: &str) -> Vec<String> {
        self.ask(USERS, organization_id).await.ids()
    }

    /// Stops it. Nobody has the file open then, and nothing lies beside it any more.
    pub async fn stop(self) -> TempDir {
        self.rows.close().await;
        self.running.stop().await.unwrap();
        self.folder
    }
}

/// A session token. It lives longer than those of Clerk, so that a slow machine does not matter.
pub fn token(clerk: &Instance, issued: i64, user_id: &str, organization_id: &str, role: &str) -> String {
    let claims = json!({
        "v": 2, "sub": user_id, "sid": "sess_1", "iss": clerk.issuer(), "iat": issued,
        "nbf": issued - 10, "exp": issued + 3_600, "o": { "id": organization_id, "rol": role },
    });
    clerk.key().sign(&clerk.token_header(), &claims).unwrap()
}

/// The request of a delivery, ready to be sent.
pub fn post(client: &Client, url: &str, delivery: &Delivery) -> RequestBuilder {
    let request = client.post(format!("{url}/webhooks/clerk")).body(delivery.body.clone());
    let headers = delivery.headers.iter();
    headers
        .fold(request, |request, (name, value)| request.header(name, HeaderValue::from_bytes(value).unwrap()))
}
