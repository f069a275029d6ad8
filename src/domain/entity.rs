//! The four kinds of objects that the read model holds.

use serde::{Deserialize, Serialize};

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Entity {
    /// People.
    Users,
    /// Organizations.
    Organizations,
    /// Who is in which organization.
    Memberships,
    /// Who was asked into which organization.
    Invitations,
}

impl Entity {
    /// All of them, parents first.
    pub const ALL: [Self; 4] = [Self::Users, Self::Organizations, Self::Memberships, Self::Invitations];

    /// The word for it, as in reports and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Organizations => "organizations",
            Self::Memberships => "memberships",
            Self::Invitations => "invitations",
        }
    }
}
