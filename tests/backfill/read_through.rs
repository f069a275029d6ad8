//! A token is ahead of every webhook: the organization that it names is fetched for whoever asks.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use roster::sim::backend_api::Fault;
use roster::sim::shapes::Object;

use super::Clerk;
use crate::support::site::{Site, USERS};
use crate::support::until;

/// How often each organization itself was asked for since the last look.
fn fetches(clerk: &Clerk, organization: &str) -> usize {
    let path = format!("/v1/organizations/{organization}");
    clerk.controls().take_log().iter().filter(|asked| asked.path == path).count()
}

async fn is_shown(site: &Site, organization: &str) -> bool {
    site.ask(USERS, organization).await.status == 200
}

/// Checks that a caller is told to come again.
async fn is_told_to_wait(site: &Site, organization: &str) {
    let answer = site.ask(USERS, organization).await;
    assert_eq!(answer.problem(), "503 UNAVAILABLE");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn one_flight_serves_everybody_who_asks() {
    let clerk = Clerk::with(1, 2).await;
    // Nobody is in a hurry, so that a slow machine does not matter.
    let site = clerk.filled_site_with(|config| config.read_through_ms = 30_000).await;
    let organization = clerk.organization("New", 120);
    let path = format!("/v1/organizations/{organization}");
    clerk.controls().hold_when(move |asked| asked.path == path);
    let callers = join_all((0..50).map(|_| site.members(&organization)));
    let released = until("the organization is asked for", async || clerk.controls().asked() > 0);
    let release = async {
        released.await;
        clerk.controls().release();
    };
    let (lists, ()) = tokio::join!(callers, release);
    let truth = clerk.members(&organization);
    assert_eq!(truth.len(), 120);
    assert!(lists.iter().all(|list| *list == truth));
    let log = clerk.controls().take_log();
    let paths: Vec<_> = log.iter().map(|asked| asked.path.rsplit('/').next().unwrap()).collect();
    assert_eq!(paths, [&*organization, "memberships", "users", "users"], "users come a hundred at a time");

    // Known now.
    assert_eq!(site.members(&organization).await, truth);
    assert_eq!(clerk.controls().take_log(), []);
    site.stop().await;
}

#[tokio::test]
async fn a_caller_waits_no_longer_than_is_set_and_the_flight_goes_on() {
    let clerk = Clerk::with(1, 2).await;
    let site = clerk.filled_site_with(|config| config.read_through_ms = 100).await;
    let organization = clerk.organization("New", 3);
    clerk.controls().hold_when(|_| true);
    let asked = Instant::now();
    is_told_to_wait(&site, &organization).await;
    assert!(asked.elapsed() >= Duration::from_millis(100));
    is_told_to_wait(&site, &organization).await;
    clerk.controls().release();
    until("the list is there", async || is_shown(&site, &organization).await).await;
    assert_eq!(site.members(&organization).await, clerk.members(&organization));
    assert_eq!(fetches(&clerk, &organization), 1);
    site.stop().await;
}

#[tokio::test]
async fn half_an_organization_is_never_shown() {
    let clerk = Clerk::with(1, 2).await;
    let site = clerk.filled_site_with(|config| config.read_through_ms = 50).await;
    let second_page = |asked: &roster::sim::backend_api::Asked| asked.first("offset") == Some("500");
    // The second page comes late, and is a refusal, or has nothing on it.
    for fault in [Fault::WrongKey, Fault::EmptyPage] {
        let organization = clerk.organization("Large", 510);
        clerk.controls().fail_when(move |asked| second_page(asked).then_some(fault.clone()));
        clerk.controls().hold_when(second_page);
        clerk.controls().take_log();
        is_told_to_wait(&site, &organization).await;
        until("the second page is asked for", async || clerk.controls().take_log().iter().any(second_page))
            .await;
        is_told_to_wait(&site, &organization).await;
        clerk.controls().release();
        is_told_to_wait(&site, &organization).await;
        clerk.controls().heal();
        until("the list is there", async || is_shown(&site, &organization).await).await;
        assert_eq!(site.members(&organization).await, clerk.members(&organization));
    }
    site.stop().await;
}

#[tokio::test]
async fn who_leaves_between_two_pages_takes_nobody_along() {
    let clerk = Clerk::with(1, 2).await;
    let site = clerk.filled_site_with(|config| config.read_through_ms = 30_000).await;
    let organization = clerk.organization("Large", 510);
    let (id, mut leaves) = (organization.clone(), 1);
    clerk.controls().before_each(move |asked, clerk| {
        if asked.first("offset") == Some("500") && leaves > 0 {
            leaves -= 1;
            // On the first page in either order.
            let member = clerk.memberships_of(&id)[250].clone();
            clerk.leave(member["id"].as_str().unwrap()).unwrap();
        }
    });
    // That one has left is for its webhook to say.
    let shown = site.members(&organization).await;
    let truth = clerk.members(&organization);
    assert_eq!(truth.len(), 509);
    assert!(truth.iter().all(|member| shown.contains(member)));
    site.stop().await;
}

#[tokio::test]
async fn what_clerk_does_not_know_is_an_empty_list_and_is_not_asked_for_again() {
    let clerk = Clerk::with(1, 2).await;
    let site = clerk.filled_site().await;
    for _ in 0..3 {
        assert_eq!(site.members("org_nowhere").await, Vec::<String>::new());
    }
    assert_eq!(fetches(&clerk, "org_nowhere"), 1);
    site.stop().await;
}

#[tokio::test]
async fn a_refusal_is_left_to_cool_down() {
    let clerk = Clerk::with(1, 2).await;
    let site = clerk.filled_site().await;
    let organization = clerk.organization("New", 2);
    let known = clerk.organizations()[0].clone();
    clerk.controls().set_secret_key("sk_test_another");
    for _ in 0..5 {
        is_told_to_wait(&site, &organization).await;
    }
    assert_eq!(fetches(&clerk, &organization), 1);
    assert!(!site.members(&known).await.is_empty(), "what is known is answered");
    clerk.controls().set_secret_key(roster::sim::backend_api::SECRET_KEY);
    until("it is asked for again", async || is_shown(&site, &organization).await).await;
    assert_eq!(site.members(&organization).await, clerk.members(&organization));
    site.stop().await;
}

#[tokio::test]
async fn a_clerk_that_is_down_is_not_hammered() {
    let clerk = Clerk::with(1, 2).await;
    let site = clerk.filled_site_with(|config| config.read_through_ms = 20).await;
    let organization = clerk.organization("New", 2);
    clerk.controls().fail_when(|_| Some(Fault::Status(503)));
    for _ in 0..20 {
        is_told_to_wait(&site, &organization).await;
    }
    let asked = fetches(&clerk, &organization);
    assert!((1..6).contains(&asked), "{asked}");
    clerk.controls().heal();
    until("the list is there", async || is_shown(&site, &organization).await).await;
    site.stop().await;
}

#[tokio::test]
async fn without_a_key_there_is_nobody_to_ask() {
    let site = Site::start().await;
    assert_eq!(site.members("org_nowhere").await, Vec::<String>::new());
    site.stop().await;
}

#[tokio::test]
async fn what_contradicts_the_token_still_does() {
    let clerk = Clerk::with(1, 2).await;
    let site = clerk.filled_site().await;
    clerk.with_instance(|instance| instance.advance(roster::clock::now_ms() - instance.now_ms()));
    let refused = async |user: &str, organization: &str| {
        let token = site.token(user, organization, "member", 60);
        site.get(USERS, &token).await.problem() == "403 FORBIDDEN"
    };

    // Known before Clerk is asked.
    let organization = clerk.organization("New", 2);
    let (left, banned, gone) = clerk.with_instance(|instance| {
        let member = instance.memberships_of(&organization).pop().unwrap();
        let left = instance.leave(member["id"].as_str().unwrap()).unwrap();
        let banned = instance.create_user(roster::sim::NewUser::named("B", "B", "b@example.com"));
        let banned = instance.ban(banned.id()).unwrap();
        let gone = instance.create_organization("Gone", None).id().to_owned();
        (left, banned, instance.delete_organization(&gone).unwrap())
    });
    for event in [&left, &banned, &gone] {
        assert_eq!(site.deliver(event).await, "200 applied");
    }
    let left = left.envelope["data"]["public_user_data"]["user_id"].as_str().unwrap();
    assert!(refused(left, &organization).await);
    assert!(refused(banned.id(), &organization).await);
    assert!(refused("user_newcomer", gone.id()).await);
    assert_eq!(clerk.controls().take_log(), []);

    // Known from what was fetched.
    let admin = clerk.members(&organization).remove(0);
    clerk.with_instance(|instance| instance.ban(&admin).unwrap());
    assert!(refused(&admin, &organization).await);
    assert_eq!(fetches(&clerk, &organization), 1);
    assert_eq!(site.members(&organization).await, [admin]);
    site.stop().await;
}

#[tokio::test]
async fn a_webhook_never_waits_for_clerk_nor_asks_for_an_organization() {
    let clerk = Clerk::with(1, 2).await;
    let site = clerk.filled_site().await;
    clerk.controls().hold_when(|_| true);
    let organization = clerk.organization("New", 1);
    let user = clerk.members(&organization).remove(0);
    for event in clerk.with_instance(|instance| {
        instance.join(&user, &organization, "org:member", &Object::new()).unwrap();
        instance.take_events()
    }) {
        assert_eq!(site.deliver(&event).await, "200 applied");
    }
    assert_eq!(fetches(&clerk, &organization), 0);
    site.stop().await;
}
