//! One of several instances is killed in the middle of a full pass, and another one goes on with it.

use std::time::Instant;

use roster::sim::backend_api::Asked;

use super::killed::{Binary, LEASE};
use super::{Clerk, is_page, lines, list_of};
use crate::support::binary::Program;
use crate::support::cluster::Cluster;
use crate::support::until;

const EVERY_SECOND: &str = "* * * * * *";

async fn database_url() -> String {
    let cluster = tokio::task::spawn_blocking(Cluster::shared).await.unwrap();
    cluster.url(&cluster.database().await)
}

/// A page of a full walk; the others are asked for from the newest end.
fn is_of_walk(asked: &Asked) -> bool {
    is_page(asked) && asked.first("order_by").is_none_or(|order| !order.starts_with('-'))
}

fn is_second_of_memberships(asked: &Asked) -> bool {
    is_of_walk(asked)
        && asked.path == "/v1/organization_memberships"
        && asked.first("offset").is_some_and(|offset| offset != "0")
}

/// Kills the first while it waits for a page; the other one asks for this page and for those that follow.
async fn goes_on(binary: &Binary<'_>, first: Program, other: &str) {
    let clerk = binary.clerk;
    let mut asked = Vec::new();
    until("the first is among the memberships", async || {
        asked.extend(clerk.controls().take_log().into_iter().filter(is_second_of_memberships));
        !asked.is_empty()
    })
    .await;
    let rows = binary.rows().await;
    let open = "SELECT id FROM passes WHERE kind = 'full' AND outcome IS NULL";
    let with_others_walked = format!(
        "{open} AND progress LIKE '%\"stage\":{{\"lists\":{{\"memberships\":%' AND progress NOT LIKE '%\"invitations\":{{\"from\"%'"
    );
    until("it has walked the other lists", async || !rows.rows(&with_others_walked, "").await.is_empty())
        .await;
    clerk.controls().take_log();
    first.kill();
    let killed = Instant::now();
    clerk.controls().release();
    let id = rows.rows(open, "").await.remove(0);
    until("the pass is at its end", async || rows.rows(open, "").await.is_empty()).await;
    // It waited for the lease, and not for much more.
    assert!(killed.elapsed() < LEASE * 2, "{:?}", killed.elapsed());
    let newest =
        "SELECT id, outcome FROM passes WHERE kind = 'full' ORDER BY started_at_ms DESC, id DESC LIMIT 1";
    assert_eq!(rows.rows(newest, "").await, [format!("{id} outcome=completed")], "it is the same pass");

    let held = lines(&asked).pop().unwrap();
    let went_on: Vec<_> = clerk.controls().take_log().into_iter().filter(is_of_walk).collect();
    let went_on = lines(&went_on);
    assert_eq!(went_on[0], held);
    assert!(went_on.iter().all(|line| list_of(line) == list_of(&held)), "{went_on:#?}");
    binary.tells_the_truth(other).await;
    rows.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_goes_on_at_another_instance() {
    let clerk = Clerk::with(20, 60).await;
    let binary = Binary { database_url: database_url().await, ..Binary::of(&clerk) };
    clerk.controls().hold_when(is_second_of_memberships);
    let mut first = binary.serve();
    first.wait_until_it_listens();
    until("the first has the lease", async || clerk.controls().asked() > 0).await;
    let mut second = binary.serve();
    let service = second.wait_until_it_listens();
    second.wait_for("another process runs a pass");
    assert_eq!(binary.status(&service, "/readyz").await, 503);
    goes_on(&binary, first, &service).await;
    until("the site is ready", async || binary.status(&service, "/readyz").await == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_full_pass_goes_on_at_another_instance() {
    let clerk = Clerk::with(20, 60).await;
    let url = database_url().await;
    // One never looks at the newest changes only, the other one never begins a full pass.
    let full = Binary { database_url: url.clone(), full_cron: EVERY_SECOND, ..Binary::of(&clerk) };
    let recent = Binary { database_url: url, cron: EVERY_SECOND, ..Binary::of(&clerk) };
    let mut second = recent.serve();
    let service = second.wait_until_it_listens();
    until("the site is ready", async || recent.status(&service, "/readyz").await == 200).await;
    clerk.controls().take_log();
    clerk.controls().hold_when(is_second_of_memberships);
    let first = full.serve();
    goes_on(&recent, first, &service).await;
}
