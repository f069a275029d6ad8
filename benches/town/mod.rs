//! Made-up people and organizations of any number, the same at every run, for the benchmarks.
//!
//! Everything follows from a number: user 7 has the same name, address and organizations everywhere, so nothing
//! has to be kept, and every answer can be checked.

#![allow(dead_code, reason = "each benchmark uses its part")]

pub(crate) mod clerk;
pub(crate) mod events;
mod template;

use roster::domain::model::Metadata;
use roster::domain::{
    Change, Membership, MembershipId, Observed, Organization, OrganizationId, Role, User, UserId,
};

/// The members of an ordinary organization.
pub(crate) const EACH: usize = 40;
/// The organization with 50 members.
pub(crate) const FIFTY: usize = 900_000_000;
/// The organization with very many members.
pub(crate) const LARGE: usize = 900_000_001;

/// When user 0 signed up; everybody else came a second after the one before.
const FIRST_MS: i64 = 1_600_000_000_000;
const FIRST_NAMES: [&str; 8] = ["Ada", "Grace", "Edsger", "Barbara", "Tony", "Radia", "Leslie", "Shafi"];
const LAST_NAMES: [&str; 7] = ["Lovelace", "Hopper", "Dijkstra", "Liskov", "Hoare", "Perlman", "Lamport"];

/// How many people there are. Each is in an ordinary organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Town {
    pub(crate) users: usize,
    /// How many of them are in the large organization too.
    pub(crate) large: usize,
}

/// As long as Clerk's.
pub(crate) fn id(prefix: &str, number: usize) -> String {
    format!("{prefix}_{number:027}")
}

pub(crate) fn created_at_ms(user: usize) -> i64 {
    FIRST_MS + i64::try_from(user).unwrap() * 1_000
}

impl Town {
    /// The ordinary organizations.
    pub(crate) fn organizations(self) -> usize {
        self.users / EACH
    }

    /// The members of any organization, oldest account first.
    pub(crate) fn members(self, organization: usize) -> Vec<usize> {
        match organization {
            FIFTY => (0..50).map(|place| place * (self.users / 50)).collect(),
            LARGE => (0..self.large).collect(),
            ordinary => (ordinary * EACH..(ordinary + 1) * EACH).collect(),
        }
    }

    /// Everything that a store has to be told.
    pub(crate) fn changes(self) -> impl Iterator<Item = Change> {
        let organizations = move || (0..self.organizations()).chain([FIFTY, LARGE]);
        let memberships = organizations().flat_map(move |organization| {
            self.members(organization).into_iter().map(move |user| membership(user, organization))
        });
        organizations().map(organization).chain((0..self.users).map(user)).chain(memberships)
    }
}

fn user(number: usize) -> Change {
    let at_ms = created_at_ms(number);
    let first_name = FIRST_NAMES[number % FIRST_NAMES.len()];
    let last_name = LAST_NAMES[number % LAST_NAMES.len()];
    let metadata = serde_json::from_value(serde_json::json!({ "team": number % 9 })).unwrap();
    let user = User {
        id: UserId::parse(&id("user", number)).unwrap(),
        first_name: Some(first_name.to_owned()),
        last_name: Some(last_name.to_owned()),
        username: Some(format!("{}{number}", first_name.to_lowercase())),
        email: Some(format!("{first_name}.{last_name}.{number}@example.com").to_lowercase()),
        image_url: Some(format!("https://img.clerk.com/{number:0110}")),
        has_image: number.is_multiple_of(3),
        banned: false,
        public_metadata: Metadata::new(&metadata),
        created_at_ms: at_ms,
    };
    Change::User { user: Observed::new(user, at_ms, at_ms), last_sign_in_at_ms: None }
}

fn organization(number: usize) -> Change {
    let organization = Organization {
        id: OrganizationId::parse(&id("org", number)).unwrap(),
        name: Some(format!("Organization {number}")),
        created_at_ms: FIRST_MS,
    };
    Change::Organization(Observed::new(organization, FIRST_MS, FIRST_MS))
}

fn membership(user: usize, organization: usize) -> Change {
    let at_ms = created_at_ms(user);
    let number = organization * 1_000_000 + user;
    let membership = Membership {
        id: MembershipId::parse(&id("orgmem", number)).unwrap(),
        organization_id: OrganizationId::parse(&id("org", organization)).unwrap(),
        user_id: UserId::parse(&id("user", user)).unwrap(),
        role: Role::new("member"),
        public_metadata: Metadata::default(),
        created_at_ms: at_ms,
    };
    Change::Membership(Observed::new(membership, at_ms, at_ms))
}
