use roster::sim::backend_api::SECRET_KEY;
use roster::sim::server::{Server, Shared};
use serde_json::json;

use super::commands::roster;
use super::scrape::Scrape;
use super::watched::{Watched, ada};
use crate::support::delivery::{Delivery, now_s};
use crate::support::site::{ADMIN, USERS, clerk};

fn is_about(seconds: f64, expected_s: i64) {
    let expected = std::time::Duration::from_secs(expected_s.unsigned_abs()).as_secs_f64();
    assert!((expected - 60.0..expected + 60.0).contains(&seconds), "{seconds} is not about {expected}");
}

fn is(value: f64, expected: u32) {
    assert!((value - f64::from(expected)).abs() < f64::EPSILON, "{value} is not {expected}");
}

#[tokio::test]
async fn deliveries_are_counted_by_type_and_outcome() {
    let folder = tempfile::tempdir().unwrap();
    let mut clerk = clerk(1);
    let watched = Watched::start(folder.path(), &clerk, &[]);
    ada(&mut clerk);
    let events = clerk.take_events();
    for event in &events {
        assert_eq!(watched.deliver(&Delivery::of(event)).await, "200 applied");
    }
    let user = events.iter().find(|event| event.event_type == "user.created").unwrap();
    assert_eq!(watched.deliver(&Delivery::of(user)).await, "200 duplicate");
    let again = Delivery::new("msg_again", user.envelope.to_string());
    assert_eq!(watched.deliver(&again).await, "200 stale");
    let forged = Delivery::signed("whsec_Zm9yZ2Vk", "msg_forged", now_s(), user.envelope.to_string());
    assert_eq!(watched.deliver(&forged).await, "401 UNAUTHORIZED");
    let large = Delivery::new("msg_large", vec![b' '; 1024 * 1024 + 1]);
    assert_eq!(watched.deliver(&large).await, "413 PAYLOAD_TOO_LARGE");
    let odd = Delivery::new("msg_odd", json!({"type": "user.updated", "data": {"id": 7}}).to_string());
    assert_eq!(watched.deliver(&odd).await, "422 UNPROCESSABLE_EVENT");
    assert_eq!(watched.deliver(&Delivery::new("msg_none", "{")).await, "422 UNPROCESSABLE_EVENT");
    let email = json!({"type": "email.created", "data": {"id": "ema_1"}}).to_string();
    assert_eq!(watched.deliver(&Delivery::new("msg_email", email)).await, "200 ignored");

    let scrape = watched.scrape().await;
    assert_eq!(
        scrape.moved("roster_webhook_events_total"),
        [
            "applied organization.created 1",
            "applied organizationMembership.created 1",
            "applied user.created 1",
            "dead other 1",
            "dead user.updated 1",
            "duplicate user.created 1",
            "ignored other 1",
            "rejected other 2",
            "stale user.created 1",
        ]
    );
    // The large one was never looked at.
    is(scrape.sum("roster_webhook_seconds_count", &[]), 9);
    is(scrape.sum("roster_event_lag_seconds_count", &[]), 3);
    assert!(scrape.sum("roster_event_lag_seconds_sum", &[]) > 3.0 * 3_000.0, "Clerk's clock is behind");
    is_about(scrape.sum("roster_last_event_timestamp_seconds", &[]), now_s());
    // Only what is ours is kept.
    is(scrape.sum("roster_dead_letters", &[]), 1);
    for (entity, rows) in [("users", 1), ("organizations", 1), ("memberships", 1), ("invitations", 0)] {
        is(scrape.sum("roster_read_model_rows", &[("entity", entity)]), rows);
    }

    // The gauges outlive the process, its counts do not.
    watched.program.kill();
    let watched = Watched::start(folder.path(), &clerk, &[]);
    let scrape = watched.scrape().await;
    assert_eq!(scrape.moved("roster_webhook_events_total"), [""; 0]);
    is_about(scrape.sum("roster_last_event_timestamp_seconds", &[]), now_s());
    is(scrape.sum("roster_dead_letters", &[]), 1);
    is(scrape.sum("roster_read_model_rows", &[]), 3);
}

#[tokio::test]
async fn a_delivery_that_cannot_be_checked_has_failed() {
    let folder = tempfile::tempdir().unwrap();
    let watched = Watched::start(folder.path(), &clerk(1), &[("CLERK_WEBHOOK_SIGNING_SECRET", "")]);
    assert_eq!(watched.deliver(&Delivery::new("msg_1", "{}")).await, "503 UNAVAILABLE");
    let scrape = watched.scrape().await;
    assert_eq!(scrape.moved("roster_webhook_events_total"), ["failed other 1"]);
    is(scrape.sum("roster_last_event_timestamp_seconds", &[]), 0);
}

#[tokio::test]
async fn requests_are_counted_by_route_and_no_label_names_anybody() {
    let folder = tempfile::tempdir().unwrap();
    let mut clerk = clerk(1);
    let watched = Watched::start(folder.path(), &clerk, &[]);
    let (user, organization) = ada(&mut clerk);
    for event in clerk.take_events() {
        assert_eq!(watched.deliver(&Delivery::of(&event)).await, "200 applied");
    }
    for path in [USERS, ADMIN, &format!("{USERS}?query=ada%40example.com"), &format!("{USERS}/{user}")] {
        assert_eq!(watched.list(&clerk, path, &user, &organization).await, 200, "{path}");
    }
    assert_eq!(watched.list(&clerk, &format!("{USERS}/user_nobody"), &user, &organization).await, 404);
    for (method, path, status) in [
        ("GET", USERS, 401),
        ("HEAD", "/healthz", 200),
        ("DELETE", "/healthz", 405),
        ("BREW", "/healthz", 405),
        ("GET", &format!("/{user}"), 404),
        ("GET", "/ada@example.com", 404),
    ] {
        let answer = watched.ask(method, &format!("{}{path}", watched.service)).await;
        assert_eq!(answer.status, status, "{method} {path}");
    }

    let scrape = watched.scrape().await;
    assert_eq!(
        scrape.moved("roster_http_requests_total"),
        [
            "DELETE /healthz 405 1",
            "GET - 404 2",
            "GET /api/admin/getUsersInOrg 200 1",
            "GET /api/v1/entities/users 200 2",
            "GET /api/v1/entities/users 401 1",
            "GET /api/v1/entities/users/{userId} 200 1",
            "GET /api/v1/entities/users/{userId} 404 1",
            "HEAD /healthz 200 1",
            "POST /webhooks/clerk 200 3",
            "other /healthz 405 1",
        ]
    );
    for (route, count) in [("-", 2), (USERS, 3), ("/healthz", 3)] {
        is(scrape.sum("roster_http_request_seconds_count", &[("route", route)]), count);
    }
    for person in [&*user, &organization, "user_", "org_", "orgmem_", "msg_", "ada", "Ada", "Okafor", "@"] {
        assert!(!scrape.text.contains(person), "{person}");
    }
}

#[tokio::test]
async fn what_a_browser_asks_first_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let front_end = "https://app.example.com";
    let watched = Watched::start(folder.path(), &clerk(1), &[("CLERK_AUTHORIZED_PARTIES", front_end)]);
    let first = watched.request("OPTIONS", &format!("{}{USERS}", watched.service));
    let first = first.header("origin", front_end).header("access-control-request-method", "GET");
    assert_eq!(first.send().await.unwrap().status(), 204);
    let counted = watched.scrape().await.moved("roster_http_requests_total");
    assert_eq!(counted, ["OPTIONS - 204 1"]);
}

/// Clerk runs in here, and has to answer while the program is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_are_counted_with_what_they_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut instance = clerk(1);
    ada(&mut instance);
    let clerk_server = Server::start(Shared::new(clerk(1))).await.unwrap();
    let full_server = Server::start(Shared::new(instance)).await.unwrap();
    let settings = |url| [("CLERK_API_URL", url), ("CLERK_SECRET_KEY", SECRET_KEY)];

    // Nothing is there: a backfill of nothing is a success as well.
    let url = clerk_server.url();
    let mut watched = Watched::start(folder.path(), &clerk(1), &settings(&url));
    watched.program.wait_for(r#""message":"pass""#);
    let scrape = watched.scrape().await;
    assert_eq!(scrape.moved("roster_reconcile_runs_total"), ["full completed 1"]);
    assert_eq!(scrape.moved("roster_reconcile_drift_total"), [""; 0]);
    is_about(scrape.sum("roster_reconcile_last_success_timestamp_seconds", &[]), now_s());
    let answered = scrape.sum("roster_clerk_api_requests_total", &[("status", "200")]);
    assert!(answered >= 4.0, "{answered}");

    // A command finds Ada; its own process keeps no counts.
    let missing = |scrape: &Scrape| scrape.sum("roster_reconcile_drift_total", &[("drift", "missing")]);
    let (folder_of_hers, url) = (tempfile::tempdir().unwrap(), full_server.url());
    let beside = Watched::start(folder_of_hers.path(), &clerk(1), &[]);
    let reconcile = settings(&url).into_iter().collect::<Vec<_>>();
    let folder_too = folder_of_hers.path().to_owned();
    let reconciled =
        tokio::task::block_in_place(|| roster(&folder_too, &["reconcile", "--json"], &reconcile));
    assert_eq!(reconciled.status.code(), Some(0));
    for _ in 0..2 {
        let scrape = beside.scrape().await;
        assert_eq!(scrape.moved("roster_reconcile_runs_total"), ["full completed 1"]);
        is(missing(&scrape), 3);
    }
    watched.program.kill();

    // Ada is missing here.
    let url = full_server.url();
    let every_second = ("ROSTER_RECONCILE_FULL_CRON", "* * * * * *");
    let mut watched =
        Watched::start(folder.path(), &clerk(1), &[&settings(&url)[..], &[every_second]].concat());
    watched.program.wait_for(r#""message":"pass""#);
    let scrape = watched.scrape().await;
    let drift =
        |entity, drift| scrape.sum("roster_reconcile_drift_total", &[("entity", entity), ("drift", drift)]);
    for entity in ["users", "organizations", "memberships"] {
        is(drift(entity, "missing"), 1);
        is(drift(entity, "repaired"), 1);
        is(drift(entity, "gone"), 0);
        is(scrape.sum("roster_read_model_rows", &[("entity", entity)]), 1);
    }
    assert!(!scrape.text.contains(SECRET_KEY));
}
