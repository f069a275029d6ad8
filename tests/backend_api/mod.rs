//! What is asked of Clerk's Backend API, what comes of its faults, and whether the simulated one keeps to the
//! published schema.

mod calls;
mod faults;
mod openapi;
mod paging;
mod schema;

use std::time::Duration;

use roster::clerk::backend_api::{BackendApi, Patience};
use roster::domain::Change;
use roster::sim::backend_api::{Controls, SECRET_KEY};
use roster::sim::instance::organization_of;
use roster::sim::keys::SigningKey;
use roster::sim::server::{Server, Shared};
use roster::sim::shapes::Object;
use roster::sim::{Instance, NewUser};
use secrecy::SecretString;

/// Not a whole second, so that what `Date` cannot say shows.
const NOW_MS: i64 = 1_795_000_000_123;

/// A simulated Clerk and a client of it that is quick to give up.
struct Site {
    clerk: Shared,
    server: Server,
    api: BackendApi,
}

impl Site {
    async fn empty() -> Self {
        let clerk = Shared::new(Instance::new(SigningKey::generate("ins_test").unwrap(), 1, NOW_MS));
        let server = Server::start(clerk.clone()).await.unwrap();
        let api = client(&server, SECRET_KEY);
        Self { clerk, server, api }
    }

    /// So many users, a minute apart; every tenth has an organization which the nine after it join.
    async fn with_users(count: usize) -> Self {
        let site = Self::empty().await;
        {
            let mut clerk = site.clerk.lock();
            let mut organization = String::new();
            for number in 0..count {
                clerk.advance(60_000);
                let email = format!("user{number}@example.com");
                let user = clerk.create_user(NewUser::named("User", &number.to_string(), &email));
                let role = if number % 10 == 0 { "org:admin" } else { "org:member" };
                if number % 10 == 0 {
                    let made = clerk.create_organization(&format!("Org {number}"), Some(user.id()));
                    made.id().clone_into(&mut organization);
                    clerk.invite(&organization, "guest@example.com", "org:member", Some(user.id())).unwrap();
                }
                clerk.join(user.id(), &organization, role, &Object::new()).unwrap();
            }
        }
        site
    }

    fn controls(&self) -> &Controls {
        self.server.controls()
    }

    fn first_membership(&self) -> Object {
        let clerk = self.clerk.lock();
        let organization = clerk.organization_ids().next().unwrap();
        let membership = clerk.memberships_of(organization).into_iter().next().unwrap();
        assert_eq!(organization_of(&membership), organization);
        membership
    }
}

fn client(server: &Server, key: &str) -> BackendApi {
    let patience = Patience {
        connect_timeout: Duration::from_millis(500),
        timeout: Duration::from_millis(300),
        retries: 2,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(5),
    };
    BackendApi::with_patience(&server.url(), SecretString::from(key), 10_000, patience).unwrap()
}

/// The id of what a change is about.
fn id(change: &Change) -> &str {
    match change {
        Change::User { user, .. } => user.content.id.as_str(),
        Change::Organization(organization) => organization.content.id.as_str(),
        Change::Membership(membership) => membership.content.id.as_str(),
        Change::Invitation(invitation) => invitation.content.id.as_str(),
        other => panic!("no state: {other:?}"),
    }
}

fn ids(changes: &[Change]) -> Vec<&str> {
    changes.iter().map(id).collect()
}
