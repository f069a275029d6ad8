//! Random histories of one small instance, as a strategy that shrinks.

use futures_util::future::join_all;
use proptest::prelude::*;
use roster::domain::model::Metadata;
use roster::domain::{
    Change, Filter, Invitation, InvitationId, InvitationStatus, MemberQuery, Membership, MembershipId,
    Observed, Order, Organization, OrganizationId, Role, User, UserId,
};
use roster::store::{Delivery, Store};

use crate::support::database::TestStore;

/// Something that is said about one object; small numbers stand for ids, times and contents.
#[derive(Debug, Clone)]
pub enum Step {
    User { user: u8, updated: i64, observed: i64, content: u8, sign_in: Option<i64> },
    UserDeleted { user: u8, at: i64 },
    SignIn { user: u8, at: i64 },
    Organization { organization: u8, updated: i64, observed: i64, content: u8 },
    OrganizationDeleted { organization: u8, at: i64 },
    Membership { membership: u8, place: (u8, u8), created: i64, updated: i64, observed: i64, content: u8 },
    MembershipDeleted { membership: u8, place: (u8, u8), created: Option<i64>, at: i64 },
    Invitation { invitation: u8, user: Option<u8>, updated: i64, observed: i64, content: u8 },
    InvitationDeleted { invitation: u8, at: i64 },
}

/// One step, and whether a delivery or a pass says it.
#[derive(Debug, Clone)]
pub struct Said {
    pub step: Step,
    pub by_pass: bool,
}

/// Where a membership places whom. Clerk never moves one; `astray` is for a sender that does.
fn place(membership: u8, astray: bool) -> (u8, u8) {
    if astray { (membership % 2, membership / 2 % 3) } else { (0, membership % 3) }
}

fn step() -> impl Strategy<Value = Step> {
    let time = || 0_i64..6;
    prop_oneof![
        6 => (0_u8..3, time(), time(), 0_u8..4, proptest::option::of(time())).prop_map(
            |(user, updated, observed, content, sign_in)| Step::User { user, updated, observed, content, sign_in }
        ),
        1 => (0_u8..3, time()).prop_map(|(user, at)| Step::UserDeleted { user, at }),
        1 => (0_u8..3, time()).prop_map(|(user, at)| Step::SignIn { user, at }),
        2 => (0_u8..2, time(), time(), 0_u8..3).prop_map(
            |(organization, updated, observed, content)| Step::Organization { organization, updated, observed, content }
        ),
        1 => (0_u8..8, time()).prop_map(|(rare, at)| if rare == 0 {
            Step::OrganizationDeleted { organization: 0, at }
        } else {
            Step::OrganizationDeleted { organization: 1, at }
        }),
        8 => (0_u8..6, 0_u8..12, 0_i64..3, time(), time(), 0_u8..3).prop_map(
            |(membership, astray, created, updated, observed, content)| Step::Membership {
                membership, place: place(membership, astray == 0), created, updated, observed, content,
            }
        ),
        3 => (0_u8..6, 0_u8..12, proptest::option::of(0_i64..3), time()).prop_map(
            |(membership, astray, created, at)| Step::MembershipDeleted {
                membership, place: place(membership, astray == 0), created, at,
            }
        ),
        3 => (0_u8..2, any::<bool>(), time(), time(), 0_u8..3).prop_map(
            // An invitation is accepted once, by one user; not every event says by whom.
            |(invitation, accepted, updated, observed, content)| Step::Invitation {
                invitation, user: accepted.then_some(invitation), updated, observed, content,
            }
        ),
        1 => (0_u8..2, time()).prop_map(|(invitation, at)| Step::InvitationDeleted { invitation, at }),
    ]
}

/// A history of up to 16 steps.
pub fn history() -> impl Strategy<Value = Vec<Said>> {
    let said = (step(), proptest::bool::weighted(0.25)).prop_map(|(step, by_pass)| Said { step, by_pass });
    proptest::collection::vec(said, 1..16)
}

fn user_id(prefix: &str, user: u8) -> UserId {
    UserId::parse(&format!("{prefix}user_{user}")).unwrap()
}

fn organization_id(prefix: &str, organization: u8) -> OrganizationId {
    OrganizationId::parse(&format!("{prefix}org_{organization}")).unwrap()
}

fn metadata(content: u8) -> Metadata {
    Metadata::new(serde_json::json!({ "level": content }).as_object().unwrap())
}

impl Step {
    /// The change that the store is given, with every id under `prefix`.
    pub fn change(&self, prefix: &str) -> Change {
        let membership_id = |id: u8| MembershipId::parse(&format!("{prefix}orgmem_{id}")).unwrap();
        let invitation_id = |id: u8| InvitationId::parse(&format!("{prefix}orginv_{id}")).unwrap();
        match *self {
            Self::User { user, updated, observed, content, sign_in } => {
                let state = User {
                    id: user_id(prefix, user),
                    first_name: Some(format!("Name {content}")),
                    last_name: None,
                    username: None,
                    email: (content > 0).then(|| format!("person{}@example.com", 9 - content)),
                    image_url: None,
                    has_image: content == 1,
                    banned: content == 3,
                    public_metadata: metadata(content),
                    created_at_ms: i64::from(content % 2),
                };
                Change::User { user: Observed::new(state, updated, observed), last_sign_in_at_ms: sign_in }
            }
            Self::UserDeleted { user, at } => Change::UserDeleted { id: user_id(prefix, user), at_ms: at },
            Self::SignIn { user, at } => Change::SignIn { user_id: user_id(prefix, user), at_ms: at },
            Self::Organization { organization, updated, observed, content } => {
                let state = Organization {
                    id: organization_id(prefix, organization),
                    name: Some(format!("Organization {content}")),
                    created_at_ms: 0,
                };
                Change::Organization(Observed::new(state, updated, observed))
            }
            Self::OrganizationDeleted { organization, at } => {
                Change::OrganizationDeleted { id: organization_id(prefix, organization), at_ms: at }
            }
            Self::Membership { membership, place, created, updated, observed, content } => {
                let state = Membership {
                    id: membership_id(membership),
                    organization_id: organization_id(prefix, place.0),
                    user_id: user_id(prefix, place.1),
                    role: Role::new(if content == 0 { "admin" } else { "member" }),
                    public_metadata: metadata(content),
                    created_at_ms: created,
                };
                Change::Membership(Observed::new(state, updated, observed))
            }
            Self::MembershipDeleted { membership, place, created, at } => Change::MembershipDeleted {
                id: membership_id(membership),
                organization_id: organization_id(prefix, place.0),
                user_id: user_id(prefix, place.1),
                created_at_ms: created,
                at_ms: at,
            },
            Self::Invitation { invitation, user, updated, observed, content } => {
                let state = Invitation {
                    id: invitation_id(invitation),
                    organization_id: Some(organization_id(prefix, 0)),
                    user_id: user.map(|user| user_id(prefix, user)),
                    email: Some(format!("guest{content}@example.com")),
                    role: Some(Role::new("member")),
                    status: InvitationStatus::Pending,
                    public_metadata: metadata(content),
                    created_at_ms: 0,
                    expires_at_ms: None,
                };
                Change::Invitation(Observed::new(state, updated, observed))
            }
            Self::InvitationDeleted { invitation, at } => {
                Change::InvitationDeleted { id: invitation_id(invitation), at_ms: at }
            }
        }
    }

    /// The delivery that says it.
    pub fn delivery(&self, prefix: &str, message: usize) -> Delivery {
        let (event_type, object_id, user) = match *self {
            Self::User { user, .. } => ("user.updated", None, Some(user)),
            Self::UserDeleted { user, .. } => ("user.deleted", None, Some(user)),
            Self::SignIn { user, .. } => ("session.created", None, Some(user)),
            Self::Organization { .. } | Self::InvitationDeleted { .. } => {
                ("organization.updated", None, None)
            }
            Self::OrganizationDeleted { .. } => ("organization.deleted", None, None),
            Self::Membership { place, .. } => ("organizationMembership.updated", None, Some(place.1)),
            Self::MembershipDeleted { place, .. } => ("organizationMembership.deleted", None, Some(place.1)),
            Self::Invitation { invitation, user, .. } => {
                ("organizationInvitation.created", Some(format!("{prefix}orginv_{invitation}")), user)
            }
        };
        Delivery {
            message_id: format!("{prefix}msg_{message:02}"),
            event_type,
            object_id,
            user_id: user.map(|user| user_id(prefix, user)),
            occurred_at_ms: None,
            received_at_ms: 0,
            payload: Some("{}".to_owned()),
        }
    }
}

/// Says these steps of a history, in this order, in as many transactions as there are parts.
pub async fn say(db: &TestStore, prefix: &str, history: &[Said], order: &[usize], parts: usize) {
    say_to(&[&db.store], prefix, history, order, parts).await;
}

/// The same, spread over several instances.
pub async fn say_to(stores: &[&Store], prefix: &str, history: &[Said], order: &[usize], parts: usize) {
    for part in order.chunks(order.len().div_ceil(parts).max(1)) {
        join_all(part.iter().enumerate().map(|(at, &index)| async move {
            let store = stores[at % stores.len()];
            let said = &history[index];
            let change = said.step.change(prefix);
            if said.by_pass {
                store.apply(vec![change]).await.unwrap();
            } else {
                store.deliver(said.step.delivery(prefix, index), vec![change]).await.unwrap();
            }
        }))
        .await;
    }
}

/// Both lists of both organizations, as ids, roles and names.
pub async fn lists(db: &TestStore, prefix: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for organization in 0..2 {
        for order in [Order::Account, Order::Email] {
            let query = MemberQuery {
                organization_id: organization_id(prefix, organization),
                order,
                after: None,
                limit: None,
                ids: None,
                filter: Filter::default(),
            };
            let page = db.store.members(&query).await.unwrap();
            lines.extend(page.members.iter().map(|member| {
                let line =
                    format!("{order:?} {} {} {:?}", member.user.id, member.role.as_str(), member.user.email);
                line.replace(prefix, "")
            }));
        }
    }
    lines
}
