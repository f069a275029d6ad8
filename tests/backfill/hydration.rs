//! Of a new member only the membership was told: the user is fetched, behind the webhook's back.

use roster::sim::shapes::Object;
use roster::sim::{Event, NewUser};

use super::Clerk;
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
