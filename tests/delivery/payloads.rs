//! Good events, whole ones as Clerk documents them, with ids that a test chooses.

use roster::sim::shapes::{Object, object};
use roster::sim::{Event, Instance, NewUser};
use serde_json::{Value, json};

use crate::support::site::clerk;

/// A copy of an event with one value changed.
pub fn at(event: &Value, pointer: &str, value: Value) -> Value {
    let mut event = event.clone();
    *event.pointer_mut(pointer).unwrap_or_else(|| panic!("nothing at {pointer}")) = value;
    event
}

fn with_id(event: &Event, id: &str) -> Value {
    at(&event.envelope, "/data/id", json!(id))
}

fn ada(clerk: &mut Instance) -> Event {
    let mut ada = NewUser::named("Ada", "Okafor", "ada@example.com");
    ada.username = Some("ada".to_owned());
    ada.public_metadata = object(json!({"team": "core"}));
    clerk.create_user(ada)
}

/// `user.created`
pub fn user(id: &str) -> Value {
    with_id(&ada(&mut clerk(2)), id)
}

/// `organization.created`
pub fn organization(id: &str) -> Value {
    with_id(&clerk(3).create_organization("Harbour", None), id)
}

/// `organizationMembership.created`
pub fn membership(id: &str, organization_id: &str, user_id: &str) -> Value {
    let mut clerk = clerk(4);
    let ada = ada(&mut clerk);
    let harbour = clerk.create_organization("Harbour", None);
    let joined = clerk.join(ada.id(), harbour.id(), "org:member", &Object::new()).unwrap();
    let joined = at(&with_id(&joined, id), "/data/organization/id", json!(organization_id));
    at(&joined, "/data/public_user_data/user_id", json!(user_id))
}

/// `organizationMembership.deleted`, a second later.
pub fn ended(membership: &Value) -> Value {
    let later = membership["timestamp"].as_i64().unwrap() + 1_000;
    let ended = at(membership, "/type", json!("organizationMembership.deleted"));
    at(&ended, "/timestamp", json!(later))
}

/// `organizationInvitation.created`, with the one field that only an accepted one has.
pub fn invitation(id: &str, organization_id: &str) -> Value {
    let mut clerk = clerk(5);
    let harbour = clerk.create_organization("Harbour", None);
    let invited = clerk.invite(harbour.id(), "bo@example.com", "org:member", None).unwrap();
    let mut invited = at(&with_id(&invited, id), "/data/organization_id", json!(organization_id));
    invited["data"]["user_id"] = json!(null);
    invited
}

/// `session.created`
pub fn session(id: &str, user_id: &str) -> Value {
    let mut clerk = clerk(6);
    let ada = ada(&mut clerk);
    let session = with_id(&clerk.sign_in(ada.id(), None).unwrap(), id);
    at(&session, "/data/user_id", json!(user_id))
}

/// `user.deleted`, `organization.deleted`
pub fn deleted(kind: &str, id: &str) -> Value {
    let mut clerk = clerk(7);
    clerk.advance(5_000);
    let ada = ada(&mut clerk);
    let deleted = with_id(&clerk.delete_user(ada.id()).unwrap(), id);
    at(&deleted, "/type", json!(format!("{kind}.deleted")))
}

/// One of each, about the same few objects; in this order each changes something.
pub fn controls() -> Vec<Value> {
    let other = membership("orgmem_other", "org_control", "user_other");
    vec![
        user("user_control"),
        organization("org_control"),
        membership("orgmem_control", "org_control", "user_control"),
        invitation("orginv_control", "org_control"),
        session("sess_control", "user_control"),
        other.clone(),
        ended(&other),
        deleted("user", "user_gone"),
        deleted("organization", "org_gone"),
    ]
}
