//! More than there is room for: it is refused with a word on when to come again, and what can be done goes on.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use roster::config::Database;
use roster::domain::{Change, OrganizationId, UserId};
use roster::store::{Delivery, StoreError};
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::answer::Answer;
use crate::support::binary::Program;
use crate::support::cluster::Cluster;
use crate::support::database::TestStore;
use crate::support::delivery::{self, SECRET, now_s};
use crate::support::site::{ADMIN, Site, USERS, clerk, post, token};

/// What the store keeps waiting at most, as `store/writer.rs` says: events, and KiB.
const QUEUE: usize = 4_096;
const BATCH: usize = 512;
const BUDGET_KIB: usize = 64 * 1024;
/// After this everything is as before.
const RECOVERY: Duration = Duration::from_secs(5);

/// Somebody else writes, and does not end.
async fn block(store: &TestStore) -> SqliteConnection {
    let Database::Sqlite(path) = &store.database else { unreachable!("the others have no file") };
    let mut writer = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
    writer
}

fn deletion(number: usize, payload: Option<String>) -> (Delivery, Vec<Change>) {
    let id = UserId::parse(&format!("user_{number}")).unwrap();
    let delivery = Delivery {
        message_id: format!("msg_{number}"),
        event_type: "user.deleted",
        object_id: None,
        user_id: Some(id.clone()),
        occurred_at_ms: Some(1),
        received_at_ms: 1,
        payload,
    };
    (delivery, vec![Change::UserDeleted { id, at_ms: 1 }])
}

/// Offers so many events while the writer cannot write. At least `refused` of them are told at once to come again,
/// and reads go on; all others are written as soon as it can, and then it is as before.
async fn overloaded(offered: usize, refused: usize, payload: Option<String>) {
    let database = TestStore::new().await;
    let writer = block(&database).await;
    let mut waiting = JoinSet::new();
    for number in 0..offered {
        let (store, payload) = (database.store.clone(), payload.clone());
        waiting.spawn(async move {
            let (delivery, changes) = deletion(number, payload);
            store.deliver(delivery, changes).await
        });
    }
    let mut busy = 0;
    while busy < refused {
        let answered = waiting.join_next().await.unwrap().unwrap();
        assert!(matches!(answered, Err(StoreError::Busy)), "{answered:?}");
        busy += 1;
    }
    let (organization, user) = (OrganizationId::parse("org_1").unwrap(), UserId::parse("user_1").unwrap());
    database.store.standing(&organization, &user).await.unwrap();
    writer.close().await.unwrap();
    let free = Instant::now();
    let mut written = 0;
    while let Some(answered) = waiting.join_next().await {
        match answered.unwrap() {
            Ok(_) => written += 1,
            Err(StoreError::Busy) => busy += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(written + busy, offered);
    assert_eq!(database.journal().await.len(), written, "who was refused left nothing");
    let (delivery, changes) = deletion(offered, None);
    database.store.deliver(delivery, changes).await.unwrap();
    assert!(free.elapsed() < RECOVERY, "{:?}", free.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_events_than_may_wait_are_refused_at_once() {
    let refused = 1_000;
    overloaded(QUEUE + BATCH + refused, refused, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_bytes_than_may_wait_are_refused_at_once() {
    let each_kib = 60;
    let refused = 200;
    overloaded(BUDGET_KIB / each_kib + refused, refused, Some("x".repeat(each_kib * 1024))).await;
}

/// Each of them would be 503, or late, if the database were asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_known_costs_the_database_nothing() {
    let mut cluster = tokio::task::spawn_blocking(|| Cluster::start(&[])).await.unwrap();
    let url = cluster.url(&cluster.database().await);
    let site = Site::start_with(|config| config.database = Database::Postgres(url.into())).await;
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.down();
        cluster
    });
    let cluster = cluster.await.unwrap();
    let good = site.token("user_1", "org_1", "admin", 5);
    assert_eq!(site.get(USERS, &good).await.problem(), "503 UNAVAILABLE", "the database is away");
    let expired = site.token("user_1", "org_1", "admin", 4_000);
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    let begun = Instant::now();
    for _ in 0..50 {
        for token in ["", "x", "a.b.c", &expired, &forged] {
            for path in [USERS, ADMIN, "/api/v1/changes", "/api/v1/entities/users/user_1"] {
                assert_eq!(site.get(path, token).await.problem(), "401 UNAUTHORIZED", "{path}");
            }
        }
        let unsigned = delivery::Delivery::new("msg_1", json!({"type": "user.created"}).to_string());
        let unsigned = unsigned.with("svix-signature", "v1,AAAA");
        assert_eq!(site.post(&unsigned).await.problem(), "401 UNAUTHORIZED");
        for path in ["/healthz", "/openapi.json", "/docs", "/docs/swagger-ui.css"] {
            assert_eq!(site.get(path, "").await.status, 200, "{path}");
        }
        assert_eq!(site.get("/nowhere", &good).await.status, 404);
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    site.stop().await;
    drop(cluster);
}

/// The real program, its listeners, and somebody who asks it.
struct Service {
    program: Program,
    url: String,
    ops: String,
    client: reqwest::Client,
}

fn serve(folder: &std::path::Path, preparation: &str) -> Service {
    let pem = clerk(1).key().public_pem().unwrap();
    let environment = [
        ("ROSTER_LISTEN", "127.0.0.1:0"),
        ("ROSTER_OPS_LISTEN", "127.0.0.1:0"),
        ("ROSTER_LOG_FORMAT", "json"),
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
        ("CLERK_JWT_KEY", &pem),
    ];
    let mut program = Program::start_after(preparation, folder, &["serve"], &environment);
    let line: serde_json::Value = serde_json::from_str(program.wait_for("operators' listener")).unwrap();
    let ops = format!("http://{}", line["address"].as_str().unwrap());
    let url = program.wait_until_it_listens();
    Service { program, url, ops, client: reqwest::Client::builder().no_proxy().build().unwrap() }
}

impl Service {
    async fn deliver(&self, number: usize) -> String {
        let user = crate::delivery::payloads::user(&format!("user_{number}")).to_string();
        let delivery = delivery::Delivery::new(&format!("msg_{number}"), user);
        Answer::of(post(&self.client, &self.url, &delivery)).await.verdict()
    }

    async fn list(&self) -> u16 {
        let token = token(&clerk(1), now_s() - 5, "user_1", "org_1", "admin");
        let request = self.client.get(format!("{}{USERS}", self.url)).bearer_auth(token);
        Answer::of(request).await.status.as_u16()
    }

    async fn connections(&self, count: usize) -> Vec<TcpStream> {
        let address = self.url.trim_start_matches("http://").to_owned();
        let mut open = Vec::new();
        for _ in 0..count {
            open.push(TcpStream::connect(&address).await.unwrap());
        }
        open
    }

    /// So many requests of strangers, each of them another one.
    async fn strangers(&self, numbers: std::ops::Range<usize>) {
        let numbers: Vec<_> = numbers.collect();
        for some in numbers.chunks(20) {
            join_all(some.iter().map(async |number| {
                let made_up = format!("eyJhbGciOiJSUzI1NiIsImtpZCI6Imluc18{number}In0.e30.AAAA");
                let path = match number % 3 {
                    0 => USERS.to_owned(),
                    1 => format!("/nowhere/{number}"),
                    _ => format!("{USERS}?query={number}"),
                };
                let method = format!("X{number}").parse().unwrap();
                let method = if number % 5 == 0 { method } else { reqwest::Method::GET };
                let request = self.client.request(method, format!("{}{path}", self.url));
                let request = request.bearer_auth(made_up).header("x-request-id", number.to_string());
                assert!(Answer::of(request).await.status.is_client_error());
            }))
            .await;
        }
    }

    /// How many series there are.
    async fn series(&self) -> usize {
        let answer = Answer::of(self.client.get(format!("{}/metrics", self.ops))).await;
        answer.text().lines().filter(|line| !line.starts_with('#')).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_leave_nothing_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let service = serve(folder.path(), "true");
    service.strangers(0..1_000).await;
    let (series, before_kib) = (service.series().await, service.program.resident_kib());
    service.strangers(1_000..6_000).await;
    assert_eq!(service.series().await, series, "a series for each of them");
    let grown_kib = service.program.resident_kib().saturating_sub(before_kib);
    // Allocators keep a little; a kilobyte for each of them would be too much.
    assert!(grown_kib < 4_096, "{grown_kib} KiB for 5000 strangers");
}

/// How long another program holds the file at a time, and how long it does not.
const HELD: Duration = Duration::from_secs(19);
const FREE: Duration = Duration::from_millis(100);
/// How many deliveries come on one connection at the same time.
const EACH: usize = 180;
/// More than a list takes on a machine that does nothing but answer the flood.
const LIST: Duration = Duration::from_secs(20);
/// What may wait, and as much again for each of its thousands of requests, and for the program.
const MOST_KIB: usize = 5 * BUDGET_KIB;

/// Another program holds the file most of the time, so that little can be written.
async fn hold(folder: &std::path::Path, until: Instant) {
    let options = SqliteConnectOptions::new().filename(folder.join("roster.db"));
    let mut other = options.busy_timeout(Duration::from_mins(1)).connect().await.unwrap();
    while Instant::now() < until {
        sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
        tokio::time::sleep(HELD).await;
        sqlx::query("COMMIT").execute(&mut other).await.unwrap();
        tokio::time::sleep(FREE).await;
    }
    other.close().await.unwrap();
}

/// Sends events one after the other, a refused one again at once. Answers how many were taken, and how many refused.
async fn flood(client: reqwest::Client, url: String, number: usize, until: Instant) -> (usize, usize) {
    let (mut taken, mut refused) = (0, 0);
    while Instant::now() < until {
        let id = format!("{number}_{taken}");
        let user = crate::delivery::payloads::user(&format!("user_{id}")).to_string();
        let delivery = delivery::Delivery::new(&format!("msg_{id}"), user);
        let answer = Answer::of(post(&client, &url, &delivery)).await;
        if answer.status == 200 {
            taken += 1;
        } else {
            assert_eq!(answer.problem(), "503 UNAVAILABLE");
            assert!(answer.header("retry-after").is_some());
            refused += 1;
        }
    }
    (taken, refused)
}

/// Far more webhooks than can be written: those that cannot wait are told when to come again, lists are answered
/// all the while, memory stays bounded, and afterwards it is as before. A small one, unless `ROSTER_FLOOD=minute`
/// is set: that takes a minute and all of the machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_webhooks_hinders_no_list() {
    let whole = std::env::var("ROSTER_FLOOD").is_ok_and(|text| text == "minute");
    let (senders, seconds) = if whole { (30, 60) } else { (2, 1) };
    let folder = tempfile::tempdir().unwrap();
    let service = serve(folder.path(), "true");
    assert_eq!((service.deliver(1).await.as_str(), service.list().await), ("200 applied", 200));
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut floods = JoinSet::new();
    for sender in 0..senders {
        let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
        for number in 0..EACH {
            floods.spawn(flood(client.clone(), service.url.clone(), sender * EACH + number, until));
        }
    }
    let reads = async {
        let (mut lists, mut longest, mut most_kib) = (0, Duration::ZERO, 0);
        while Instant::now() < until {
            let asked = Instant::now();
            assert_eq!(service.list().await, 200);
            lists += 1;
            longest = longest.max(asked.elapsed());
            most_kib = most_kib.max(service.program.resident_kib());
        }
        (lists, longest, most_kib)
    };
    let other = async {
        if whole {
            hold(folder.path(), until).await;
        }
    };
    let (floods, (lists, longest, most_kib), ()) = tokio::join!(floods.join_all(), reads, other);
    let (taken, refused) = floods.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    println!(
        "{taken} taken, {refused} refused; {lists} lists, the slowest in {longest:?}; {most_kib} KiB at most"
    );
    assert!(!whole || refused > 4 * taken, "it was no flood");
    assert!(longest < LIST);
    assert!(most_kib < MOST_KIB);
    let over = Instant::now();
    assert_eq!((service.deliver(2).await.as_str(), service.list().await), ("200 applied", 200));
    assert!(over.elapsed() < RECOVERY, "{:?}", over.elapsed());
}

/// How many files a process may have open here.
fn file_limit() -> usize {
    let limit = std::process::Command::new("/bin/sh").args(["-c", "ulimit -n"]).output().unwrap();
    String::from_utf8(limit.stdout).unwrap().trim().parse().unwrap_or(usize::MAX)
}

/// Ten thousand of them where the limit for open files allows it, else as many as it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_keep_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let service = serve(folder.path(), "ulimit -S -n $(ulimit -H -n)");
    let before_kib = service.program.resident_kib();
    // Other tests of this process need some too.
    let count = file_limit().saturating_sub(1_000).clamp(100, 10_000);
    let idle = service.connections(count).await;
    assert_eq!((service.deliver(1).await.as_str(), service.list().await), ("200 applied", 200));
    let each_kib = service.program.resident_kib().saturating_sub(before_kib) / count;
    assert!(each_kib < 32, "{each_kib} KiB for each of {count} idle connections");
    drop(idle);
}

/// Those who were there first go on, and when the others are closed, ten seconds later, everybody is let in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_more_files_it_goes_on_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let service = serve(folder.path(), "ulimit -n 64");
    assert_eq!((service.deliver(1).await.as_str(), service.list().await), ("200 applied", 200));
    let idle = service.connections(120).await;
    for number in 2..12 {
        assert_eq!((service.deliver(number).await.as_str(), service.list().await), ("200 applied", 200));
    }
    let mut newcomer = service;
    newcomer.client = reqwest::Client::builder().no_proxy().build().unwrap();
    // Nobody closes the idle ones but the service itself.
    assert_eq!((newcomer.deliver(12).await.as_str(), newcomer.list().await), ("200 applied", 200));
    drop(idle);
}
