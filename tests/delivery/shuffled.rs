//! The promise that everything leans on, over the network: thousands of events, in any order, some of them
//! twice, many at a time, end in the same bytes.

use std::collections::BTreeMap;

use roster::clerk::event::{Decoded, decode};
use roster::config::Database;
use roster::domain::Outcome;
use roster::domain::fold::email_key;
use roster::domain::time::iso8601;
use roster::sim::random::Random;
use roster::sim::shapes::{Object, moment, object, text};
use roster::sim::{Event, Instance, NewUser, Plan, Sender, instance};
use serde_json::{Value, json};

use crate::support::database::TestStore;
use crate::support::delivery::SECRET;
use crate::support::site::{ADMIN, Site, USERS, clerk};

const EVENTS: usize = 5_000;
const ORGANIZATIONS: usize = 8;
const SEED: u64 = 20_261_121;
/// What so many callers see is compared.
const CALLERS: usize = 150;

/// A year in the life of an instance: who exists, and who ever was where.
struct Life {
    clerk: Instance,
    random: Random,
    users: Vec<String>,
    organizations: Vec<String>,
    invitations: Vec<String>,
    places: Vec<(String, String)>,
}

impl Life {
    fn new() -> Self {
        let (clerk, random) = (clerk(SEED), Random::new(SEED));
        let (users, organizations, invitations, places) = Default::default();
        Self { clerk, random, users, organizations, invitations, places }
    }

    fn live(&mut self) {
        while self.clerk.events().len() < EVENTS {
            // What is not there (any more) makes no event.
            let _ = self.step();
        }
    }

    fn pick(&mut self, from: fn(&Self) -> &Vec<String>) -> String {
        let chosen = self.random.below(from(self).len());
        from(self).get(chosen).cloned().unwrap_or_default()
    }

    fn step(&mut self) -> Result<(), roster::sim::NoSuchObject> {
        let (user, organization) = (self.pick(|life| &life.users), self.pick(|life| &life.organizations));
        let number = self.random.below(1_000);
        match self.random.below(100) {
            0..12 => {
                let email =
                    format!("{}{number}@example.com", if number.is_multiple_of(2) { "A" } else { "b" });
                let mut new = NewUser::named(&format!("First{number}"), "Last", &email);
                new.email = new.email.filter(|_| !number.is_multiple_of(7));
                new.has_image = number.is_multiple_of(3);
                let created = self.clerk.create_user(new);
                self.users.push(created.id().to_owned());
            }
            12..14 if self.organizations.len() < ORGANIZATIONS => {
                let created = self.clerk.create_organization(&format!("Org {number}"), None);
                self.organizations.push(created.id().to_owned());
            }
            14..24 => {
                let fields = json!({"first_name": format!("New{number}"), "public_metadata": {"n": number}});
                self.clerk.update_user(&user, object(fields))?;
            }
            24..28 => drop(self.clerk.change_email(&user, &format!("new{number}@example.com"))?),
            28..40 => drop(self.clerk.sign_in(&user, None)?),
            40..41 => drop(self.clerk.ban(&user)?),
            41..43 => drop(self.clerk.delete_user(&user)?),
            43..68 if self.clerk.membership_id(&user, &organization).is_err() => {
                let role = if number.is_multiple_of(3) { "org:admin" } else { "org:member" };
                self.clerk.join(&user, &organization, role, &Object::new())?;
                self.places.push((user, organization));
            }
            68..90 => {
                let chosen = self.random.below(self.places.len());
                let Some((user, organization)) = self.places.get(chosen).cloned() else { return Ok(()) };
                let membership = self.clerk.membership_id(&user, &organization);
                match (membership, number % 3) {
                    // Most of those who left come back, under a new membership.
                    (Err(_), _) => {
                        drop(self.clerk.join(&user, &organization, "org:member", &Object::new())?);
                    }
                    (Ok(membership), 0) => drop(self.clerk.leave(&membership)?),
                    (Ok(membership), 1) => drop(self.clerk.change_role(&membership, "org:admin")?),
                    (Ok(membership), _) => drop(self.clerk.change_role(&membership, "org:member")?),
                }
            }
            90..93 => {
                let email = format!("guest{number}@example.com");
                let invited = self.clerk.invite(&organization, &email, "org:member", Some(&user))?;
                self.invitations.push(invited.id().to_owned());
            }
            93..95 => {
                let invitation = self.pick(|life| &life.invitations);
                self.clerk.accept(&invitation, &user)?;
                self.places.push((user, organization));
            }
            95 => {
                let invitation = self.pick(|life| &life.invitations);
                self.clerk.revoke(&invitation)?;
            }
            96..99 => drop(
                self.clerk
                    .update_organization(&organization, object(json!({"name": format!("Org {number}")})))?,
            ),
            // Two organizations are deleted, the first ones that are drawn here.
            _ if self.clerk.organization_ids().count() + 2 > ORGANIZATIONS && number < 100 => {
                self.clerk.delete_organization(&organization)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What the two lists of an organization have to say, by what is true at Clerk.
    fn truth(&self, organization_id: &str) -> (Value, Value) {
        let mut newest = BTreeMap::new();
        for membership in self.clerk.memberships_of(organization_id) {
            newest.insert(instance::user_of(&membership).to_owned(), text(&membership, "role").to_owned());
        }
        let mut members: Vec<_> =
            newest.iter().map(|(id, role)| (self.clerk.user(id).unwrap().clone(), role.as_str())).collect();
        members.sort_by_key(|(user, _)| (moment(user, "created_at"), text(user, "id").to_owned()));
        let users = members.iter().map(|(user, _)| seen_by_members(user, organization_id)).collect();
        members.sort_by_key(|(user, _)| (email_key(primary(user).as_str()), text(user, "id").to_owned()));
        (users, members.iter().map(|(user, role)| seen_by_admins(user, role)).collect())
    }
}

fn primary(user: &Object) -> Value {
    let addresses = user["email_addresses"].as_array().unwrap();
    let primary = addresses.iter().find(|address| address["id"] == user["primary_email_address_id"]);
    primary.map_or(Value::Null, |address| address["email_address"].clone())
}

fn time(user: &Object, field: &str) -> Value {
    user[field].as_i64().map_or(Value::Null, |at_ms| json!(iso8601(at_ms)))
}

fn seen_by_members(user: &Object, organization_id: &str) -> Value {
    let picture = if user["has_image"] == true { &user["image_url"] } else { &Value::Null };
    json!({
        "id": user["id"], "firstName": user["first_name"], "lastName": user["last_name"],
        "email": primary(user), "profilePictureUrl": picture, "createdAt": time(user, "created_at"),
        "updatedAt": time(user, "updated_at"), "clerkId": user["id"], "clerkOrgId": organization_id,
    })
}

fn seen_by_admins(user: &Object, role: &str) -> Value {
    json!({
        "id": user["id"], "email": primary(user), "firstName": user["first_name"],
        "lastName": user["last_name"], "username": user["username"], "profileImageUrl": user["image_url"],
        "lastSignInAt": time(user, "last_sign_in_at"), "publicMetadata": user["public_metadata"],
        "createdAt": time(user, "created_at"), "role": role,
    })
}

/// A site that was told everything once and in order, many events in a transaction and past the network.
async fn told_in_order(events: &[Event]) -> (Site, TestStore) {
    let database = TestStore::new().await;
    for events in events.chunks(250) {
        let changes = events.iter().map(|event| {
            let body = event.envelope.to_string();
            match decode(body.as_bytes(), 0, None).unwrap() {
                Decoded::Event(event) => event.change,
                other => panic!("{other:?}"),
            }
        });
        database.store.apply(changes.collect()).await.unwrap();
    }
    database.store.close().await;
    let path = database.folder.path().join("roster.db");
    (Site::start_with(|config| config.database = Database::Sqlite(path)).await, database)
}

/// A site that was sent everything in any order, much of it twice, over many connections.
async fn told_anyhow(events: &[Event]) -> Site {
    let site = Site::start().await;
    let plan = Plan {
        seed: SEED,
        duplicate: 0.2,
        disorder: usize::MAX,
        concurrency: 48,
        retries: Vec::new(),
        ..Plan::default()
    };
    let delivered = Sender::new(&site.url(), SECRET, plan).unwrap().send(events).await.unwrap();
    assert!(delivered.len() > events.len() * 115 / 100, "{}", delivered.len());
    let mut taken = vec![0; events.len()];
    for one in &delivered {
        assert_eq!(one.status(), 200, "{:?}", one.answers);
        taken[one.index] += usize::from(one.outcome() != Some(Outcome::Duplicate));
    }
    assert!(taken.iter().all(|times| *times == 1), "each message is taken once");
    let stale = delivered.iter().filter(|one| one.outcome() == Some(Outcome::Stale)).count();
    assert!(stale > events.len() / 10, "the disorder is real: {stale}");
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_events_in_any_order_end_in_the_same_bytes() {
    let mut life = Life::new();
    // Tokens are issued in the middle of it all, so that half of it contradicts them.
    life.clerk.advance(3_540_000);
    let begun_ms = life.clerk.now_ms();
    life.live();
    let issued = (begun_ms + i64::try_from(EVENTS).unwrap() / 2) / 1_000;

    let events = life.clerk.events();
    let ((orderly, _file), shuffled) = tokio::join!(told_in_order(events), told_anyhow(events));

    let mut listed = 0;
    for organization in &life.organizations {
        for path in [USERS, ADMIN] {
            let (one, other) =
                tokio::join!(orderly.ask(path, organization), shuffled.ask(path, organization));
            assert_eq!((one.status, one.header("etag")), (other.status, other.header("etag")));
            if life.clerk.organization(organization).is_err() {
                assert_eq!([one.problem(), other.problem()], ["403 FORBIDDEN"; 2]);
                continue;
            }
            assert_eq!(one.text(), other.text());
            let (users, admin) = life.truth(organization);
            assert_eq!(one.json(), if path == USERS { users } else { admin });
            listed += one.json().as_array().unwrap().len();
        }
    }
    assert!(listed > 200, "{listed}");

    let mut seen = BTreeMap::new();
    for _ in 0..CALLERS {
        let chosen = life.random.below(life.places.len());
        let (user, organization) = &life.places[chosen];
        let token = orderly.token_issued_at(issued, user, organization, "org:member");
        let (one, other) = tokio::join!(orderly.get(ADMIN, &token), shuffled.get(ADMIN, &token));
        assert_eq!(one.status, other.status, "{user} in {organization}");
        if one.status == 200 {
            assert_eq!(one.text(), other.text());
        } else {
            assert_eq!(one.json()["detail"], other.json()["detail"]);
        }
        let detail = one.json()["detail"].as_str().unwrap_or_default().to_owned();
        *seen.entry(detail).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 3, "admins, members and those whose access has ended: {seen:?}");
}
