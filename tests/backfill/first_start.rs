//! A first start beside people who existed before the first event.

use roster::sim::NewUser;
use roster::sim::shapes::Object;

use super::{Clerk, is_page, is_ready};
use crate::support::site::{Site, USERS};
use crate::support::until;

/// Why a site is not ready.
async fn reason(site: &Site) -> String {
    let answer = site.get("/readyz", "").await;
    assert_eq!(answer.problem(), "503 UNAVAILABLE");
    answer.json()["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_backfill_comes_before_readiness_and_nothing_else_waits_for_it() {
    let clerk = Clerk::with(3, 4).await;
    let held = clerk.organizations()[0].clone();
    let fetched = clerk.organizations()[1].clone();
    // The backfill stands at its first page of users, and one organization cannot be asked for.
    let path = format!("/v1/organizations/{held}");
    clerk.controls().hold_when(move |asked| {
        (asked.path == "/v1/users" && asked.first("user_id").is_none()) || asked.path == path
    });
    let site = clerk.site_with(|config| config.read_through_ms = 50).await;
    assert_eq!(reason(&site).await, "Not ready: first backfill not finished.");
    assert_eq!(site.get("/healthz", "").await.status, 200);

    // Webhooks are taken all the while.
    let (event, newcomer) = clerk.with_instance(|instance| {
        let event = instance.create_user(NewUser::named("New", "Comer", "new@example.com"));
        let id = event.id().to_owned();
        (event, id)
    });
    assert_eq!(site.deliver(&event).await, "200 applied");
    let joined = clerk
        .with_instance(|instance| instance.join(&newcomer, &held, "org:member", &Object::new()).unwrap());
    assert_eq!(site.deliver(&joined).await, "200 applied");

    // What was fetched for a caller is answered, what was not is not: a part would look like the whole.
    let answer = site.ask(USERS, &held).await;
    assert_eq!(answer.problem(), "503 UNAVAILABLE");
    assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    until("the organization is fetched", async || site.ask(USERS, &fetched).await.status == 200).await;
    assert_eq!(site.members(&fetched).await, clerk.members(&fetched));
    assert_eq!(reason(&site).await, "Not ready: first backfill not finished.");

    clerk.controls().release();
    until("the site is ready", async || is_ready(&site).await).await;
    clerk.is_told_by(&site).await;
    let kept = site.rows.rows("SELECT kind, outcome FROM passes", "").await;
    assert_eq!(kept, ["kind=full outcome=completed"]);
    site.stop().await;
}

#[tokio::test]
async fn an_organization_that_only_webhooks_told_of_is_fetched_whole_before_it_is_shown() {
    let clerk = Clerk::with(2, 3).await;
    clerk.controls().hold_when(|asked| asked.path == "/v1/users" && asked.first("user_id").is_none());
    let site = clerk.site_with(|_| {}).await;
    let organization = clerk.organizations()[0].clone();
    let event = clerk.with_instance(|instance| {
        let user = instance.create_user(NewUser::named("New", "Comer", "new@example.com"));
        instance.join(user.id(), &organization, "org:member", &Object::new()).unwrap()
    });
    assert_eq!(site.deliver(&event).await, "200 applied");
    until("the organization is fetched", async || site.ask(USERS, &organization).await.status == 200).await;
    assert_eq!(site.members(&organization).await, clerk.members(&organization));
    clerk.controls().release();
    site.stop().await;
}

#[tokio::test]
async fn a_site_that_was_stopped_before_its_backfill_is_not_ready_after_the_restart() {
    let clerk = Clerk::with(1, 2).await;
    let folder = tempfile::tempdir().unwrap();
    let database = roster::config::Database::Sqlite(folder.path().join("roster.db"));
    // Clerk does not even say how much there is.
    clerk.controls().hold_when(|_| true);
    for _ in 0..2 {
        let site = clerk.site_with(|config| config.database = database.clone()).await;
        assert_eq!(reason(&site).await, "Not ready: first backfill not finished.");
        let event =
            clerk.with_instance(|instance| instance.create_user(NewUser::named("A", "B", "a@example.com")));
        assert_eq!(site.deliver(&event).await, "200 applied");
        site.stop().await;
    }
    clerk.controls().release();
    let site = clerk.site_with(|config| config.database = database.clone()).await;
    until("the site is ready", async || is_ready(&site).await).await;
    clerk.is_told_by(&site).await;
    let stop = site.stop();
    stop.await;

    // And from then on it is ready at once, without a page.
    clerk.controls().take_log();
    let site = clerk.site_with(|config| config.database = database.clone()).await;
    assert!(is_ready(&site).await);
    assert_eq!(clerk.controls().take_log().iter().filter(|asked| is_page(asked)).count(), 0);
    site.stop().await;
}

/// Webhooks have filled it; that Clerk cannot be asked later is no reason to answer nothing.
#[tokio::test]
async fn a_site_that_had_people_before_it_had_a_key_is_ready_whatever_becomes_of_its_passes() {
    let clerk = Clerk::with(1, 2).await;
    let folder = tempfile::tempdir().unwrap();
    let database = roster::config::Database::Sqlite(folder.path().join("roster.db"));
    let site = clerk
        .site_with(|config| {
            config.database = database.clone();
            config.secret_key = None;
        })
        .await;
    let event =
        clerk.with_instance(|instance| instance.create_user(NewUser::named("A", "B", "a@example.com")));
    assert_eq!(site.deliver(&event).await, "200 applied");
    site.stop().await;
    clerk.controls().hold_when(is_page);
    for _ in 0..2 {
        clerk.controls().take_log();
        let site = clerk.site_with(|config| config.database = database.clone()).await;
        assert!(is_ready(&site).await);
        until("a pass is under way", async || clerk.controls().take_log().iter().any(is_page)).await;
        site.stop().await;
    }
    clerk.controls().release();
}

#[tokio::test]
async fn a_failing_clerk_delays_the_backfill_and_nothing_more() {
    let clerk = Clerk::with(2, 3).await;
    clerk.controls().set_secret_key("sk_test_another");
    let site = clerk.site_with(|_| {}).await;
    until("Clerk was asked", async || clerk.controls().asked() > 0).await;
    assert_eq!(reason(&site).await, "Not ready: first backfill not finished.");
    clerk.controls().set_secret_key(roster::sim::backend_api::SECRET_KEY);
    until("the site is ready", async || is_ready(&site).await).await;
    clerk.is_told_by(&site).await;
    site.stop().await;
}
