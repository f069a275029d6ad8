use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use roster::app::{self, Claim, ClaimError};
use roster::clock;
use roster::config::{Config, Database};
use roster::store::{Delivery, Store};
use tokio::net::TcpListener;

use super::folder;
use crate::support::until;

fn config(database: &Path) -> Config {
    Config {
        database: Database::Sqlite(database.to_owned()),
        ops_listen: "127.0.0.1:0".parse().unwrap(),
        ..Config::default()
    }
}

#[test]
fn a_database_is_for_its_owner_only_and_for_one_service_at_a_time() {
    let folder = folder();
    let database = folder.join("claimed.db");
    let claim = Claim::take(&database).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        assert_eq!(fs::metadata(&database).unwrap().permissions().mode() & 0o777, 0o600);
        let other_name = folder.join("other.db");
        symlink(&database, &other_name).unwrap();
        assert!(matches!(Claim::take(&other_name), Err(ClaimError::Taken(_))));
    }
    assert!(matches!(Claim::take(&database), Err(ClaimError::Taken(_))));
    drop(claim);
    assert!(Claim::take(&database).is_ok());
    assert!(matches!(Claim::take(&folder.join("no/such.db")), Err(ClaimError::Io(..))));
}

#[tokio::test]
async fn events_leave_the_journal_when_their_days_are_over() {
    const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
    let folder = folder();
    let config = Config { journal_days: 30, ..config(&folder.join("journal.db")) };
    let store = Store::open(&config.database).await.unwrap();
    for (id, days) in [("msg_31", 31), ("msg_29", 29)] {
        let delivery = Delivery {
            message_id: id.to_owned(),
            event_type: "user.created",
            object_id: None,
            user_id: None,
            occurred_at_ms: None,
            received_at_ms: clock::now_ms() - days * DAY_MS,
            payload: None,
        };
        store.bury(delivery, "it is not understood".to_owned()).await.unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let running = app::start(config, listener).await.unwrap();
    until("the old event is forgotten", async || store.event("msg_31").await.unwrap().is_none()).await;
    assert!(store.event("msg_29").await.unwrap().is_some());
    store.close().await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn the_service_starts_answers_and_stops_and_starts_again() {
    let database = folder().join("roster.db");
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let running = app::start(config(&database), listener).await.unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("http://{}/healthz", running.address)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        running.stop().await.unwrap();
        assert!(!database.with_extension("db-wal").exists(), "the last connection has put the log away");
    }
}

#[cfg(unix)]
#[test]
fn the_stop_signal_ends_the_program_with_zero() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_roster"));
    program
        .args(["serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--log-format", "json"])
        .env_clear()
        .current_dir(folder());
    let mut program = program.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(program.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("listening")));
    let id = program.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert!(log.any(|line| line.contains("stopped")));
    assert_eq!(program.wait().unwrap().code(), Some(0));
}
