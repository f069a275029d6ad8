//! Clerk's objects, as events and the Backend API both write them, to ours.
//!
//! Lenient: only the id is needed, and what places a membership. Absent and null mean the same.

use super::fields::{FieldError, Fields};
use crate::domain::{
    Change, Content, Invitation, InvitationId, InvitationStatus, Membership, MembershipId, Observed,
    Organization, OrganizationId, Role, User, UserId,
};

/// The three moments of an object's state, in Unix milliseconds. What is not said follows from what is, so
/// that an incomplete object has one place in the order, whenever it arrives.
#[expect(clippy::struct_field_names, reason = "units come last in every name")]
struct Moments {
    created_at_ms: i64,
    updated_at_ms: i64,
    observed_at_ms: i64,
}

impl Moments {
    fn read(fields: &Fields<'_>, observed_at_ms: Option<i64>) -> Result<Self, FieldError> {
        let created = fields.time_ms("created_at")?;
        let updated = fields.time_ms("updated_at")?;
        let observed_at_ms = observed_at_ms.or(updated).or(created).unwrap_or(0);
        let updated_at_ms = updated.unwrap_or(observed_at_ms);
        Ok(Self { created_at_ms: created.unwrap_or(updated_at_ms), updated_at_ms, observed_at_ms })
    }

    fn of<T: Content>(&self, content: T) -> Observed<T> {
        Observed::new(content, self.updated_at_ms, self.observed_at_ms)
    }
}

/// A user, and the last sign-in that came with it.
pub(super) fn user(fields: &Fields<'_>, observed_at_ms: Option<i64>) -> Result<Change, FieldError> {
    let moments = Moments::read(fields, observed_at_ms)?;
    let user = User {
        id: fields.needed_id("id", UserId::parse)?,
        first_name: fields.text("first_name")?,
        last_name: fields.text("last_name")?,
        username: fields.text("username")?,
        email: primary_email(fields)?,
        image_url: fields.text("image_url")?,
        has_image: fields.flag("has_image")?,
        banned: fields.flag("banned")?,
        public_metadata: fields.metadata("public_metadata")?,
        created_at_ms: moments.created_at_ms,
    };
    let last_sign_in_at_ms = fields.time_ms("last_sign_in_at")?;
    Ok(Change::User { user: moments.of(user), last_sign_in_at_ms })
}

/// The address that `primary_email_address_id` names. The id may name none, and the first address means
/// nothing.
fn primary_email(fields: &Fields<'_>) -> Result<Option<String>, FieldError> {
    let primary = fields.text("primary_email_address_id")?;
    for address in fields.objects("email_addresses")? {
        let id = address.text("id")?;
        if id.is_some() && id == primary {
            return address.text("email_address");
        }
    }
    Ok(None)
}

/// An organization.
pub(super) fn organization(fields: &Fields<'_>, observed_at_ms: Option<i64>) -> Result<Change, FieldError> {
    let moments = Moments::read(fields, observed_at_ms)?;
    let organization = Organization {
        id: fields.needed_id("id", OrganizationId::parse)?,
        name: fields.text("name")?,
        created_at_ms: moments.created_at_ms,
    };
    Ok(Change::Organization(moments.of(organization)))
}

/// Where a membership places whom.
fn place(fields: &Fields<'_>) -> Result<(OrganizationId, UserId), FieldError> {
    let organization_id = fields.needed_object("organization")?.needed_id("id", OrganizationId::parse)?;
    let user_id = fields.needed_object("public_user_data")?.needed_id("user_id", UserId::parse)?;
    Ok((organization_id, user_id))
}

/// A membership.
pub(super) fn membership(fields: &Fields<'_>, observed_at_ms: Option<i64>) -> Result<Change, FieldError> {
    let moments = Moments::read(fields, observed_at_ms)?;
    let (organization_id, user_id) = place(fields)?;
    let membership = Membership {
        id: fields.needed_id("id", MembershipId::parse)?,
        organization_id,
        user_id,
        role: Role::new(fields.text("role")?.as_deref().unwrap_or(Role::UNNAMED)),
        public_metadata: fields.metadata("public_metadata")?,
        created_at_ms: moments.created_at_ms,
    };
    Ok(Change::Membership(moments.of(membership)))
}

/// The end of a membership, which comes as the whole object. Its `updated_at` may be the one of its last
/// state, so only the event's own time says when it ended.
pub(super) fn membership_deleted(
    fields: &Fields<'_>,
    occurred_at_ms: Option<i64>,
    otherwise_ms: i64,
) -> Result<Change, FieldError> {
    let (organization_id, user_id) = place(fields)?;
    let at_ms = match occurred_at_ms {
        Some(at_ms) => at_ms,
        None => fields.time_ms("updated_at")?.unwrap_or(otherwise_ms),
    };
    Ok(Change::MembershipDeleted {
        id: fields.needed_id("id", MembershipId::parse)?,
        organization_id,
        user_id,
        created_at_ms: fields.time_ms("created_at")?,
        at_ms,
    })
}

/// An invitation. An event that is named for a status has the last word on it.
pub(super) fn invitation(
    fields: &Fields<'_>,
    status: Option<InvitationStatus>,
    observed_at_ms: Option<i64>,
) -> Result<Change, FieldError> {
    let moments = Moments::read(fields, observed_at_ms)?;
    let status = match status {
        Some(status) => status,
        None => stated_status(fields)?,
    };
    let invitation = Invitation {
        id: fields.needed_id("id", InvitationId::parse)?,
        organization_id: invited_to(fields)?,
        user_id: fields.id("user_id", UserId::parse)?,
        email: fields.text("email_address")?,
        role: fields.text("role")?.as_deref().map(Role::new),
        status,
        public_metadata: fields.metadata("public_metadata")?,
        created_at_ms: moments.created_at_ms,
        expires_at_ms: fields.time_ms("expires_at")?,
    };
    Ok(Change::Invitation(moments.of(invitation.as_kept())))
}

/// Either of two fields says it, and neither is always there.
fn invited_to(fields: &Fields<'_>) -> Result<Option<OrganizationId>, FieldError> {
    match fields.id("organization_id", OrganizationId::parse)? {
        Some(id) => Ok(Some(id)),
        None => match fields.object("public_organization_data")? {
            Some(organization) => organization.id("id", OrganizationId::parse),
            None => Ok(None),
        },
    }
}

fn stated_status(fields: &Fields<'_>) -> Result<InvitationStatus, FieldError> {
    let Some(text) = fields.text("status")? else { return Ok(InvitationStatus::Pending) };
    InvitationStatus::parse(&text)
        .ok_or_else(|| fields.error("status", "must be pending, accepted, revoked or expired"))
}

/// A sign-in: when the session began.
pub(super) fn sign_in(fields: &Fields<'_>, otherwise_ms: i64) -> Result<Change, FieldError> {
    fields.needed_id("id", UserId::parse)?;
    let user_id = fields.needed_id("user_id", UserId::parse)?;
    Ok(Change::SignIn { user_id, at_ms: fields.time_ms("created_at")?.unwrap_or(otherwise_ms) })
}
