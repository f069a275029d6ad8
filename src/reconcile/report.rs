//! What a pass found: the drift report, as it is kept, printed and counted.

use serde::{Deserialize, Serialize};

use crate::domain::time::iso8601;
use crate::domain::{Entity, PassKind, PassOutcome};

/// How one entity differed from Clerk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Objects that Clerk showed.
    pub seen: u64,
    /// Of these, not known here.
    pub missing: u64,
    /// Of these, known here in an older state.
    pub stale: u64,
    /// Known here, and confirmed to be gone there; those that fall with a parent too.
    pub gone: u64,
    /// Of the missing, stale and gone, put right.
    pub repaired: u64,
    /// Gone there, and kept here because the brake refused.
    pub refused: u64,
}

/// The drift of all four entities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entities {
    /// Of users.
    pub users: Drift,
    /// Of organizations.
    pub organizations: Drift,
    /// Of memberships.
    pub memberships: Drift,
    /// Of invitations.
    pub invitations: Drift,
}

impl Entities {
    /// The drift of one entity.
    pub fn of(&self, entity: Entity) -> Drift {
        match entity {
            Entity::Users => self.users,
            Entity::Organizations => self.organizations,
            Entity::Memberships => self.memberships,
            Entity::Invitations => self.invitations,
        }
    }

    /// The drift of one entity, to count on.
    pub fn of_mut(&mut self, entity: Entity) -> &mut Drift {
        match entity {
            Entity::Users => &mut self.users,
            Entity::Organizations => &mut self.organizations,
            Entity::Memberships => &mut self.memberships,
            Entity::Invitations => &mut self.invitations,
        }
    }
}

/// What a pass found, and what it did about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// How far it looked.
    pub kind: PassKind,
    /// How it ended.
    pub outcome: PassOutcome,
    /// Whether it only looked.
    pub dry_run: bool,
    /// When it began, by Clerk's clock.
    #[serde(serialize_with = "time")]
    pub started_at: i64,
    /// When it ended.
    #[serde(serialize_with = "time")]
    pub finished_at: i64,
    /// The drift.
    pub entities: Entities,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn time<S: serde::Serializer>(at_ms: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&iso8601(*at_ms))
}
