//! One write that the database does not take never fails the others of its batch, and none waits for ever.

use std::time::Duration;

use futures_util::future::join_all;
use roster::domain::model::Metadata;
use roster::domain::{Change, Entity, Observed, User, UserId};
use roster::store::StoreError;
use tokio::time::timeout;

use super::history::{Said, Step, lists, say};
use crate::support::database::{Kind, TestStore, on_both_databases};

on_both_databases!(
    a_row_that_cannot_be_read_fails_its_own_event_alone,
    a_store_that_is_closed_says_so,
    what_is_larger_than_all_that_may_wait_is_written,
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
        observed_at_ms, content_digest, role, public_metadata, deleted_at_ms, fallen FROM memberships",
    )
    .await;

    let poisoned =
        Step::Membership { membership: 1, place: (0, 1), created: 1, updated: 2, observed: 2, content: 1 };
    let (before, after) = (user(0).change("n-"), user(1).change("n-"));
    let outcomes =
        join_all([before, poisoned.change("n-"), after].map(|change| db.store.apply(vec![change]))).await;

    assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
    assert!(matches!(outcomes[1], Err(StoreError::Foreign("user id"))), "{outcomes:?}");
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
            id: UserId::parse(format!("user_{number:05}")).unwrap(),
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
