//! How the states that `domain::merge` works on are loaded and saved, many at a time.

use std::collections::{BTreeMap, BTreeSet};

use super::connection::Row;
use super::error::StoreError;
use super::rows::{Asked, Cell, Script, Statement, cell, ids};
use crate::domain::id::InvalidId;
use crate::domain::merge::{InvitationState, MembershipState, OrganizationState, UserState};
use crate::domain::model::Metadata;
use crate::domain::{
    Invitation, InvitationId, InvitationStatus, Membership, MembershipId, Observed, Organization,
    OrganizationId, Role, User, UserId, Version,
};

fn invalid(column: &'static str) -> impl FnOnce(InvalidId) -> StoreError {
    move |_| StoreError::InvalidData(column)
}

/// A user's id out of a row.
pub(super) fn user_id(row: &Row, column: &str) -> Result<UserId, StoreError> {
    UserId::parse(row.try_get::<&str, _>(column)?).map_err(invalid("user id"))
}

/// An organization's id out of a row.
pub(super) fn organization_id(row: &Row, column: &str) -> Result<OrganizationId, StoreError> {
    OrganizationId::parse(row.try_get::<&str, _>(column)?).map_err(invalid("organization id"))
}

fn version(row: &Row) -> Result<Option<Version>, StoreError> {
    let updated_at_ms: Option<i64> = row.try_get("updated_at_ms")?;
    let Some(updated_at_ms) = updated_at_ms else { return Ok(None) };
    Ok(Some(Version {
        updated_at_ms,
        observed_at_ms: row.try_get("observed_at_ms")?,
        content_digest: row.try_get("content_digest")?,
    }))
}

/// Flags are stored as 0 and 1, which not every database reads as a boolean.
fn flag(row: &Row, column: &str) -> Result<bool, StoreError> {
    Ok(row.try_get::<i64, _>(column)? != 0)
}

fn metadata(row: &Row) -> Result<Metadata, StoreError> {
    Ok(Metadata::from_stored(row.try_get("public_metadata")?))
}

/// A user as it stands in a row of `users`.
pub(super) fn user(row: &Row, id: UserId) -> Result<User, StoreError> {
    Ok(User {
        id,
        first_name: row.try_get("first_name")?,
        last_name: row.try_get("last_name")?,
        username: row.try_get("username")?,
        email: row.try_get("email")?,
        image_url: row.try_get("image_url")?,
        has_image: flag(row, "has_image")?,
        banned: flag(row, "banned")?,
        public_metadata: metadata(row)?,
        created_at_ms: row.try_get("created_at_ms")?,
    })
}

/// The version columns: all NULL while no state is known.
fn version_cells(version: Option<Version>) -> [Cell<'static>; 3] {
    [
        cell(version.map(|version| version.updated_at_ms)),
        cell(version.map(|version| version.observed_at_ms)),
        cell(version.map(|version| version.content_digest)),
    ]
}

static LOAD_USERS: Statement<1> =
    Statement::new("SELECT u.* FROM (VALUES {rows}) AS r CROSS JOIN users u WHERE u.id = r.column1");

pub(super) fn load_users<'a>(script: &mut Script<'a>, users: &'a BTreeSet<UserId>) -> Asked {
    script.add(&LOAD_USERS, ids(users))
}

pub(super) fn users(rows: Vec<Row>) -> Result<BTreeMap<UserId, UserState>, StoreError> {
    let mut states = BTreeMap::new();
    for row in rows {
        let id = user_id(&row, "id")?;
        let known = match version(&row)? {
            Some(version) => Some(Observed { content: user(&row, id.clone())?, version }),
            None => None,
        };
        let state = UserState {
            known,
            last_sign_in_at_ms: row.try_get("last_sign_in_at_ms")?,
            deleted_at_ms: row.try_get("deleted_at_ms")?,
        };
        states.insert(id, state);
    }
    Ok(states)
}

static SAVE_USERS: Statement<15> = Statement::new(
    "INSERT INTO users (id, updated_at_ms, observed_at_ms, content_digest, first_name,
        last_name, username, email, image_url, has_image, banned, public_metadata, created_at_ms,
        last_sign_in_at_ms, deleted_at_ms)
    VALUES {rows}
    ON CONFLICT (id) DO UPDATE SET updated_at_ms = excluded.updated_at_ms,
        observed_at_ms = excluded.observed_at_ms, content_digest = excluded.content_digest,
        first_name = excluded.first_name, last_name = excluded.last_name, username = excluded.username,
        email = excluded.email, image_url = excluded.image_url, has_image = excluded.has_image,
        banned = excluded.banned, public_metadata = excluded.public_metadata,
        created_at_ms = excluded.created_at_ms, last_sign_in_at_ms = excluded.last_sign_in_at_ms,
        deleted_at_ms = excluded.deleted_at_ms",
);

pub(super) fn save_users<'a>(
    script: &mut Script<'a>,
    states: impl Iterator<Item = (&'a UserId, &'a UserState)>,
) {
    let row = |(id, state): (&'a UserId, &'a UserState)| {
        let [updated, observed, digest] = version_cells(state.known.as_ref().map(|known| known.version));
        let user = state.known.as_ref().map(|known| &known.content);
        [
            cell(id),
            updated,
            observed,
            digest,
            cell(user.and_then(|user| user.first_name.as_deref())),
            cell(user.and_then(|user| user.last_name.as_deref())),
            cell(user.and_then(|user| user.username.as_deref())),
            cell(user.and_then(|user| user.email.as_deref())),
            cell(user.and_then(|user| user.image_url.as_deref())),
            cell(user.is_some_and(|user| user.has_image)),
            cell(user.is_some_and(|user| user.banned)),
            cell(user.map_or("{}", |user| user.public_metadata.as_str())),
            cell(user.map_or(0, |user| user.created_at_ms)),
            cell(state.last_sign_in_at_ms),
            cell(state.deleted_at_ms),
        ]
    };
    script.add(&SAVE_USERS, states.map(row));
}

static LOAD_ORGANIZATIONS: Statement<1> =
    Statement::new("SELECT o.* FROM (VALUES {rows}) AS r CROSS JOIN organizations o WHERE o.id = r.column1");

pub(super) fn load_organizations<'a>(
    script: &mut Script<'a>,
    organizations: &'a BTreeSet<OrganizationId>,
) -> Asked {
    script.add(&LOAD_ORGANIZATIONS, ids(organizations))
}

pub(super) fn organizations(
    rows: Vec<Row>,
) -> Result<BTreeMap<OrganizationId, OrganizationState>, StoreError> {
    let mut states = BTreeMap::new();
    for row in rows {
        let id = organization_id(&row, "id")?;
        let known = match version(&row)? {
            Some(version) => {
                let content = Organization {
                    id: id.clone(),
                    name: row.try_get("name")?,
                    created_at_ms: row.try_get("created_at_ms")?,
                };
                Some(Observed { content, version })
            }
            None => None,
        };
        states.insert(id, OrganizationState { known, deleted_at_ms: row.try_get("deleted_at_ms")? });
    }
    Ok(states)
}

static SAVE_ORGANIZATIONS: Statement<7> = Statement::new(
    "INSERT INTO organizations (id, updated_at_ms, observed_at_ms, content_digest, name,
        created_at_ms, deleted_at_ms)
    VALUES {rows}
    ON CONFLICT (id) DO UPDATE SET updated_at_ms = excluded.updated_at_ms,
        observed_at_ms = excluded.observed_at_ms, content_digest = excluded.content_digest,
        name = excluded.name, created_at_ms = excluded.created_at_ms,
        deleted_at_ms = excluded.deleted_at_ms",
);

pub(super) fn save_organizations<'a>(
    script: &mut Script<'a>,
    states: impl Iterator<Item = (&'a OrganizationId, &'a OrganizationState)>,
) {
    let row = |(id, state): (&'a OrganizationId, &'a OrganizationState)| {
        let [updated, observed, digest] = version_cells(state.known.as_ref().map(|known| known.version));
        let organization = state.known.as_ref().map(|known| &known.content);
        [
            cell(id),
            updated,
            observed,
            digest,
            cell(organization.and_then(|organization| organization.name.as_deref())),
            cell(organization.map_or(0, |organization| organization.created_at_ms)),
            cell(state.deleted_at_ms),
        ]
    };
    script.add(&SAVE_ORGANIZATIONS, states.map(row));
}

static LOAD_MEMBERSHIPS: Statement<1> =
    Statement::new("SELECT m.* FROM (VALUES {rows}) AS r CROSS JOIN memberships m WHERE m.id = r.column1");

pub(super) fn load_memberships<'a>(
    script: &mut Script<'a>,
    memberships: &'a BTreeSet<MembershipId>,
) -> Asked {
    script.add(&LOAD_MEMBERSHIPS, ids(memberships))
}

pub(super) fn memberships(rows: Vec<Row>) -> Result<BTreeMap<MembershipId, MembershipState>, StoreError> {
    let mut states = BTreeMap::new();
    for row in rows {
        let id = MembershipId::parse(row.try_get::<&str, _>("id")?).map_err(invalid("membership id"))?;
        let organization_id = organization_id(&row, "organization_id")?;
        let user_id = user_id(&row, "user_id")?;
        let created_at_ms = row.try_get("created_at_ms")?;
        let known = match version(&row)? {
            Some(version) => {
                let content = Membership {
                    id: id.clone(),
                    organization_id: organization_id.clone(),
                    user_id: user_id.clone(),
                    role: Role::new(row.try_get("role")?),
                    public_metadata: metadata(&row)?,
                    created_at_ms,
                };
                Some(Observed { content, version })
            }
            None => None,
        };
        let deleted_at_ms = row.try_get("deleted_at_ms")?;
        let state = MembershipState { organization_id, user_id, created_at_ms, known, deleted_at_ms };
        states.insert(id, state);
    }
    Ok(states)
}

static SAVE_MEMBERSHIPS: Statement<12> = Statement::new(
    "INSERT INTO memberships (id, organization_id, user_id, created_at_ms, updated_at_ms,
        observed_at_ms, content_digest, role, public_metadata, deleted_at_ms, fallen, unlistable)
    VALUES {rows}
    ON CONFLICT (id) DO UPDATE SET organization_id = excluded.organization_id, user_id = excluded.user_id,
        created_at_ms = excluded.created_at_ms, updated_at_ms = excluded.updated_at_ms,
        observed_at_ms = excluded.observed_at_ms, content_digest = excluded.content_digest,
        role = excluded.role, public_metadata = excluded.public_metadata,
        deleted_at_ms = excluded.deleted_at_ms, fallen = excluded.fallen, unlistable = excluded.unlistable",
);

/// Saves memberships; `fallen` says of which one the user or the organization is deleted, and `has_user` of which one the
/// user is known. Of a fallen one only ids and times remain: even the digest of a role could confirm a guess.
pub(super) fn save_memberships<'a>(
    script: &mut Script<'a>,
    states: impl Iterator<Item = (&'a MembershipId, &'a MembershipState)>,
    fallen: impl Fn(&MembershipState) -> bool,
    has_user: impl Fn(&MembershipState) -> bool,
) {
    let row = |(id, state): (&'a MembershipId, &'a MembershipState)| {
        let fallen = fallen(state);
        let version = state.known.as_ref().map(|known| known.version);
        let version = if fallen { version.map(Version::of_fallen_membership) } else { version };
        let [updated, observed, digest] = version_cells(version);
        let shown = state.known.as_ref().map(|known| &known.content).filter(|_| !fallen);
        [
            cell(id),
            cell(&state.organization_id),
            cell(&state.user_id),
            cell(state.created_at_ms),
            updated,
            observed,
            digest,
            cell(shown.map_or("", |membership| membership.role.as_str())),
            cell(shown.map_or("{}", |membership| membership.public_metadata.as_str())),
            cell(state.deleted_at_ms),
            cell(fallen),
            cell(fallen || state.deleted_at_ms.is_some() || !has_user(state)),
        ]
    };
    script.add(&SAVE_MEMBERSHIPS, states.map(row));
}

static LOAD_INVITATIONS: Statement<1> =
    Statement::new("SELECT i.* FROM (VALUES {rows}) AS r CROSS JOIN invitations i WHERE i.id = r.column1");

pub(super) fn load_invitations<'a>(
    script: &mut Script<'a>,
    invitations: &'a BTreeSet<InvitationId>,
) -> Asked {
    script.add(&LOAD_INVITATIONS, ids(invitations))
}

pub(super) fn invitations(rows: Vec<Row>) -> Result<BTreeMap<InvitationId, InvitationState>, StoreError> {
    let mut states = BTreeMap::new();
    for row in rows {
        let id = InvitationId::parse(row.try_get::<&str, _>("id")?).map_err(invalid("invitation id"))?;
        let organization_id = (row.try_get::<Option<&str>, _>("organization_id")?)
            .map(OrganizationId::parse)
            .transpose()
            .map_err(invalid("organization id"))?;
        let user_id = (row.try_get::<Option<&str>, _>("user_id")?)
            .map(UserId::parse)
            .transpose()
            .map_err(invalid("user id"))?;
        let known = match version(&row)? {
            Some(version) => {
                let content = Invitation {
                    id: id.clone(),
                    organization_id: organization_id.clone(),
                    user_id: user_id.clone(),
                    email: row.try_get("email")?,
                    role: row.try_get::<Option<&str>, _>("role")?.map(Role::new),
                    status: InvitationStatus::parse(row.try_get("status")?)
                        .ok_or(StoreError::InvalidData("invitation status"))?,
                    public_metadata: metadata(&row)?,
                    created_at_ms: row.try_get("created_at_ms")?,
                    expires_at_ms: row.try_get("expires_at_ms")?,
                };
                Some(Observed { content, version })
            }
            None => None,
        };
        let deleted_at_ms = row.try_get("deleted_at_ms")?;
        states.insert(id, InvitationState { organization_id, user_id, known, deleted_at_ms });
    }
    Ok(states)
}

static SAVE_INVITATIONS: Statement<14> = Statement::new(
    "INSERT INTO invitations (id, organization_id, user_id, updated_at_ms, observed_at_ms,
        content_digest, email, role, status, public_metadata, created_at_ms, expires_at_ms, deleted_at_ms,
        fallen)
    VALUES {rows}
    ON CONFLICT (id) DO UPDATE SET organization_id = excluded.organization_id, user_id = excluded.user_id,
        updated_at_ms = excluded.updated_at_ms, observed_at_ms = excluded.observed_at_ms,
        content_digest = excluded.content_digest, email = excluded.email, role = excluded.role,
        status = excluded.status, public_metadata = excluded.public_metadata,
        created_at_ms = excluded.created_at_ms, expires_at_ms = excluded.expires_at_ms,
        deleted_at_ms = excluded.deleted_at_ms, fallen = excluded.fallen",
);

/// Saves invitations; `fallen` says of which one the user or the organization is deleted. Of such a one only
/// ids remain: even the digest of an address could confirm a guess.
pub(super) fn save_invitations<'a>(
    script: &mut Script<'a>,
    states: impl Iterator<Item = (&'a InvitationId, &'a InvitationState)>,
    fallen: impl Fn(&InvitationState) -> bool,
) {
    let row = |(id, state): (&'a InvitationId, &'a InvitationState)| {
        let fallen = fallen(state);
        let known = state.known.as_ref().filter(|_| !fallen);
        let [updated, observed, digest] = version_cells(known.map(|known| known.version));
        let known = known.map(|known| &known.content);
        [
            cell(id),
            cell(state.organization_id.as_ref()),
            cell(state.user_id.as_ref()),
            updated,
            observed,
            digest,
            cell(known.and_then(|invitation| invitation.email.as_deref())),
            cell(known.and_then(|invitation| invitation.role.as_ref()).map(Role::as_str)),
            cell(known.map_or(InvitationStatus::Pending, |invitation| invitation.status).as_str()),
            cell(known.map_or("{}", |invitation| invitation.public_metadata.as_str())),
            cell(known.map_or(0, |invitation| invitation.created_at_ms)),
            cell(known.and_then(|invitation| invitation.expires_at_ms)),
            cell(state.deleted_at_ms),
            cell(fallen),
        ]
    };
    script.add(&SAVE_INVITATIONS, states.map(row));
}
