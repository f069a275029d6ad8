//! What Roster knows about, as plain types: no I/O, no wire formats, no SQL.
//!
//! `change` says what may happen to the read model, `merge` decides what does.

pub mod access;
pub mod change;
pub mod difference;
pub mod entity;
pub mod entry;
pub mod fold;
pub mod id;
pub mod member;
pub mod merge;
pub mod model;
pub mod outcome;
pub mod pass;
pub mod time;

pub use access::{Contradiction, Standing, StoredMembership};
pub use change::{Change, Content, Observed, Version};
pub use difference::{Difference, StoredState};
pub use entity::Entity;
pub use entry::{Activity, Entry, EntryPage, Shown};
pub use id::{InvitationId, MembershipId, OrganizationId, UserId};
pub use member::{Cursor, Filter, Member, MemberQuery, Order, Page};
pub use model::{Invitation, InvitationStatus, Membership, Organization, Role, User};
pub use outcome::Outcome;
pub use pass::{PassKind, PassOutcome};
