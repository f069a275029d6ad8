//! What the admin's list can show beside members: invitations, and where each row stands.

use serde::Serialize;
use utoipa::ToSchema;

use super::fold::email_key;
use super::id::UserId;
use super::member::{Cursor, Member, Order};
use super::model::{Invitation, InvitationStatus};

/// Where a row of the admin's list stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ActivityStatus)]
pub enum Activity {
    /// A member.
    Active,
    /// An open invitation.
    Pending,
    /// An invitation that was revoked, or that has expired.
    Inactive,
}

impl Activity {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Inactive => "inactive",
        }
    }
}

/// Which rows are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Those that stand so.
    Only(Activity),
    /// Every row.
    All,
}

impl Shown {
    const WORDS: [Self; 4] = [
        Self::Only(Activity::Active),
        Self::Only(Activity::Pending),
        Self::Only(Activity::Inactive),
        Self::All,
    ];

    /// Reads the word of a caller.
    pub fn parse(text: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|shown| shown.as_str() == text)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Only(activity) => activity.as_str(),
            Self::All => "all",
        }
    }

    /// Whether rows that stand so are asked for.
    pub fn shows(self, activity: Activity) -> bool {
        self == Self::All || self == Self::Only(activity)
    }
}

/// One row: a member, or an invitation that nobody has accepted.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A member, with the newest invitation that it has accepted, when that is known.
    Member(Box<Member>, Option<Box<Invitation>>),
    /// An invitation, with its status at the moment of the request.
    Invitation(Box<Invitation>),
}

impl Entry {
    /// Where it stands.
    pub fn activity(&self) -> Activity {
        match self {
            Self::Member(..) => Activity::Active,
            Self::Invitation(invitation) if invitation.status == InvitationStatus::Pending => {
                Activity::Pending
            }
            Self::Invitation(_) => Activity::Inactive,
        }
    }

    /// The cursor of the page that follows this row. Members and invitations have their places in one order,
    /// by address; ties go by Clerk's id, which an invitation has too, though the list does not show it. No two
    /// rows share a place, since an id says of what kind it is.
    pub fn cursor(&self) -> Cursor {
        match self {
            Self::Member(member, _) => member.cursor(Order::Email),
            Self::Invitation(invitation) => Cursor::Email {
                key: email_key(invitation.email.as_deref()),
                user_id: invitation.id.as_str().to_owned(),
            },
        }
    }

    /// The member's id.
    pub fn user_id(&self) -> Option<&UserId> {
        match self {
            Self::Member(member, _) => Some(&member.user.id),
            Self::Invitation(_) => None,
        }
    }
}

/// A part of the list with invitations, and whether more follows.
#[derive(Debug, Clone)]
pub struct EntryPage {
    /// By e-mail address.
    pub entries: Vec<Entry>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Cursor>,
}
