//! `kill -9` in the middle of a backfill, and what the next start does.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use roster::config::Database;
use roster::sim::backend_api::Asked;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use super::{Clerk, NEVER, distinct, is_page, lines, list_of};
use crate::support::answer::Answer;
use crate::support::binary::Program;
use crate::support::database::Rows;
use crate::support::site::{USERS, token};
use crate::support::until;

/// The holder of the lease is dead for as long as this before it counts as dead.
pub const LEASE: Duration = Duration::from_secs(15);

pub struct Binary<'a> {
    pub clerk: &'a Clerk,
    pub folder: TempDir,
    pub database_url: String,
    pub cron: &'static str,
    pub full_cron: &'static str,
}

impl<'a> Binary<'a> {
    pub fn of(clerk: &'a Clerk) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database_url = format!("sqlite://{}", folder.path().join("roster.db").display());
        Self { clerk, folder, database_url, cron: NEVER, full_cron: NEVER }
    }

    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DATABASE_URL", self.database_url.clone()),
            ("ROSTER_LISTEN", "127.0.0.1:0".to_owned()),
            ("ROSTER_OPS_LISTEN", "127.0.0.1:0".to_owned()),
            ("CLERK_JWT_KEY", self.clerk.instance.lock().key().public_pem().unwrap()),
            ("CLERK_SECRET_KEY", roster::sim::backend_api::SECRET_KEY.to_owned()),
            ("CLERK_API_URL", self.clerk.server.url()),
            ("ROSTER_CLERK_RATE", "10000".to_owned()),
            ("ROSTER_RECONCILE_CRON", self.cron.to_owned()),
            ("ROSTER_RECONCILE_FULL_CRON", self.full_cron.to_owned()),
            ("ROSTER_LOG", "info".to_owned()),
            ("ROSTER_LOG_FORMAT", "json".to_owned()),
        ]
    }

    pub fn serve(&self) -> Program {
        let environment = self.environment();
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, &**value)).collect();
        Program::start(self.folder.path(), &["serve"], &environment)
    }

    pub async fn rows(&self) -> Rows {
        Rows::in_database(&Database::parse(&self.database_url).unwrap()).await
    }

    pub async fn status(&self, service: &str, path: &str) -> u16 {
        client().get(format!("{service}{path}")).send().await.unwrap().status().as_u16()
    }

    pub async fn members(&self, service: &str, organization: &str) -> Vec<String> {
        let issued = roster::clock::now_ms() / 1000 - 5;
        let token = token(&self.clerk.instance.lock(), issued, "user_newcomer", organization, "admin");
        Answer::of(client().get(format!("{service}{USERS}")).bearer_auth(token)).await.ids()
    }

    pub async fn tells_the_truth(&self, service: &str) {
        for organization in self.clerk.organizations() {
            assert_eq!(self.members(service, &organization).await, self.clerk.members(&organization));
        }
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// The lists of twenty organizations with sixty members each: their paths, their tables, and how many rows there are when
/// each of their pages is written. Behind the last page of users comes an empty one; other pages begin with the last object
/// of the one before.
const LISTS: [(&str, &str, &[usize]); 4] = [
    ("/v1/users", "users", &[0, 500, 1_000, 1_200, 1_200]),
    ("/v1/organizations", "organizations", &[0, 20]),
    ("/v1/organization_memberships", "memberships", &[0, 500, 999, 1_200]),
    ("/v1/organization_invitations", "invitations", &[0, 0]),
];

/// Kills the service while its `number`th page is on its way and those before it are written, and lets the next one
/// finish.
async fn kill_at(number: usize) {
    let clerk = Clerk::with(20, 60).await;
    let binary = Binary::of(&clerk);
    let answered = Arc::new(Mutex::new(Vec::new()));
    clerk.controls().hold_when({
        let answered = Arc::clone(&answered);
        move |asked| {
            let mut answered = answered.lock().unwrap();
            let is_held = is_page(asked) && answered.len() + 1 >= number;
            answered.extend((is_page(asked) && !is_held).then(|| asked.path.clone()));
            is_held
        }
    });
    let mut program = binary.serve();
    let service = program.wait_until_it_listens();
    let mut asked = Vec::new();
    let rows = binary.rows().await;
    until("each list waits for a page, or is at its end", async || {
        asked.extend(clerk.controls().take_log().into_iter().filter(is_page));
        for (path, table, written) in LISTS {
            let is_of = |asked: &&Asked| asked.path == path;
            let answered = answered.lock().unwrap().iter().filter(|of| *of == path).count();
            let count = rows.rows(&format!("SELECT COUNT(*) AS count FROM {table}"), "").await;
            let waits = asked.iter().filter(is_of).count() == (written.len() - 1).min(answered + 1);
            if !waits || count != [format!("count={}", written[answered])] {
                return false;
            }
        }
        true
    })
    .await;
    assert_eq!(binary.status(&service, "/readyz").await, 503);
    program.kill();
    clerk.controls().release();
    let first = lines(&asked);
    assert!(first.len() >= number);

    let restarted = Instant::now();
    let mut program = binary.serve();
    let service = program.wait_until_it_listens();
    until("the site is ready", async || binary.status(&service, "/readyz").await == 200).await;
    assert!(restarted.elapsed() < LEASE, "it waited for the dead: {:?}", restarted.elapsed());
    binary.tells_the_truth(&service).await;

    let second: Vec<_> = clerk.controls().take_log().into_iter().filter(is_page).collect();
    let second = lines(&second);
    for (at, line) in first.iter().enumerate().filter(|(_, line)| second.contains(line)) {
        let next = first[at + 1..].iter().find(|later| list_of(later) == list_of(line));
        assert_eq!(next, None, "only the pages that were under way: {line}");
    }
    assert_eq!(distinct(&first).len(), first.len());
    assert_eq!(distinct(&second).len(), second.len());

    assert_eq!(rows.rows("SELECT kind, outcome FROM passes", "").await, ["kind=full outcome=completed"]);
    assert_eq!(rows.rows("SELECT owner FROM leases", "").await, Vec::<String>::new());
    program.terminate();
    assert_eq!(program.wait().code(), Some(0));
}

/// Its writes wait for another program, and so does every page but the next one of each list.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_backfill_is_never_more_than_a_page_ahead() {
    let clerk = Clerk::with(20, 60).await;
    let binary = Binary::of(&clerk);
    clerk.controls().hold_when(is_page);
    let mut program = binary.serve();
    program.wait_until_it_listens();
    let mut asked = Vec::new();
    until("the first pages are asked for", async || {
        asked.extend(clerk.controls().take_log().into_iter().filter(is_page));
        asked.len() == LISTS.len()
    })
    .await;
    let file = SqliteConnectOptions::new().filename(binary.folder.path().join("roster.db"));
    let mut other = file.connect().await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    clerk.controls().release();
    let asked_for = |asked: &[Asked], list: &str| asked.iter().filter(|one| one.path == list).count();
    until("the pages behind them are asked for", async || {
        asked.extend(clerk.controls().take_log().into_iter().filter(is_page));
        ["/v1/users", "/v1/organization_memberships"].iter().all(|list| asked_for(&asked, list) == 2)
    })
    .await;
    program.kill();
    other.close().await.unwrap();
    asked.extend(clerk.controls().take_log().into_iter().filter(is_page));
    for (path, ..) in LISTS {
        assert!(asked_for(&asked, path) <= 2, "{path}");
    }

    let mut program = binary.serve();
    let service = program.wait_until_it_listens();
    until("the site is ready", async || binary.status(&service, "/readyz").await == 200).await;
    binary.tells_the_truth(&service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_backfill_goes_on_among_the_first_pages() {
    kill_at(4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_backfill_goes_on_among_the_last_pages() {
    kill_at(7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_backfill_goes_on_from_its_first_page() {
    kill_at(1).await;
}
