//! Loads and saves the states that `domain::merge` works on: one statement for each entity and batch.
//!
//! Rows travel as one JSON text, because on SQLite every statement crosses to a thread and back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::error::StoreError;
use crate::domain::id::InvalidId;
use crate::domain::merge::{InvitationState, MembershipState, OrganizationState, UserState};
use crate::domain::model::Metadata;
use crate::domain::{
    Invitation, InvitationId, InvitationStatus, Membership, MembershipId, Observed, Organization,
    OrganizationId, Role, User, UserId, Version,
};

/// A JSON array of `{"id": …}`, as the statements take it.
pub(super) fn id_rows<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    ids.into_iter().map(|id| json!({ "id": id })).collect::<Value>().to_string()
}

fn foreign(column: &'static str) -> impl FnOnce(InvalidId) -> StoreError {
    move |_| StoreError::Foreign(column)
}

fn version(row: &SqliteRow) -> Result<Option<Version>, StoreError> {
    let updated_at_ms: Option<i64> = row.try_get("updated_at_ms")?;
    let Some(updated_at_ms) = updated_at_ms else { return Ok(None) };
    Ok(Some(Version {
        updated_at_ms,
        observed_at_ms: row.try_get("observed_at_ms")?,
        content_digest: row.try_get("content_digest")?,
    }))
}

/// Flags are stored as 0 and 1, which not every database reads as a boolean.
fn flag(row: &SqliteRow, column: &str) -> Result<bool, StoreError> {
    Ok(row.try_get::<i64, _>(column)? != 0)
}

fn metadata(row: &SqliteRow) -> Result<Metadata, StoreError> {
    Ok(Metadata::from_stored(row.try_get("public_metadata")?))
}

/// A user as it stands in a row of `users`.
pub(super) fn user(row: &SqliteRow, id: UserId) -> Result<User, StoreError> {
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

/// A known state, and the version columns of an unknown one.
fn version_columns<T>(known: Option<&Observed<T>>) -> [Option<i64>; 3] {
    let version = known.map(|known| known.version);
    [
        version.map(|version| version.updated_at_ms),
        version.map(|version| version.observed_at_ms),
        version.map(|version| version.content_digest),
    ]
}

const LOAD_USERS: &str = "SELECT u.* FROM json_each($1) AS r CROSS JOIN users u WHERE u.id = r.value->>'id'";

pub(super) async fn load_users(
    db: &mut SqliteConnection,
    ids: &BTreeSet<UserId>,
) -> Result<BTreeMap<UserId, UserState>, StoreError> {
    let mut states: BTreeMap<_, _> = ids.iter().map(|id| (id.clone(), UserState::default())).collect();
    if states.is_empty() {
        return Ok(states);
    }
    let rows = id_rows(ids.iter().map(UserId::as_str));
    for row in sqlx::query(LOAD_USERS).bind(rows).fetch_all(db).await? {
        let id = UserId::parse(row.try_get::<String, _>("id")?).map_err(foreign("user id"))?;
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

const SAVE_USERS: &str = "INSERT INTO users (id, updated_at_ms, observed_at_ms, content_digest, first_name,
        last_name, username, email, image_url, has_image, banned, public_metadata, created_at_ms,
        last_sign_in_at_ms, deleted_at_ms)
    SELECT r.value->>'id', CAST(r.value->>'updated' AS BIGINT), CAST(r.value->>'observed' AS BIGINT),
        CAST(r.value->>'digest' AS BIGINT), r.value->>'first_name', r.value->>'last_name',
        r.value->>'username', r.value->>'email', r.value->>'image_url',
        CAST(r.value->>'has_image' AS BIGINT), CAST(r.value->>'banned' AS BIGINT),
        r.value->>'public_metadata', CAST(r.value->>'created' AS BIGINT),
        CAST(r.value->>'last_sign_in' AS BIGINT), CAST(r.value->>'deleted' AS BIGINT)
    FROM json_each($1) AS r WHERE true
    ON CONFLICT (id) DO UPDATE SET updated_at_ms = excluded.updated_at_ms,
        observed_at_ms = excluded.observed_at_ms, content_digest = excluded.content_digest,
        first_name = excluded.first_name, last_name = excluded.last_name, username = excluded.username,
        email = excluded.email, image_url = excluded.image_url, has_image = excluded.has_image,
        banned = excluded.banned, public_metadata = excluded.public_metadata,
        created_at_ms = excluded.created_at_ms, last_sign_in_at_ms = excluded.last_sign_in_at_ms,
        deleted_at_ms = excluded.deleted_at_ms";

pub(super) async fn save_users(
    db: &mut SqliteConnection,
    states: impl Iterator<Item = (&UserId, &UserState)>,
) -> Result<(), StoreError> {
    let rows = states.map(|(id, state)| {
        let [updated, observed, digest] = version_columns(state.known.as_ref());
        let user = state.known.as_ref().map(|known| &known.content);
        json!({
            "id": id, "updated": updated, "observed": observed, "digest": digest,
            "first_name": user.and_then(|user| user.first_name.as_ref()),
            "last_name": user.and_then(|user| user.last_name.as_ref()),
            "username": user.and_then(|user| user.username.as_ref()),
            "email": user.and_then(|user| user.email.as_ref()),
            "image_url": user.and_then(|user| user.image_url.as_ref()),
            "has_image": i64::from(user.is_some_and(|user| user.has_image)),
            "banned": i64::from(user.is_some_and(|user| user.banned)),
            "public_metadata": user.map_or("{}", |user| user.public_metadata.as_str()),
            "created": user.map_or(0, |user| user.created_at_ms),
            "last_sign_in": state.last_sign_in_at_ms,
            "deleted": state.deleted_at_ms,
        })
    });
    save(db, SAVE_USERS, rows).await
}

/// Runs one of the `SAVE_` statements over rows as JSON; nothing when there are none.
async fn save(
    db: &mut SqliteConnection,
    statement: &'static str,
    rows: impl Iterator<Item = Value>,
) -> Result<(), StoreError> {
    let rows: Vec<Value> = rows.collect();
    if !rows.is_empty() {
        sqlx::query(statement).bind(Value::Array(rows).to_string()).execute(db).await?;
    }
    Ok(())
}

const LOAD_ORGANIZATIONS: &str =
    "SELECT o.* FROM json_each($1) AS r CROSS JOIN organizations o WHERE o.id = r.value->>'id'";

pub(super) async fn load_organizations(
    db: &mut SqliteConnection,
    ids: &BTreeSet<OrganizationId>,
) -> Result<BTreeMap<OrganizationId, OrganizationState>, StoreError> {
    let mut states: BTreeMap<_, _> =
        ids.iter().map(|id| (id.clone(), OrganizationState::default())).collect();
    if states.is_empty() {
        return Ok(states);
    }
    let rows = id_rows(ids.iter().map(OrganizationId::as_str));
    for row in sqlx::query(LOAD_ORGANIZATIONS).bind(rows).fetch_all(db).await? {
        let id =
            OrganizationId::parse(row.try_get::<String, _>("id")?).map_err(foreign("organization id"))?;
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

const SAVE_ORGANIZATIONS: &str = "INSERT INTO organizations (id, updated_at_ms, observed_at_ms,
        content_digest, name, created_at_ms, deleted_at_ms)
    SELECT r.value->>'id', CAST(r.value->>'updated' AS BIGINT), CAST(r.value->>'observed' AS BIGINT),
        CAST(r.value->>'digest' AS BIGINT), r.value->>'name', CAST(r.value->>'created' AS BIGINT),
        CAST(r.value->>'deleted' AS BIGINT)
    FROM json_each($1) AS r WHERE true
    ON CONFLICT (id) DO UPDATE SET updated_at_ms = excluded.updated_at_ms,
        observed_at_ms = excluded.observed_at_ms, content_digest = excluded.content_digest,
        name = excluded.name, created_at_ms = excluded.created_at_ms,
        deleted_at_ms = excluded.deleted_at_ms";

pub(super) async fn save_organizations(
    db: &mut SqliteConnection,
    states: impl Iterator<Item = (&OrganizationId, &OrganizationState)>,
) -> Result<(), StoreError> {
    let rows = states.map(|(id, state)| {
        let [updated, observed, digest] = version_columns(state.known.as_ref());
        let organization = state.known.as_ref().map(|known| &known.content);
        json!({
            "id": id, "updated": updated, "observed": observed, "digest": digest,
            "name": organization.and_then(|organization| organization.name.as_ref()),
            "created": organization.map_or(0, |organization| organization.created_at_ms),
            "deleted": state.deleted_at_ms,
        })
    });
    save(db, SAVE_ORGANIZATIONS, rows).await
}

const LOAD_MEMBERSHIPS: &str =
    "SELECT m.* FROM json_each($1) AS r CROSS JOIN memberships m WHERE m.id = r.value->>'id'";

/// Loads those memberships of which a row is there.
pub(super) async fn load_memberships(
    db: &mut SqliteConnection,
    ids: &BTreeSet<MembershipId>,
) -> Result<BTreeMap<MembershipId, MembershipState>, StoreError> {
    let mut states = BTreeMap::new();
    if ids.is_empty() {
        return Ok(states);
    }
    let rows = id_rows(ids.iter().map(MembershipId::as_str));
    for row in sqlx::query(LOAD_MEMBERSHIPS).bind(rows).fetch_all(db).await? {
        let id = MembershipId::parse(row.try_get::<String, _>("id")?).map_err(foreign("membership id"))?;
        let organization_id = OrganizationId::parse(row.try_get::<String, _>("organization_id")?)
            .map_err(foreign("organization id"))?;
        let user_id = UserId::parse(row.try_get::<String, _>("user_id")?).map_err(foreign("user id"))?;
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

const SAVE_MEMBERSHIPS: &str = "INSERT INTO memberships (id, organization_id, user_id, created_at_ms,
        updated_at_ms, observed_at_ms, content_digest, role, public_metadata, deleted_at_ms, fallen)
    SELECT r.value->>'id', r.value->>'organization', r.value->>'user', CAST(r.value->>'created' AS BIGINT),
        CAST(r.value->>'updated' AS BIGINT), CAST(r.value->>'observed' AS BIGINT),
        CAST(r.value->>'digest' AS BIGINT), r.value->>'role', r.value->>'public_metadata',
        CAST(r.value->>'deleted' AS BIGINT), CAST(r.value->>'fallen' AS BIGINT)
    FROM json_each($1) AS r WHERE true
    ON CONFLICT (id) DO UPDATE SET organization_id = excluded.organization_id, user_id = excluded.user_id,
        created_at_ms = excluded.created_at_ms, updated_at_ms = excluded.updated_at_ms,
        observed_at_ms = excluded.observed_at_ms, content_digest = excluded.content_digest,
        role = excluded.role, public_metadata = excluded.public_metadata,
        deleted_at_ms = excluded.deleted_at_ms, fallen = excluded.fallen";

/// Saves memberships; `fallen` says of which one the user or the organization is deleted.
pub(super) async fn save_memberships(
    db: &mut SqliteConnection,
    states: impl Iterator<Item = (&MembershipId, &MembershipState)>,
    fallen: impl Fn(&MembershipState) -> bool,
) -> Result<(), StoreError> {
    let rows = states.map(|(id, state)| {
        let [updated, observed, digest] = version_columns(state.known.as_ref());
        let fallen = fallen(state);
        let shown = state.known.as_ref().map(|known| &known.content).filter(|_| !fallen);
        json!({
            "id": id, "organization": state.organization_id, "user": state.user_id,
            "created": state.created_at_ms, "updated": updated, "observed": observed, "digest": digest,
            "role": shown.map_or("", |membership| membership.role.as_str()),
            "public_metadata": shown.map_or("{}", |membership| membership.public_metadata.as_str()),
            "deleted": state.deleted_at_ms, "fallen": i64::from(fallen),
        })
    });
    save(db, SAVE_MEMBERSHIPS, rows).await
}

const LOAD_INVITATIONS: &str =
    "SELECT i.* FROM json_each($1) AS r CROSS JOIN invitations i WHERE i.id = r.value->>'id'";

pub(super) async fn load_invitations(
    db: &mut SqliteConnection,
    ids: &BTreeSet<InvitationId>,
) -> Result<BTreeMap<InvitationId, InvitationState>, StoreError> {
    let mut states: BTreeMap<_, _> = ids.iter().map(|id| (id.clone(), InvitationState::default())).collect();
    if states.is_empty() {
        return Ok(states);
    }
    let rows = id_rows(ids.iter().map(InvitationId::as_str));
    for row in sqlx::query(LOAD_INVITATIONS).bind(rows).fetch_all(db).await? {
        let id = InvitationId::parse(row.try_get::<String, _>("id")?).map_err(foreign("invitation id"))?;
        let organization_id = (row.try_get::<Option<String>, _>("organization_id")?)
            .map(OrganizationId::parse)
            .transpose()
            .map_err(foreign("organization id"))?;
        let user_id = (row.try_get::<Option<String>, _>("user_id")?)
            .map(UserId::parse)
            .transpose()
            .map_err(foreign("user id"))?;
        let known = match version(&row)? {
            Some(version) => {
                let content = Invitation {
                    id: id.clone(),
                    organization_id: organization_id.clone(),
                    user_id: user_id.clone(),
                    email: row.try_get("email")?,
                    role: row.try_get::<Option<&str>, _>("role")?.map(Role::new),
                    status: InvitationStatus::parse(row.try_get("status")?)
                        .ok_or(StoreError::Foreign("invitation status"))?,
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

const SAVE_INVITATIONS: &str = "INSERT INTO invitations (id, organization_id, user_id, updated_at_ms,
        observed_at_ms, content_digest, email, role, status, public_metadata, created_at_ms, expires_at_ms,
        deleted_at_ms, fallen)
    SELECT r.value->>'id', r.value->>'organization', r.value->>'user',
        CAST(r.value->>'updated' AS BIGINT), CAST(r.value->>'observed' AS BIGINT),
        CAST(r.value->>'digest' AS BIGINT), r.value->>'email', r.value->>'role', r.value->>'status',
        r.value->>'public_metadata', CAST(r.value->>'created' AS BIGINT),
        CAST(r.value->>'expires' AS BIGINT), CAST(r.value->>'deleted' AS BIGINT),
        CAST(r.value->>'fallen' AS BIGINT)
    FROM json_each($1) AS r WHERE true
    ON CONFLICT (id) DO UPDATE SET organization_id = excluded.organization_id, user_id = excluded.user_id,
        updated_at_ms = excluded.updated_at_ms, observed_at_ms = excluded.observed_at_ms,
        content_digest = excluded.content_digest, email = excluded.email, role = excluded.role,
        status = excluded.status, public_metadata = excluded.public_metadata,
        created_at_ms = excluded.created_at_ms, expires_at_ms = excluded.expires_at_ms,
        deleted_at_ms = excluded.deleted_at_ms, fallen = excluded.fallen";

/// Saves invitations; `fallen` says of which one the user or the organization is deleted. Of such a one only
/// ids remain: even the digest of an address could confirm a guess.
pub(super) async fn save_invitations(
    db: &mut SqliteConnection,
    states: impl Iterator<Item = (&InvitationId, &InvitationState)>,
    fallen: impl Fn(&InvitationState) -> bool,
) -> Result<(), StoreError> {
    let rows = states.map(|(id, state)| {
        let fallen = fallen(state);
        let known = state.known.as_ref().filter(|_| !fallen);
        let [updated, observed, digest] = version_columns(known);
        let known = known.map(|known| &known.content);
        json!({
            "id": id, "organization": state.organization_id, "user": state.user_id,
            "updated": updated, "observed": observed, "digest": digest,
            "email": known.and_then(|invitation| invitation.email.as_ref()),
            "role": known.and_then(|invitation| invitation.role.as_ref()),
            "status": known.map_or(InvitationStatus::Pending, |invitation| invitation.status),
            "public_metadata": known.map_or("{}", |invitation| invitation.public_metadata.as_str()),
            "created": known.map_or(0, |invitation| invitation.created_at_ms),
            "expires": known.and_then(|invitation| invitation.expires_at_ms),
            "deleted": state.deleted_at_ms, "fallen": i64::from(fallen),
        })
    });
    save(db, SAVE_INVITATIONS, rows).await
}
