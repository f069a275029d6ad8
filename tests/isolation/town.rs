//! Several organizations that share people, and for each of them a service that knows nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use roster::clock;
use roster::domain::model::Metadata;
use roster::domain::{
    Change, Membership, MembershipId, Observed, Organization, OrganizationId, Role, User, UserId,
};
use roster::sim::keys::SigningKey;

use crate::reading::site::Site;
use crate::support::database::Kind;

/// How many organizations there are.
pub const ORGANIZATIONS: usize = 4;
/// How many people there are.
pub const PEOPLE: usize = 48;

/// Everything in one service, and each organization in a service of its own.
pub struct Town {
    pub together: Site,
    pub apart: Vec<Site>,
}

impl Town {
    /// All together on either database; apart in files.
    pub async fn new(kind: Kind) -> Self {
        let key = Arc::new(SigningKey::generate("ins_1").unwrap());
        let together = Site::on(kind, key.clone()).await;
        let everybody = (0..ORGANIZATIONS).flat_map(founded).chain((0..PEOPLE).flat_map(account));
        together.apply(everybody.collect()).await;
        let mut apart = Vec::new();
        for organization in 0..ORGANIZATIONS {
            let mut alone = founded(organization);
            let related = |person: &usize| place(*person, organization) != Place::Never;
            alone.extend((0..PEOPLE).filter(related).flat_map(account));
            alone.extend((0..PEOPLE).flat_map(|person| memberships(person, organization)));
            together.apply((0..PEOPLE).flat_map(|person| memberships(person, organization)).collect()).await;
            let site = Site::empty(key.clone()).await;
            site.apply(alone).await;
            apart.push(site);
        }
        Self { together, apart }
    }
}

pub fn organization_id(organization: usize) -> String {
    format!("org_{organization}")
}

/// Three digits, so that no id begins another one.
pub fn user_id(person: usize) -> String {
    format!("user_{person:03}")
}

/// What a person is to an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Admin,
    Member,
    Left,
    Rejoined,
    Never,
}

/// Everyone is in one organization; every third one in the next, too; every fourth one has left the one after
/// that, and every eighth one is back.
pub fn place(person: usize, organization: usize) -> Place {
    let home = person % ORGANIZATIONS;
    let distance = (organization + ORGANIZATIONS - home) % ORGANIZATIONS;
    let number = person / ORGANIZATIONS;
    match distance {
        0 if number.is_multiple_of(5) => Place::Admin,
        0 => Place::Member,
        1 if number.is_multiple_of(3) && number.is_multiple_of(2) => Place::Admin,
        1 if number.is_multiple_of(3) => Place::Member,
        2 if number.is_multiple_of(8) => Place::Rejoined,
        2 if number.is_multiple_of(4) => Place::Left,
        _ => Place::Never,
    }
}

fn is_deleted(person: usize) -> bool {
    person % 17 == 9
}

/// The ids that an answer about this organization may hold.
pub fn listed(organization: usize) -> BTreeSet<String> {
    let stands = |person: &usize| !matches!(place(*person, organization), Place::Left | Place::Never);
    (0..PEOPLE).filter(stands).filter(|person| !is_deleted(*person)).map(user_id).collect()
}

fn founded(organization: usize) -> Vec<Change> {
    let content = Organization {
        id: OrganizationId::parse(&organization_id(organization)).unwrap(),
        name: Some(format!("Organization {organization}")),
        created_at_ms: 1,
    };
    vec![Change::Organization(Observed::new(content, 5_000, 5_000))]
}

/// Whatever is shown of a person has the person's id in it.
fn account(person: usize) -> Vec<Change> {
    let id = user_id(person);
    let team = if person.is_multiple_of(2) { "core" } else { "web" };
    let user = User {
        id: UserId::parse(&id).unwrap(),
        first_name: Some(format!("Ada {id}")),
        last_name: (person % 7 != 3).then(|| format!("Straße {id}")),
        username: Some(format!("ada_{id}")),
        // Some without, some that differ in case alone from those of others.
        email: (person % 6 != 5).then(|| format!("{}{id}@example.com", ["Ada.", "ada."][person % 2])),
        image_url: Some(format!("https://img.example/{id}")),
        has_image: person.is_multiple_of(2),
        banned: person % 13 == 4,
        public_metadata: Metadata::from_stored(format!(
            r#"{{"level":{},"of":"{id}","team":"{team}"}}"#,
            person % 3
        )),
        // Some as old as others.
        created_at_ms: i64::try_from(person / 5).unwrap() * 1_000,
    };
    let mut changes =
        vec![Change::User { user: Observed::new(user, 5_000, 5_000), last_sign_in_at_ms: None }];
    if is_deleted(person) {
        changes.push(Change::UserDeleted { id: UserId::parse(&id).unwrap(), at_ms: 6_000 });
    }
    changes
}

fn memberships(person: usize, organization: usize) -> Vec<Change> {
    let organization_id = OrganizationId::parse(&organization_id(organization)).unwrap();
    let user_id = UserId::parse(&user_id(person)).unwrap();
    let id = |number| MembershipId::parse(&format!("orgmem_{organization}_{person:03}_{number}")).unwrap();
    let joined = |number: i64, role| {
        let content = Membership {
            id: id(number),
            organization_id: organization_id.clone(),
            user_id: user_id.clone(),
            role: Role::new(role),
            public_metadata: Metadata::default(),
            created_at_ms: number,
        };
        Change::Membership(Observed::new(content, 5_000, 5_000))
    };
    // Later than every token was issued, so that one who has left is refused.
    let left = Change::MembershipDeleted {
        id: id(1),
        organization_id: organization_id.clone(),
        user_id: user_id.clone(),
        created_at_ms: Some(1),
        at_ms: clock::now_ms() + 3_600_000,
    };
    match place(person, organization) {
        Place::Admin => vec![joined(1, "admin")],
        Place::Member => vec![joined(1, "member")],
        Place::Left => vec![joined(1, "member"), left],
        Place::Rejoined => vec![joined(1, "admin"), left, joined(2, "member")],
        Place::Never => Vec::new(),
    }
}
