//! Whoever got a 2xx for a delivery finds its effect in the very next answer.

use roster::sim::shapes::{Object, object};
use roster::sim::{Event, NewUser};
use serde_json::{Value, json};

use crate::support::site::{ADMIN, Site, USERS};

/// Two organizations, and one person in both of them.
struct Two {
    site: Site,
    ada: String,
    organizations: [String; 2],
}

async fn two() -> Two {
    let mut site = Site::start().await;
    let ada = site.clerk.create_user(NewUser::named("Ada", "Okafor", "ada@example.com")).id().to_owned();
    let organizations = ["Harbour", "Lighthouse"].map(|name| {
        let id = site.clerk.create_organization(name, None).id().to_owned();
        site.clerk.join(&ada, &id, "org:member", &Object::new()).unwrap();
        id
    });
    site.catch_up().await;
    Two { site, ada, organizations }
}

impl Two {
    /// What both lists of both organizations say, with their tags and times.
    async fn see(&self) -> Vec<(Value, String, String)> {
        let mut seen = Vec::new();
        for organization in &self.organizations {
            for path in [USERS, ADMIN] {
                let answer = self.site.ask(path, organization).await;
                assert_eq!(answer.status, 200);
                let header = |name| answer.header(name).unwrap().to_owned();
                seen.push((answer.json(), header("etag"), header("roster-as-of")));
            }
        }
        seen
    }

    /// Delivers one event, and checks which of the four lists it changed: `1` changed, `.` did not.
    async fn changes(&self, event: &Event) -> String {
        let before = self.see().await;
        assert_eq!(self.site.deliver(event).await, "200 applied", "{}", event.event_type);
        let after = self.see().await;
        let lists = before.iter().zip(&after);
        lists
            .map(|(before, after)| {
                assert_eq!(before.0 == after.0, before.1 == after.1, "the tag changes with the body only");
                assert!(after.2 > before.2, "what is known is younger");
                if before.0 == after.0 { '.' } else { '1' }
            })
            .collect()
    }
}

#[tokio::test]
async fn every_kind_of_event_is_seen_by_the_next_request() {
    let mut two = two().await;
    let (ada, harbour) = (two.ada.clone(), two.organizations[0].clone());
    let clerk = &mut two.site.clerk;
    let membership = clerk.membership_id(&ada, &harbour).unwrap();

    let bo = clerk.create_user(NewUser::named("Bo", "Lund", "bo@example.com"));
    let joined = clerk.join(bo.id(), &harbour, "org:member", &Object::new()).unwrap();
    let renamed = clerk.update_user(&ada, object(json!({"first_name": "Adaeze"}))).unwrap();
    let moved = clerk.change_email(&ada, "zoe@example.com").unwrap();
    let described = clerk.update_user(&ada, object(json!({"public_metadata": {"team": "core"}}))).unwrap();
    let promoted = clerk.change_role(&membership, "org:admin").unwrap();
    let signed_in = clerk.sign_in(bo.id(), None).unwrap();
    let left = clerk.leave(&membership).unwrap();
    let back = clerk.join(&ada, &harbour, "org:member", &Object::new()).unwrap();
    let invited = clerk.invite(&harbour, "cy@example.com", "org:member", None).unwrap();
    let deleted = clerk.delete_user(bo.id()).unwrap();
    // Lists in this order: what members and admins see of the harbour, then of the lighthouse.
    for (event, expected) in [
        (&bo, "...."),
        (&joined, "11.."),
        // A name and its time are in both organizations.
        (&renamed, "1111"),
        (&moved, "1111"),
        // Members do not see metadata, but the time of the change.
        (&described, "1111"),
        (&promoted, ".1.."),
        (&signed_in, ".1.."),
        (&left, "11.."),
        (&back, "11.."),
        (&invited, "...."),
        (&deleted, "11.."),
    ] {
        assert_eq!(two.changes(event).await, expected, "{}", event.event_type);
    }
    let lists = two.see().await;
    let emails: Vec<_> = lists.iter().map(|(list, ..)| list[0]["email"].clone()).collect();
    assert_eq!(emails, vec![json!("zoe@example.com"); 4]);
}

#[tokio::test]
async fn halves_in_the_wrong_order_are_seen_when_the_second_is_there() {
    let mut two = two().await;
    let harbour = two.organizations[0].clone();
    let bo = two.site.clerk.create_user(NewUser::named("Bo", "Lund", "bo@example.com"));
    let joined = two.site.clerk.join(bo.id(), &harbour, "org:member", &Object::new()).unwrap();
    assert_eq!(two.changes(&joined).await, "....");
    // The other half is older; that it was missing is what counts.
    assert_eq!(two.site.deliver(&bo).await, "200 applied");
    assert_eq!(two.site.members(&harbour).await, [two.ada.clone(), bo.id().to_owned()]);
}

#[tokio::test]
async fn a_stale_event_changes_no_answer() {
    let mut two = two().await;
    let old = two.site.clerk.update_user(&two.ada.clone(), object(json!({"first_name": "Old"}))).unwrap();
    let new = two.site.clerk.update_user(&two.ada.clone(), object(json!({"first_name": "New"}))).unwrap();
    assert_eq!(two.changes(&new).await, "1111");
    let before = two.see().await;
    assert_eq!(two.site.deliver(&old).await, "200 stale");
    assert_eq!(two.site.deliver(&new).await, "200 duplicate");
    assert_eq!(two.see().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_each_read_their_own_write() {
    let mut two = two().await;
    let harbour = two.organizations[0].clone();
    let pairs: Vec<_> = (0..40)
        .map(|number| {
            let user =
                two.site.clerk.create_user(NewUser::named(&format!("N{number}"), "X", "x@example.com"));
            let joined = two.site.clerk.join(user.id(), &harbour, "org:member", &Object::new()).unwrap();
            (user, joined)
        })
        .collect();
    let site = &two.site;
    let writers = pairs.iter().map(|(user, joined)| {
        let harbour = &harbour;
        async move {
            assert_eq!(site.deliver(user).await, "200 applied");
            assert_eq!(site.deliver(joined).await, "200 applied");
            assert!(site.members(harbour).await.iter().any(|id| id == user.id()));
        }
    });
    futures_util::future::join_all(writers).await;
    assert_eq!(site.members(&harbour).await.len(), 41);
}
