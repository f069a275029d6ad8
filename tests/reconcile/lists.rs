//! Lists that shrink under a walk: nothing that stays is missed, whatever goes.

use std::collections::BTreeSet;

use roster::domain::PassOutcome;
use roster::sim::Instance;
use roster::sim::backend_api::LostCursor;
use roster::sim::shapes::text;

use super::model::{copy, truth};
use super::town::{FULL, Town};

/// Backfills while the first `count` objects of a list go before its `at`th page.
async fn shrink(path: &'static str, at: usize, count: usize, remove: fn(&mut Instance, usize)) {
    for lost_cursor in [LostCursor::Refused, LostCursor::EmptyPage, LostCursor::GoesOn] {
        let what = format!("{path}: {count} go before page {at}, {lost_cursor:?}");
        let town = Town::new(1, 3, 0).await;
        town.settle(40);
        town.controls().set_lost_cursor(lost_cursor);
        let mut pages = 0;
        town.controls().before_each(move |asked, clerk| {
            if asked.path == path && asked.first("limit") == Some("3") {
                pages += 1;
                if pages == at {
                    remove(clerk, count);
                }
            }
        });
        let finished = town.pass(FULL).await;
        assert_eq!(finished.report.outcome, PassOutcome::Completed, "{what}: {:?}", finished.error);
        let held = copy(&town.db).await;
        let missed: Vec<_> = truth(&town.clerk.lock(), &BTreeSet::new()).difference(&held).cloned().collect();
        assert!(missed.is_empty(), "{what}: {missed:#?}");
    }
}

fn users_go(clerk: &mut Instance, count: usize) {
    let users: Vec<_> = clerk.users().take(count).map(|user| text(user, "id").to_owned()).collect();
    for user in users {
        clerk.delete_user(&user).unwrap();
    }
}

fn memberships_go(clerk: &mut Instance, count: usize) {
    let organizations: Vec<_> = clerk.organization_ids().map(str::to_owned).collect();
    let members: Vec<_> = organizations.iter().flat_map(|id| clerk.memberships_of(id)).collect();
    for membership in members.iter().take(count) {
        clerk.leave(text(membership, "id")).unwrap();
    }
}

#[tokio::test]
async fn nobody_is_missed_when_users_go() {
    for (at, count) in [(2, 1), (3, 3), (3, 6), (5, 13), (12, 36), (5, 40)] {
        shrink("/v1/users", at, count, users_go).await;
    }
}

#[tokio::test]
async fn no_membership_is_missed_when_others_end() {
    for (at, count) in [(2, 1), (3, 2), (3, 5), (4, 9), (10, 20), (12, 36), (5, 40)] {
        shrink("/v1/organization_memberships", at, count, memberships_go).await;
    }
}

/// Some gateways, and Clerk before the summer of 2026, pass over `starting_after`.
#[tokio::test]
async fn a_list_that_does_not_move_on_is_walked_once() {
    for (users, page_size, outcome) in [(2, 50, PassOutcome::Completed), (40, 3, PassOutcome::Failed)] {
        let town = Town::new(1, page_size, 0).await;
        town.settle(users);
        town.controls().forget_cursors();
        let walk = tokio::time::timeout(std::time::Duration::from_mins(1), town.pass(FULL));
        let finished = walk.await.expect("the walk has no end");
        assert_eq!(finished.report.outcome, outcome);
        let error = finished.error.map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(error.contains("does not go on"), outcome == PassOutcome::Failed, "{error}");
    }
}
