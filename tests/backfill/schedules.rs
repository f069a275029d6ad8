//! Passes that nobody starts.

use roster::clock;
use roster::config::Database;
use roster::sim::NewUser;
use roster::sim::backend_api::{Fault, SECRET_KEY};
use roster::sim::shapes::Object;
use roster::store::Store;
use serde_json::Value;

use super::killed::Binary;
use super::{Clerk, NEVER, lines, number};
use crate::support::site::Site;
use crate::support::until;

const EVERY_SECOND: &str = "* * * * * *";

async fn passes(site: &Site, outcome: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) FROM passes WHERE kind = 'incremental' AND outcome = '{outcome}'");
    number(&site.rows, &sql).await
}

#[tokio::test]
async fn what_no_webhook_told_is_there_after_a_scheduled_pass() {
    let clerk = Clerk::with(2, 3).await;
    let site = clerk.filled_site_with(|config| EVERY_SECOND.clone_into(&mut config.reconcile_cron)).await;
    let organization = clerk.organization("Unheard of", 3);
    let truth = clerk.members(&organization);
    let listed = format!("SELECT COUNT(*) FROM members WHERE organization_id = '{organization}'");
    until("the pass has come", async || number(&site.rows, &listed).await == 3).await;
    assert_eq!(site.members(&organization).await, truth);
    site.stop().await;
}

#[tokio::test]
async fn passes_that_take_longer_than_their_interval_do_not_overlap() {
    let clerk = Clerk::with(1, 3).await;
    let site = clerk.filled_site_with(|config| EVERY_SECOND.clone_into(&mut config.reconcile_cron)).await;
    clerk.controls().set_latency(std::time::Duration::from_millis(200));
    clerk.controls().take_log();
    until("passes have run", async || passes(&site, "completed").await >= 3).await;
    let asked = lines(&clerk.controls().take_log());
    // A pass asks how many users there are first and last.
    let count = |line: &&String| line.contains("/users/count");
    let one: Vec<_> = asked.split_inclusive(|line| count(&line)).skip(1).step_by(2).collect();
    assert!(one.len() >= 2, "{asked:#?}");
    for pass in &one[1..one.len() - 1] {
        assert_eq!(pass, &one[0], "{asked:#?}");
    }
    assert!(one[0].len() > 4, "{asked:#?}");
    site.stop().await;
}

#[tokio::test]
async fn a_failed_pass_does_not_stop_the_next() {
    let clerk = Clerk::with(1, 3).await;
    let site = clerk.filled_site_with(|config| EVERY_SECOND.clone_into(&mut config.reconcile_cron)).await;
    clerk.controls().set_secret_key("sk_test_another");
    until("a pass has failed", async || passes(&site, "failed").await >= 1).await;
    clerk.controls().set_secret_key(SECRET_KEY);
    let before = passes(&site, "completed").await;
    until("a pass has run", async || passes(&site, "completed").await > before).await;
    site.stop().await;
}

/// Once a day is its turn, and a command of a minute must not cost the day.
#[tokio::test]
async fn a_full_pass_that_was_left_out_for_another_process_is_made_up_for() {
    let clerk = Clerk::with(1, 3).await;
    let at_s = clock::now_ms() / 1_000 + 12;
    let once = format!("{} {} {} * * *", at_s % 60, at_s / 60 % 60, at_s / 3_600 % 24);
    let site = clerk
        .filled_site_with(|config| {
            EVERY_SECOND.clone_into(&mut config.reconcile_cron);
            config.reconcile_full_cron = once;
        })
        .await;
    let database = Database::Sqlite(site.folder().join("roster.db"));
    let other = Store::open(&database).await.unwrap();
    until("another process has the lease", async || {
        let now_ms = clock::now_ms();
        other.take_lease("another", now_ms, now_ms + 60_000).await.unwrap()
    })
    .await;
    assert!(clock::now_ms() / 1_000 < at_s, "this machine is too slow for the test");
    // Passes begin up to five seconds late.
    until("its time is over", async || clock::now_ms() / 1_000 > at_s + 6).await;
    let ended = "SELECT COUNT(*) FROM passes WHERE kind = 'full' AND outcome = 'completed'";
    assert_eq!(number(&site.rows, ended).await, 1, "the first of all");
    other.release_lease("another").await.unwrap();
    until("the full pass has ended", async || number(&site.rows, ended).await == 2).await;
    other.close().await;
    site.stop().await;
}

/// A full pass that was begun is tried again at every start, and may fail for as long as Clerk does not show some list.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_pass_that_cannot_end_does_not_keep_a_filled_copy_from_what_is_new() {
    let clerk = Clerk::with(1, 3).await;
    let binary = Binary::of(&clerk);
    let mut program = binary.serve();
    let service = program.wait_until_it_listens();
    until("the copy is filled", async || binary.status(&service, "/readyz").await == 200).await;
    program.kill();
    clerk.controls().fail_when(|asked| {
        (asked.path == "/v1/users" && asked.first("order_by") == Some("+created_at"))
            .then_some(Fault::WrongKey)
    });
    let rows = binary.rows().await;
    let open = "SELECT id FROM passes WHERE kind = 'full' AND outcome IS NULL";
    let full = Binary { full_cron: EVERY_SECOND, ..binary };
    let program = full.serve();
    until("a full pass has been begun", async || !rows.rows(open, "").await.is_empty()).await;
    program.kill();

    let recent = Binary { cron: EVERY_SECOND, full_cron: NEVER, ..full };
    let mut program = recent.serve();
    let service = program.wait_until_it_listens();
    assert_eq!(recent.status(&service, "/readyz").await, 200);
    // Of an organization that is known here, so that nobody fetches it for whoever asks.
    let organization = clerk.organizations().remove(0);
    clerk.with_instance(|instance| {
        let user = instance.create_user(NewUser::named("Unheard", "Of", "unheard@x.io"));
        instance.join(user.id(), &organization, "org:member", &Object::new()).unwrap();
    });
    let truth = clerk.members(&organization);
    until("what is new is here", async || recent.members(&service, &organization).await == truth).await;
    assert_eq!(rows.rows(open, "").await.len(), 1, "the full pass has not ended");
    clerk.controls().heal();
    until("the full pass has ended", async || rows.rows(open, "").await.is_empty()).await;
    rows.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_pass_under_way_and_gives_the_lease_back() {
    let clerk = Clerk::with(1, 3).await;
    let binary = Binary { cron: EVERY_SECOND, ..Binary::of(&clerk) };
    let mut program = binary.serve();
    let service = program.wait_until_it_listens();
    until("the site is ready", async || binary.status(&service, "/readyz").await == 200).await;
    clerk.controls().hold_when(|asked| asked.path == "/v1/organization_memberships");
    let held = |log: Vec<roster::sim::backend_api::Asked>| {
        log.iter().any(|asked| asked.path == "/v1/organization_memberships")
    };
    clerk.controls().take_log();
    until("a pass is under way", async || held(clerk.controls().take_log())).await;
    program.terminate();
    assert_eq!(program.wait().code(), Some(0));
    let rows = binary.rows().await;
    assert_eq!(rows.rows("SELECT owner FROM leases", "").await, Vec::<String>::new());
    let last = rows.rows("SELECT outcome, progress FROM passes ORDER BY id DESC LIMIT 1", "").await.remove(0);
    let (outcome, progress) = last.split_once(" progress=").unwrap();
    assert_eq!(outcome, "outcome=interrupted");
    serde_json::from_str::<Value>(progress).unwrap();
}
