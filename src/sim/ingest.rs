//! Takes events from outside into the instance, so that it holds the same truth as whoever received them.
//!
//! The newest state counts and a deletion is for good, in whatever order the events come.

use serde_json::Value;

use super::instance::Instance;
use super::shapes::{Object, moment, text};

/// Below this a moment is in seconds: in milliseconds it would be in 1973.
const SECONDS_BELOW: i64 = 100_000_000_000;

impl Instance {
    /// Makes the truth what the event says it is. Events that are not about it are passed over.
    pub fn ingest(&mut self, envelope: &Value) {
        let (Some(event_type), Some(data)) =
            (envelope.get("type").and_then(Value::as_str), envelope.get("data").and_then(Value::as_object))
        else {
            return;
        };
        let at_ms = envelope.get("timestamp").and_then(Value::as_i64).unwrap_or_default();
        let at_ms = if at_ms < SECONDS_BELOW { at_ms * 1000 } else { at_ms };
        self.catch_up(at_ms);
        self.revision += 1;
        let Some((entity, what)) = event_type.split_once('.') else { return };
        match (entity, what) {
            ("user", "deleted") => self.forget_user(text(data, "id")),
            ("organization", "deleted") => self.forget_organization(text(data, "id")),
            ("organizationMembership", "deleted") => {
                self.memberships.remove(text(data, "id"));
                self.deleted.insert(text(data, "id").to_owned());
            }
            ("session", "created") => self.ingest_sign_in(data),
            ("user" | "organization" | "organizationMembership" | "organizationInvitation", _) => {
                self.ingest_state(entity, data, at_ms);
            }
            _ => {}
        }
    }

    fn ingest_state(&mut self, entity: &str, data: &Object, at_ms: i64) {
        let id = text(data, "id");
        let parents = [
            inner(data, "/organization/id"),
            inner(data, "/public_user_data/user_id"),
            data.get("organization_id").and_then(Value::as_str),
            data.get("user_id").and_then(Value::as_str),
        ];
        let gone = |id: &str| self.deleted.contains(id);
        if id.is_empty() || gone(id) || parents.into_iter().flatten().any(gone) {
            return;
        }
        let objects = match entity {
            "user" => &mut self.users,
            "organization" => &mut self.organizations,
            "organizationMembership" => &mut self.memberships,
            _ => &mut self.invitations,
        };
        let observed_ms = self.observed_ms.get(id).copied().unwrap_or(i64::MIN);
        let known = objects.get(id).map(|known| (moment(known, "updated_at"), observed_ms));
        if known.is_some_and(|known| known >= (moment(data, "updated_at"), at_ms)) {
            return;
        }
        let mut state = data.clone();
        // A webhook's extra about the organization is no part of the invitation.
        state.remove("data");
        if let Some(known) = objects.get(id) {
            keep_latest_sign_in(&mut state, known);
        }
        objects.insert(id.to_owned(), state);
        self.observed_ms.insert(id.to_owned(), at_ms);
    }

    fn ingest_sign_in(&mut self, session: &Object) {
        let at_ms = moment(session, "created_at");
        if let Some(user) = self.users.get_mut(text(session, "user_id"))
            && moment(user, "last_sign_in_at") < at_ms
        {
            user.insert("last_sign_in_at".to_owned(), at_ms.into());
        }
    }
}

fn inner<'a>(data: &'a Object, pointer: &str) -> Option<&'a str> {
    let (field, id) = pointer.strip_prefix('/')?.split_once('/')?;
    data.get(field)?.get(id)?.as_str()
}

fn keep_latest_sign_in(state: &mut Object, known: &Object) {
    if moment(known, "last_sign_in_at") > moment(state, "last_sign_in_at")
        && let Some(latest) = known.get("last_sign_in_at")
    {
        state.insert("last_sign_in_at".to_owned(), latest.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sim::NewUser;
    use crate::sim::keys::SigningKey;
    use crate::sim::random::Random;
    use crate::sim::shapes::object;

    fn instance() -> Instance {
        Instance::new(SigningKey::generate("ins_test").unwrap(), 1, 1_763_000_000_000)
    }

    fn clerk_with_history() -> Instance {
        let mut clerk = instance();
        let ada = clerk.create_user(NewUser::named("Ada", "Okafor", "ada@example.com"));
        let bo = clerk.create_user(NewUser::named("Bo", "Lund", "bo@example.com"));
        let org = clerk.create_organization("Harbour", Some(ada.id()));
        let first = clerk.join(ada.id(), org.id(), "org:admin", &Object::new()).unwrap();
        clerk.join(bo.id(), org.id(), "org:member", &Object::new()).unwrap();
        clerk.leave(first.id()).unwrap();
        clerk.join(ada.id(), org.id(), "org:member", &Object::new()).unwrap();
        clerk.update_user(ada.id(), object(json!({"first_name": "Adaeze"}))).unwrap();
        clerk.invite(org.id(), "cy@example.com", "org:member", Some(ada.id())).unwrap();
        clerk.delete_user(bo.id()).unwrap();
        clerk
    }

    #[test]
    fn in_any_order_the_truth_is_the_same() {
        let truth = clerk_with_history();
        for seed in 0..20 {
            let mut events = truth.events().to_vec();
            let mut random = Random::new(seed);
            events.sort_by_cached_key(|_| random.number());
            let mut copy = instance();
            for event in events.iter().chain(truth.events().first()) {
                copy.ingest(&event.envelope);
            }
            assert_eq!(copy.users, truth.users);
            assert_eq!(copy.invitations, truth.invitations);
            let organization = truth.organization_ids().next().unwrap();
            assert_eq!(copy.memberships_of(organization), truth.memberships_of(organization));
        }
    }

    #[test]
    fn odd_events_are_passed_over() {
        let mut copy = instance();
        for odd in [
            json!(null),
            json!({"type": "user.created"}),
            json!({"type": "x", "data": {}}),
            json!({"type": "user.created", "data": {}}),
        ] {
            copy.ingest(&odd);
        }
        assert!(copy.users.is_empty());
    }
}
