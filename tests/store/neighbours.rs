//! One write that the database does not take never fails the others of its batch, and none waits for ever.

use std::time::Duration;

use futures_util::future::join_all;
use roster::domain::model::Metadata;
use roster::domain::{Change, Entity, Observed, OrganizationId, Outcome, StoredMembership, User, UserId};
use roster::store::StoreError;
use tokio::time::timeout;

use super::history::{Said, Step, lists, say};
use crate::support::database::{Kind, TestStore, on_both_databases};

on_both_databases!(
    a_row_that_cannot_be_read_fails_its_own_event_alone,
    a_store_that_is_closed_says_so,
    what_is_larger_than_all_that_may_wait_is_written,
    who_is_told_that_it_is_stale_finds_what_another_wrote,
    of_two_memberships_of_one_moment_the_one_that_stands_counts,
);

fn user(user: u8) -> Step {
    Step::User { user, updated: 1, observed: 1, content: 1, sign_in: None }
}

async fn a_row_that_cannot_be_read_fails_its_own_event_alone(kind: Kind) {
    let db = TestStore::on(kind).await;
    let joined =
        Step::Membership { membership: 0, place: (0, 0), created: 1, updated: 1, observed: 1, content: 1 };
    let history = [Said { step: joined, by_pass: false }];
    say(&db, "n-", &history, &[0], 1).await;
    // Somebody else wrote to the file: an id that none of ours can be.
    db.plant(
        "INSERT INTO memberships SELECT 'n-orgmem_1', organization_id, '', created_at_ms, updated_at_ms,
        observed_at_ms, content_digest, role, public_metadata, deleted_at_ms, fallen, unlistable FROM memberships",
    )
    .await;

    let poisoned =
        Step::Membership { membership: 1, place: (0, 1), created: 1, updated: 2, observed: 2, content: 1 };
    let (before, after) = (user(0).change("n-"), user(1).change("n-"));
    let outcomes =
        join_all([before, poisoned.change("n-"), after].map(|change| db.store.apply(vec![change]))).await;

    assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
    assert!(matches!(outcomes[1], Err(StoreError::InvalidData("user id"))), "{outcomes:?}");
    assert_eq!(
        lists(&db, "n-").await.len(),
        2,
        "the member whose user came in that batch is listed, in both lists"
    );
}

async fn a_store_that_is_closed_says_so(kind: Kind) {
    let db = TestStore::on(kind).await;
    db.store.ping().await.unwrap();
    db.store.close().await;
    assert!(matches!(db.store.ping().await, Err(StoreError::Closed)));
    assert!(matches!(db.store.apply(vec![user(0).change("c-")]).await, Err(StoreError::Closed)));
}

async fn what_is_larger_than_all_that_may_wait_is_written(kind: Kind) {
    const MANY: u64 = 33_000;
    let db = TestStore::on(kind).await;
    let user = |number| {
        let content = User {
            id: UserId::parse(&format!("user_{number:05}")).unwrap(),
            first_name: None,
            last_name: None,
            username: None,
            email: None,
            image_url: None,
            has_image: false,
            banned: false,
            public_metadata: Metadata::default(),
            created_at_ms: 1,
        };
        Change::User { user: Observed::new(content, 1, 1), last_sign_in_at_ms: None }
    };
    let written = timeout(Duration::from_mins(2), db.store.apply((0..MANY).map(user).collect())).await;
    assert_eq!(written.expect("it does not wait for ever").unwrap().len() as u64, MANY);
    assert_eq!(db.store.count(Entity::Users).await.unwrap(), MANY);
}

/// Another process has written what makes it stale, and nobody has looked yet.
async fn who_is_told_that_it_is_stale_finds_what_another_wrote(kind: Kind) {
    let here = TestStore::on(kind).await;
    let there = here.another().await;
    let joined =
        Step::Membership { membership: 0, place: (0, 0), created: 1, updated: 1, observed: 1, content: 1 };
    here.store.apply(vec![user(0).change("s-"), joined.change("s-")]).await.unwrap();
    let organization = OrganizationId::parse("s-org_0").unwrap();
    for round in 1..=20 {
        let at =
            |moment| Step::User { user: 0, updated: moment, observed: moment, content: 1, sign_in: None };
        let (older, newer) = (at(2 * round).change("s-"), at(2 * round + 1).change("s-"));
        let before = here.store.generation(&organization);
        there.store.apply(vec![newer]).await.unwrap();
        assert_eq!(here.store.apply(vec![older]).await.unwrap()[0].outcome, Outcome::Stale);
        assert_ne!(here.store.generation(&organization), before, "what was kept is not believed any more");
    }
    there.store.close().await;
}

async fn of_two_memberships_of_one_moment_the_one_that_stands_counts(kind: Kind) {
    let db = TestStore::on(kind).await;
    db.store.apply(vec![user(0).change("t-")]).await.unwrap();
    for (stands, ended) in [(0, 1), (3, 2)] {
        let joined = |membership| {
            let place = (0, 0);
            Step::Membership { membership, place, created: 1, updated: 1, observed: 1, content: 1 }
                .change("t-")
        };
        let end = |membership| {
            Step::MembershipDeleted { membership, place: (0, 0), created: Some(1), at: 2 }.change("t-")
        };
        db.store.apply(vec![joined(stands), joined(ended), end(ended)]).await.unwrap();
        assert_eq!(lists(&db, "t-").await.len(), 2, "{stands} stands, in both lists");
        let organization = OrganizationId::parse("t-org_0").unwrap();
        let user = UserId::parse("t-user_0").unwrap();
        let standing = db.store.standing(&organization, &user).await.unwrap();
        assert!(matches!(standing.membership, Some(StoredMembership::Active { .. })), "{standing:?}");
        db.store.apply(vec![end(stands)]).await.unwrap();
        assert_eq!(lists(&db, "t-").await.len(), 0, "{stands} has ended as well");
    }
}
