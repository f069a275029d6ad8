use serde_json::json;

use super::*;
use crate::sim::shapes::object;

const NOW_MS: i64 = 1_763_000_000_000;

fn instance(seed: u64) -> Instance {
    Instance::new(SigningKey::generate("ins_test").unwrap(), seed, NOW_MS)
}

fn story(clerk: &mut Instance) -> Result<(), NoSuchObject> {
    let ada = clerk.create_user(NewUser::named("Ada", "Okafor", "ada@example.com"));
    let bo = clerk.create_user(NewUser { username: Some("bo".to_owned()), ..NewUser::default() });
    let org = clerk.create_organization("Harbour & Sons", Some(ada.id()));
    clerk.join(ada.id(), org.id(), "org:admin", &Object::new())?;
    let invitation = clerk.invite(org.id(), "bo@example.com", "org:member", Some(ada.id()))?;
    let [_, joined] = clerk.accept(invitation.id(), bo.id())?;
    clerk.change_role(joined.id(), "org:admin")?;
    clerk.sign_in(bo.id(), Some(org.id()))?;
    clerk.change_email(ada.id(), "ada.new@example.com")?;
    clerk.leave(joined.id())?;
    clerk.join(bo.id(), org.id(), "org:member", &Object::new())?;
    clerk.ban(bo.id())?;
    let second = clerk.invite(org.id(), "cy@example.com", "org:member", None)?;
    clerk.revoke(second.id())?;
    clerk.update_organization(org.id(), object(json!({"name": "Harbour"})))?;
    clerk.delete_user(bo.id())?;
    clerk.delete_organization(org.id())?;
    Ok(())
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let (mut one, mut two, mut other) = (instance(1), instance(1), instance(2));
    for clerk in [&mut one, &mut two, &mut other] {
        story(clerk).unwrap();
    }
    assert_eq!(one.events(), two.events());
    assert_ne!(one.events(), other.events());
    let mut ids: Vec<_> = one.events().iter().map(|event| event.message_id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), one.events().len());
}

#[test]
fn every_action_is_an_event_of_its_moment() {
    let mut clerk = instance(1);
    story(&mut clerk).unwrap();
    let types: Vec<_> = clerk.events().iter().map(|event| event.event_type.as_str()).collect();
    assert_eq!(types.len(), 18);
    assert!(types.contains(&"organizationInvitation.accepted") && types.contains(&"session.created"));
    assert!(clerk.events().windows(2).all(|pair| pair[0].at_ms() < pair[1].at_ms()));
    assert!(clerk.events().iter().all(|event| event.envelope["instance_id"] == "ins_test"));
}

#[test]
fn a_rejoin_is_a_new_membership() {
    let mut clerk = instance(1);
    let ada = clerk.create_user(NewUser::named("Ada", "Okafor", "ada@example.com"));
    let org = clerk.create_organization("Harbour", None);
    let first = clerk.join(ada.id(), org.id(), "org:member", &Object::new()).unwrap();
    clerk.leave(first.id()).unwrap();
    let again = clerk.join(ada.id(), org.id(), "org:member", &Object::new()).unwrap();
    assert_ne!(first.id(), again.id());
    assert_eq!(clerk.membership_id(ada.id(), org.id()).unwrap(), again.id());
    assert_eq!(clerk.organization(org.id()).unwrap()["members_count"], 1);
    assert!(clerk.leave(first.id()).is_err());
}

#[test]
fn deleting_takes_what_hangs_on_it() {
    let mut clerk = instance(1);
    story(&mut clerk).unwrap();
    assert!(clerk.memberships.is_empty() && clerk.invitations.is_empty() && clerk.organizations.is_empty());
    assert_eq!(clerk.users.len(), 1);
}

#[test]
fn secrets_are_in_the_payloads_so_that_tests_can_miss_them() {
    let mut clerk = instance(1);
    story(&mut clerk).unwrap();
    let of_type = |name: &str| {
        let event = clerk.events().iter().find(|event| event.event_type == name).unwrap();
        event.message().body
    };
    assert!(of_type("user.created").contains(shapes::SECRET));
    assert!(of_type("user.created").contains(shapes::SECRET_PHONE));
    assert!(of_type("session.created").contains(shapes::SECRET));
    let membership = of_type("organizationMembership.deleted");
    assert_eq!(membership.matches(shapes::SECRET).count(), 2, "its own and its organization's");
    let invitation = of_type("organizationInvitation.created");
    assert!(invitation.contains(&format!("ticket={}", shapes::SECRET)), "{invitation}");
}
