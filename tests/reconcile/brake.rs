//! The brake: a slip, a wrong key or another instance must not empty the copy.

use std::collections::BTreeSet;

use roster::domain::PassOutcome;
use roster::reconcile::{Drift, Entities, Reconciler};
use roster::sim::backend_api::Fault;
use roster::sim::server::{Server, Shared};
use roster::sim::shapes::text;

use super::model::{copy, truth};
use super::town::{DRY, FULL, FULL_WITH_DELETES, INCREMENTAL, Town, client, instance, pass};

/// A copy of so many users, all of whom Clerk has.
async fn town_of(users: usize) -> Town {
    let town = Town::new(5, 50, 0).await;
    town.settle(users);
    town.clerk.lock().take_events();
    assert_eq!(town.pass(FULL).await.report.outcome, PassOutcome::Completed);
    town
}

/// Deletes users, and nobody is told.
fn delete_users(town: &Town, count: usize) {
    let mut clerk = town.clerk.lock();
    let users: Vec<_> = clerk.users().take(count).map(|user| text(user, "id").to_owned()).collect();
    for user in users {
        clerk.delete_user(&user).unwrap();
    }
    clerk.take_events();
}

fn drift(gone: u64, repaired: u64, refused: u64) -> Drift {
    Drift { seen: 0, missing: 0, stale: 0, gone, repaired, refused }
}

/// What was gone, without what was seen.
fn gone(entities: Entities) -> [Drift; 4] {
    let Entities { users, organizations, memberships, invitations } = entities;
    [users, organizations, memberships, invitations].map(|drift| Drift { seen: 0, ..drift })
}

async fn is_truth(town: &Town) -> bool {
    let held = copy(&town.db).await;
    let held: BTreeSet<_> = held.into_iter().filter(|line| !line.starts_with("orginv_")).collect();
    held == truth(&town.clerk.lock(), &BTreeSet::new())
}

#[tokio::test]
async fn up_to_ten_may_go_and_the_eleventh_keeps_them_all() {
    let town = town_of(40).await;
    delete_users(&town, 10);
    let ten = town.pass(FULL).await.report;
    assert_eq!(ten.outcome, PassOutcome::Completed);
    // Their memberships fall with them, and are counted as memberships.
    assert_eq!(gone(ten.entities), [drift(10, 10, 0), drift(0, 0, 0), drift(10, 10, 0), drift(0, 0, 0)]);
    assert!(is_truth(&town).await);

    delete_users(&town, 11);
    let before = town.db.model().await.into_iter().filter(|row| !row.starts_with("passes"));
    let before: Vec<_> = before.filter(|row| row.starts_with("members")).collect();
    let braked = town.pass(FULL).await;
    assert_eq!(braked.report.outcome, PassOutcome::Braked);
    assert!(braked.error.is_none());
    let eleven = drift(11, 0, 11);
    assert_eq!(gone(braked.report.entities), [eleven, drift(0, 0, 0), eleven, drift(0, 0, 0)]);
    let after: Vec<_> = town.db.model().await.into_iter().filter(|row| row.starts_with("members")).collect();
    let versionless =
        |rows: &[String]| rows.iter().map(|row| row.replace(char::is_numeric, "")).collect::<Vec<_>>();
    assert_eq!(versionless(&before), versionless(&after));

    let lifted = town.pass(FULL_WITH_DELETES).await.report;
    assert_eq!(lifted.outcome, PassOutcome::Completed);
    assert_eq!(gone(lifted.entities), [drift(11, 11, 0), drift(0, 0, 0), drift(11, 11, 0), drift(0, 0, 0)]);
    assert!(is_truth(&town).await);
}

#[tokio::test]
async fn of_many_five_in_a_hundred_may_go() {
    let town = town_of(300).await;
    delete_users(&town, 15);
    assert_eq!(town.pass(FULL).await.report.outcome, PassOutcome::Completed);
    assert!(is_truth(&town).await);
    delete_users(&town, 15);
    // 5 % of 285 are 14.
    assert_eq!(town.pass(FULL).await.report.outcome, PassOutcome::Braked);
}

#[tokio::test]
async fn the_brake_can_be_set() {
    let town = town_of(20).await;
    let with = |most| Reconciler::new(town.db.store.clone(), town.api.clone(), Some(most));
    delete_users(&town, 3);
    assert_eq!(pass(&with(0), FULL).await.report.outcome, PassOutcome::Braked);
    assert_eq!(pass(&with(2), FULL).await.report.outcome, PassOutcome::Braked);
    assert_eq!(pass(&with(3), FULL).await.report.outcome, PassOutcome::Completed);
    assert!(is_truth(&town).await);
}

#[tokio::test]
async fn an_organization_stays_when_more_would_fall_with_it_than_may_go() {
    // Organizations of ten members each; two of them are twenty memberships, and two invitations.
    let town = town_of(60).await;
    {
        let mut clerk = town.clerk.lock();
        let organizations: Vec<_> = clerk.organization_ids().map(str::to_owned).collect();
        clerk.delete_organization(&organizations[0]).unwrap();
        clerk.delete_organization(&organizations[1]).unwrap();
    }
    let braked = town.pass(FULL).await.report;
    assert_eq!(braked.outcome, PassOutcome::Braked);
    let expected = [drift(0, 0, 0), drift(2, 0, 2), drift(20, 0, 20), drift(2, 0, 2)];
    assert_eq!(gone(braked.entities), expected);
    assert_eq!(town.pass(FULL_WITH_DELETES).await.report.outcome, PassOutcome::Completed);
    assert!(is_truth(&town).await);
}

#[tokio::test]
async fn what_falls_with_a_parent_that_may_go_goes_although_others_stay() {
    let town = town_of(60).await;
    {
        let mut clerk = town.clerk.lock();
        // Eleven users of no organization any more, and one organization with three members.
        let organizations: Vec<_> = clerk.organization_ids().map(str::to_owned).collect();
        for membership in clerk.memberships_of(&organizations[0]).into_iter().skip(3) {
            clerk.leave(text(&membership, "id")).unwrap();
        }
        for membership in clerk.memberships_of(&organizations[1]) {
            clerk.leave(text(&membership, "id")).unwrap();
        }
    }
    assert_eq!(town.pass(FULL_WITH_DELETES).await.report.outcome, PassOutcome::Completed);
    {
        let mut clerk = town.clerk.lock();
        let loners: Vec<_> = clerk.users().map(|user| text(user, "id").to_owned()).collect();
        let organizations: Vec<_> = clerk.organization_ids().map(str::to_owned).collect();
        let is_loner = |user: &&String| organizations.iter().all(|id| clerk.membership_id(user, id).is_err());
        let loners: Vec<_> = loners.iter().filter(is_loner).take(11).cloned().collect();
        assert_eq!(loners.len(), 11);
        for user in loners {
            clerk.delete_user(&user).unwrap();
        }
        clerk.delete_organization(&organizations[0]).unwrap();
    }
    let braked = town.pass(FULL).await.report;
    assert_eq!(braked.outcome, PassOutcome::Braked);
    let expected = [drift(11, 0, 11), drift(1, 1, 0), drift(3, 3, 0), drift(1, 1, 0)];
    assert_eq!(gone(braked.entities), expected);
}

#[tokio::test]
async fn another_instance_empties_nothing() {
    let town = town_of(40).await;
    let before = copy(&town.db).await;
    let other = Shared::new(instance(99));
    let server = Server::start(other).await.unwrap();
    let wrong = Reconciler::new(town.db.store.clone(), client(&server, 0), None);
    let braked = pass(&wrong, FULL).await.report;
    assert_eq!(braked.outcome, PassOutcome::Braked);
    assert_eq!((braked.entities.users.gone, braked.entities.users.refused), (40, 40));
    assert_eq!(braked.entities.organizations.refused, 4);
    assert_eq!(copy(&town.db).await, before);
}

/// Ten and fewer of a kind no brake holds back.
#[tokio::test]
async fn another_instance_is_not_even_looked_at_when_it_is_known_whose_the_copy_is() {
    let town = town_of(4).await;
    let before = copy(&town.db).await;
    let other = Server::start(Shared::new(instance(99))).await.unwrap();
    let own_id = town.api.instance().await.unwrap().value.id;
    let with =
        |api, id: &str| Reconciler::new(town.db.store.clone(), api, None).of_instance(Some(id.to_owned()));
    for ask in [FULL, DRY, INCREMENTAL] {
        let wrong = pass(&with(client(&other, 0), "ins_of_the_copy"), ask).await;
        assert_eq!(wrong.report.outcome, PassOutcome::Failed);
        let said = wrong.error.unwrap().to_string();
        assert!(said.contains("CLERK_SECRET_KEY is of ins_"), "{said}");
    }
    assert_eq!(copy(&town.db).await, before);

    // The right one is taken, and one that does not say which it is.
    assert_eq!(pass(&with(town.api.clone(), &own_id), FULL).await.report.outcome, PassOutcome::Completed);
    town.controls().fail_when(|asked| (asked.path == "/v1/instance").then_some(Fault::Status(404)));
    let silent = with(town.api.clone(), "ins_of_the_copy");
    assert_eq!(pass(&silent, FULL).await.report.outcome, PassOutcome::Completed);
}

#[tokio::test]
async fn a_dry_run_says_what_a_real_one_would_and_changes_no_row() {
    let town = town_of(30).await;
    delete_users(&town, 2);
    town.settle(12);
    {
        let mut clerk = town.clerk.lock();
        let users: Vec<_> = clerk.users().map(|user| text(user, "id").to_owned()).collect();
        clerk.ban(&users[4]).unwrap();
        clerk.sign_in(&users[5], None).unwrap();
        let organization = clerk.organization_ids().next().unwrap().to_owned();
        clerk.delete_organization(&organization).unwrap();
    }
    let before = town.db.everything().await;
    let dry = town.pass(DRY).await.report;
    assert_eq!(town.db.everything().await, before);
    assert!(dry.dry_run && dry.outcome == PassOutcome::Completed, "{dry:?}");
    let real = town.pass(FULL).await.report;
    let unrepaired = |entities: Entities| {
        let Entities { users, organizations, memberships, invitations } = entities;
        [users, organizations, memberships, invitations].map(|drift| Drift { repaired: 0, ..drift })
    };
    assert_eq!(unrepaired(dry.entities), unrepaired(real.entities));
    assert!(real.entities.users.stale >= 2 && real.entities.users.missing == 12, "{real:?}");
    for drift in gone(real.entities) {
        assert_eq!(drift.repaired, drift.missing + drift.stale + drift.gone);
    }
    assert!(is_truth(&town).await);
}
