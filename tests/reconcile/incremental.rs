//! An incremental pass: what is new and what changed since the last one, for few requests; it removes nothing.

use std::collections::BTreeSet;

use roster::domain::PassOutcome;
use roster::sim::NewUser;
use roster::sim::backend_api::Fault;
use roster::sim::shapes::{Object, object, text};
use serde_json::json;

use super::model::{copy, id_of, truth};
use super::town::{FULL, INCREMENTAL, Town};

const HOUR_MS: i64 = 3_600_000;

/// A copy of forty users that was complete an hour ago.
async fn town() -> Town {
    let town = Town::new(4, 5, 0).await;
    town.settle(40);
    town.clerk.lock().advance(HOUR_MS);
    town.pass(FULL).await;
    town.clerk.lock().advance(HOUR_MS);
    town.controls().take_log();
    town
}

#[tokio::test]
async fn what_is_new_and_what_changed_is_found_by_few_requests() {
    let town = town().await;
    let mut invitations = BTreeSet::new();
    {
        let mut clerk = town.clerk.lock();
        let old = text(clerk.users().next().unwrap(), "id").to_owned();
        clerk.update_user(&old, object(json!({"first_name": "Changed"}))).unwrap();
        let new = clerk.create_user(NewUser::named("New", "User", "new@x.io"));
        let organization = clerk.create_organization("New", None);
        clerk.join(&old, organization.id(), "org:admin", &Object::new()).unwrap();
        clerk.join(new.id(), organization.id(), "org:member", &Object::new()).unwrap();
        let invited = clerk.invite(organization.id(), "guest@x.io", "org:member", None).unwrap();
        invitations.insert(invited.id().to_owned());
    }
    let report = town.pass(INCREMENTAL).await.report;
    assert_eq!(report.outcome, PassOutcome::Completed);
    let entities = report.entities;
    assert_eq!((entities.users.missing, entities.users.stale, entities.users.repaired), (1, 1, 2));
    assert_eq!((entities.organizations.missing, entities.organizations.repaired), (1, 1));
    assert_eq!((entities.memberships.missing, entities.memberships.repaired), (2, 2));
    assert_eq!((entities.invitations.missing, entities.invitations.repaired), (1, 1));
    let held = copy(&town.db).await;
    let missed: Vec<_> = truth(&town.clerk.lock(), &invitations).difference(&held).cloned().collect();
    assert!(missed.is_empty(), "{missed:#?}");
    // One page of each list, and the counts.
    let asked = town.controls().take_log().len();
    assert!(asked <= 9, "{asked} requests");
}

#[tokio::test]
async fn more_than_a_page_is_new() {
    let town = town().await;
    town.settle(17);
    // A page that is cut short is not the last one.
    let mut left = 1;
    town.controls().fail_when(move |asked| {
        let is_page = asked.path == "/v1/users" && left > 0;
        left -= i32::from(is_page);
        is_page.then_some(Fault::ShortPage(2))
    });
    assert_eq!(town.pass(INCREMENTAL).await.report.entities.users.missing, 17);
    let held = copy(&town.db).await;
    let missed: Vec<_> = truth(&town.clerk.lock(), &BTreeSet::new()).difference(&held).cloned().collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

#[tokio::test]
async fn it_looks_back_to_the_last_completed_pass() {
    let town = town().await;
    town.settle(3);
    // A pass that fails moves nothing.
    town.controls().fail_when(|asked| (asked.path == "/v1/organizations").then_some(Fault::Status(500)));
    let failed = town.pass(INCREMENTAL).await;
    assert_eq!(failed.report.outcome, PassOutcome::Failed);
    let said = failed.error.unwrap().to_string();
    assert!(said.starts_with("Clerk's API is not answering (status 500)"), "{said}");
    town.controls().heal();
    town.clerk.lock().advance(HOUR_MS);
    let report = town.pass(INCREMENTAL).await.report;
    assert_eq!((report.outcome, report.entities.organizations.missing), (PassOutcome::Completed, 1));
    town.clerk.lock().advance(HOUR_MS);
    assert_eq!(town.pass(INCREMENTAL).await.report.entities.users.seen, 0);
}

#[tokio::test]
async fn nothing_is_removed() {
    let town = town().await;
    let gone: Vec<_> = town.clerk.lock().users().take(3).map(|user| text(user, "id").to_owned()).collect();
    for user in &gone {
        town.clerk.lock().delete_user(user).unwrap();
    }
    let report = town.pass(INCREMENTAL).await.report;
    assert_eq!((report.outcome, report.entities.users.gone), (PassOutcome::Completed, 0));
    let held: BTreeSet<_> = copy(&town.db).await.iter().map(|line| id_of(line).to_owned()).collect();
    assert!(gone.iter().all(|id| held.contains(id)));
}

#[tokio::test]
async fn without_a_pass_before_it_everything_is_new() {
    let town = Town::new(4, 5, 0).await;
    town.settle(23);
    assert_eq!(town.pass(INCREMENTAL).await.report.entities.users.missing, 23);
    let held = copy(&town.db).await;
    let missed: Vec<_> = truth(&town.clerk.lock(), &BTreeSet::new()).difference(&held).cloned().collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

/// They come last, and only a warning hangs on them.
#[tokio::test]
async fn counts_that_cannot_be_compared_fail_no_pass() {
    for ask in [INCREMENTAL, FULL] {
        let town = town().await;
        town.pass(ask).await;
        let (requests, mut asked) = (town.controls().take_log().len(), 0);
        town.controls().fail_when(move |_| {
            asked += 1;
            (asked == requests).then_some(Fault::Hangup)
        });
        let finished = town.pass(ask).await;
        let log = town.controls().take_log();
        assert_eq!((log.len(), &*log[requests - 1].path), (requests, "/v1/users/count"));
        assert_eq!(finished.report.outcome, PassOutcome::Completed);
        assert!(finished.error.is_none());
    }
}
