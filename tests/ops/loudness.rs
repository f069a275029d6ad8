//! How loud the log says what: a service that starts is asked every second, and has not failed.

use roster::sim::backend_api::SECRET_KEY;
use roster::sim::server::{Server, Shared};

use super::watched::{Watched, ada};
use crate::support::delivery::{Delivery, SECRET};
use crate::support::site::{USERS, clerk};

/// The levels of the lines about requests, in their order.
fn levels(watched: &Watched) -> Vec<String> {
    let requests = watched.program.seen().iter().filter(|line| line.contains("\"latency_us\""));
    let level = |line: &String| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let (level, status) = (line["level"].as_str().unwrap(), &line["status"]);
        format!("{level} {status} {}", line["span"]["route"].as_str().unwrap())
    };
    requests.map(level).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_the_first_backfill_is_no_error() {
    let mut instance = clerk(1);
    let (user, organization) = ada(&mut instance);
    let server = Server::start(Shared::new(instance)).await.unwrap();
    server.controls().hold_when(|_| true);
    let folder = tempfile::tempdir().unwrap();
    let url = server.url();
    let settings = [
        ("CLERK_API_URL", &*url),
        ("CLERK_SECRET_KEY", SECRET_KEY),
        ("ROSTER_READ_THROUGH_MS", "1"),
        ("ROSTER_LOG", "debug"),
    ];
    let mut watched = Watched::start(folder.path(), &clerk(1), &settings);
    assert_eq!(watched.ask("GET", &format!("{}/readyz", watched.service)).await.status, 503);
    assert_eq!(watched.list(&clerk(1), USERS, &user, &organization).await, 503);
    watched.program.terminate();
    watched.program.wait_for("stopping");
    assert_eq!(levels(&watched), ["DEBUG 503 /readyz", "INFO 503 /api/v1/entities/users"]);
    server.controls().release();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_taken_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut watched = Watched::start(folder.path(), &clerk(1), &[("CLERK_WEBHOOK_SIGNING_SECRET", "")]);
    let delivery = Delivery::signed(SECRET, "msg_1", crate::support::delivery::now_s(), "{}");
    assert_eq!(watched.deliver(&delivery).await, "503 UNAVAILABLE");
    watched.program.terminate();
    watched.program.wait_for("stopping");
    assert_eq!(levels(&watched), ["ERROR 503 /webhooks/clerk"]);
}
