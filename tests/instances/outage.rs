//! What is said while the server is not there, is the wrong one, or comes back.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use roster::config::Database;

use super::fleet::Story;
use crate::support::cluster::Cluster;
use crate::support::database::server_database;
use crate::support::delivery::Delivery;
use crate::support::site::{Site, USERS};

fn roster(command: &str, database_url: &str) -> Output {
    let mut roster = Command::new(env!("CARGO_BIN_EXE_roster"));
    roster.arg(command).env_clear().env("DATABASE_URL", database_url).env("NO_COLOR", "1");
    roster.env("ROSTER_LISTEN", "127.0.0.1:0").env("ROSTER_OPS_LISTEN", "127.0.0.1:0");
    roster.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_server_everything_is_503_and_nothing_that_is_old_is_shown() {
    let mut cluster = tokio::task::spawn_blocking(|| Cluster::start(&[])).await.unwrap();
    let url = cluster.url(&cluster.database().await);
    let site = Site::start_with(|config| config.database = Database::Postgres(url.into())).await;
    let story = Story::new();
    let (told, untold) = story.events.split_at(story.events.len() / 2);
    for event in told {
        assert!(site.deliver(event).await.starts_with("200"));
    }
    let organization = &story.organizations[0];
    // Kept ready from here on.
    let before = site.ask(USERS, organization).await;
    assert_eq!(before.status, 200);
    cluster = tokio::task::spawn_blocking(move || {
        cluster.down();
        cluster
    })
    .await
    .unwrap();

    let refused = site.post(&Delivery::of(&untold[0])).await;
    assert_eq!(refused.problem(), "503 UNAVAILABLE");
    assert!(refused.header("retry-after").is_some());
    // By now it is known that others cannot be heard.
    assert_eq!(site.ask(USERS, organization).await.problem(), "503 UNAVAILABLE");
    assert_eq!(site.get("/readyz", "").await.status, 503);
    assert_eq!(site.get("/healthz", "").await.status, 200);

    let cluster = tokio::task::spawn_blocking(move || {
        cluster.up();
        cluster
    })
    .await
    .unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while site.get("/readyz", "").await.status != 200 {
        assert!(Instant::now() < deadline, "it does not come back");
    }
    assert_eq!(site.ask(USERS, organization).await.text(), before.text());
    for event in untold {
        assert!(site.deliver(event).await.starts_with("200"));
    }
    site.stop().await;
    drop(cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_waited_for_and_then_named() {
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let nobody = format!("postgres://127.0.0.1:{port}/roster");
    let doctor = roster("doctor", &nobody);
    assert_eq!(doctor.status.code(), Some(1), "{}", said(&doctor));
    assert!(said(&doctor).contains("mend  database        PostgreSQL cannot be used"), "{}", said(&doctor));
    let begun = Instant::now();
    let serve = roster("serve", &nobody);
    assert_eq!(serve.status.code(), Some(1), "{}", said(&serve));
    assert!(said(&serve).contains("check DATABASE_URL"), "{}", said(&serve));
    assert!((25..45).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_looks_at_a_server_and_changes_nothing() {
    let database = server_database().await;
    let Database::Postgres(url) = &database else { unreachable!() };
    let url = secrecy::ExposeSecret::expose_secret(url);
    let empty = said(&roster("doctor", url));
    assert!(
        empty.contains("ok    database        PostgreSQL answers; `roster serve` makes the tables"),
        "{empty}"
    );
    let site = Site::start_with(|config| config.database = database.clone()).await;
    let served = said(&roster("doctor", url));
    assert!(
        served.contains("ok    database        PostgreSQL answers; no event has come in yet"),
        "{served}"
    );
    site.stop().await;

    let (primary, replica) = tokio::task::spawn_blocking(|| {
        let primary = Cluster::start(&[]);
        let replica = primary.replica();
        (primary, replica)
    })
    .await
    .unwrap();
    let standby = said(&roster("doctor", &replica.url("postgres")));
    assert!(standby.contains("mend  database        PostgreSQL is a standby here"), "{standby}");
    drop((replica, primary));
}
