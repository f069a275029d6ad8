//! Of a new member only the membership was told: the user is fetched, behind the webhook's back.

use roster::clerk::backend_api::BackendApi;
use roster::domain::{Outcome, UserId};
use roster::reconcile::hydrate::Hydrator;
use roster::sim::backend_api::SECRET_KEY;
use roster::sim::shapes::Object;
use roster::sim::{Event, NewUser};
use roster::store::Delivery;
use roster::webhook::{Retried, retry};
use tokio_util::sync::CancellationToken;

use super::Clerk;
use crate::support::database::TestStore;
use crate::support::until;

/// Somebody new signs up and joins; the two events of it.
fn newcomer(clerk: &Clerk, organization: &str, name: &str) -> [Event; 2] {
    clerk.with_instance(|instance| {
        let created = instance.create_user(NewUser::named(name, "New", &format!("{name}@example.com")));
        let joined = instance.join(created.id(), organization, "org:member", &Object::new()).unwrap();
        [created, joined]
    })
}

#[tokio::test]
async fn the_missing_half_of_a_member_is_fetched_in_the_background() {
    let clerk = Clerk::with(1, 2).await;
    let site = clerk.filled_site().await;
    let organization = clerk.organizations()[0].clone();
    clerk.controls().hold_when(|_| true);
    let [late, joined] = newcomer(&clerk, &organization, "late");
    let [lost, lost_joined] = newcomer(&clerk, &organization, "lost");
    assert_eq!(site.deliver(&joined).await, "200 applied");
    assert_eq!(site.deliver(&lost_joined).await, "200 applied");
    assert_eq!(site.deliver(&late).await, "200 applied");
    assert_eq!(site.members(&organization).await.len(), 3, "the one who is still missing is not listed");
    clerk.controls().release();
    until("the user is fetched", async || site.members(&organization).await.len() == 4).await;
    assert_eq!(site.members(&organization).await, clerk.members(&organization));

    let log = clerk.controls().take_log();
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!(log[0].path, "/v1/users");
    assert_eq!(log[0].all("user_id").collect::<Vec<_>>(), [lost.id()], "whose event came is not asked for");
    site.stop().await;
}

#[tokio::test]
async fn so_is_that_of_a_dead_letter_that_is_understood_later() {
    let clerk = Clerk::with(1, 2).await;
    let organization = clerk.organizations()[0].clone();
    let [user, joined] = newcomer(&clerk, &organization, "late");
    let db = TestStore::new().await;
    let letter = Delivery {
        message_id: joined.message_id.clone(),
        event_type: "organizationMembership.created",
        object_id: Some(joined.id().to_owned()),
        user_id: None,
        occurred_at_ms: None,
        received_at_ms: 0,
        payload: Some(joined.envelope.to_string()),
    };
    assert_eq!(db.store.bury(letter, "nobody understood it".to_owned()).await.unwrap(), None);
    let letter = db.store.event(&joined.message_id).await.unwrap().unwrap();

    let api = BackendApi::new(&clerk.server.url(), SECRET_KEY.into(), 10_000).unwrap();
    let hydrator = Hydrator::start(db.store.clone(), api, CancellationToken::new());
    let retried = retry(&db.store, &letter, None, Some(&hydrator)).await.unwrap();
    assert_eq!(retried, Retried::Taken(Outcome::Applied));
    let user = [UserId::parse(user.id()).unwrap()];
    until("the user is fetched", async || db.store.unknown_users(&user).await.unwrap().is_empty()).await;
}
