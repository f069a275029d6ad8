//! Lists members and invitations of one organization together, by e-mail address.
//!
//! Members come by keyset from their index. Invitations have no index by address: an organization has few that
//! are open, and who asks for them is an admin, so those of the organization are read and sorted here. One
//! transaction makes all of it one moment.

use std::collections::HashMap;

use super::connection::{Connection, Pool, Row};
use super::error::StoreError;
use super::members;
use super::rows::{Statement, cell};
use crate::domain::model::Metadata;
use crate::domain::{
    Activity, Cursor, Entry, EntryPage, Invitation, InvitationId, InvitationStatus, MemberQuery,
    OrganizationId, Role, Shown, UserId,
};

/// Every invitation of an organization that nobody has accepted.
const NOT_ACCEPTED: &str = "SELECT i.* FROM invitations i
    WHERE i.organization_id = $1 AND i.status <> 'accepted' AND i.updated_at_ms IS NOT NULL
        AND i.deleted_at_ms IS NULL AND i.fallen = 0";

/// What these users have accepted in an organization, the newest last of each.
static ACCEPTED: Statement<2> = Statement::new(
    "SELECT i.* FROM (VALUES {rows}) AS r CROSS JOIN invitations i
    WHERE i.user_id = r.column2 AND i.organization_id = r.column1 AND i.status = 'accepted'
        AND i.updated_at_ms IS NOT NULL AND i.deleted_at_ms IS NULL AND i.fallen = 0
    ORDER BY i.created_at_ms, i.id",
);

/// Answers one question, asked in the order of addresses; with nothing `shown`, members alone. Invitations belong to nobody yet, so that none is left
/// when certain users are asked for.
pub(super) async fn list(
    readers: &Pool,
    query: &MemberQuery,
    shown: Option<Shown>,
    now_ms: i64,
) -> Result<EntryPage, StoreError> {
    let listed = shown.unwrap_or(Shown::Only(Activity::Active));
    let mut moment = readers.acquire().await?;
    moment.begin_reading().await?;
    let mut entries = Vec::new();
    let mut more = false;
    if listed.shows(Activity::Active) {
        let push = |member| entries.push(Entry::Member(Box::new(member), None));
        more = members::walk(&mut moment, query, push).await?.is_some();
    }
    if listed != Shown::Only(Activity::Active) && query.ids.is_none() {
        entries.extend(not_accepted(&mut moment, query, listed, now_ms).await?);
        entries.sort_by_cached_key(|entry| place(&entry.cursor()));
    }
    if let Some(limit) = query.limit {
        more |= entries.len() > usize::from(limit);
        entries.truncate(limit.into());
    }
    if shown.is_some() {
        accepted(&mut moment, &query.organization_id, &mut entries).await?;
    }
    moment.commit().await?;
    let next = entries.last().filter(|_| more).map(Entry::cursor);
    Ok(EntryPage { entries, next })
}

/// A place in the order of addresses.
fn place(cursor: &Cursor) -> (String, String) {
    match cursor {
        Cursor::Email { key, user_id } => (key.clone(), user_id.clone()),
        // The other order has no invitations.
        Cursor::Account { .. } => (String::new(), String::new()),
    }
}

async fn not_accepted(
    db: &mut Connection,
    query: &MemberQuery,
    shown: Shown,
    now_ms: i64,
) -> Result<Vec<Entry>, StoreError> {
    let after = query.after.as_ref().map(place);
    let mut entries = Vec::new();
    for row in db.fetch(NOT_ACCEPTED, &[cell(query.organization_id.as_str())]).await? {
        let mut invitation = invitation(&row, &query.organization_id)?;
        invitation.status = invitation.status_at(now_ms);
        if !query.filter.matches_invitation(&invitation) {
            continue;
        }
        let entry = Entry::Invitation(Box::new(invitation));
        if shown.shows(entry.activity()) && after.as_ref().is_none_or(|after| place(&entry.cursor()) > *after)
        {
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// Puts to each member the newest invitation that it has accepted.
async fn accepted(
    db: &mut Connection,
    organization: &OrganizationId,
    entries: &mut [Entry],
) -> Result<(), StoreError> {
    let users = entries.iter().filter_map(Entry::user_id);
    let rows: Vec<_> = users.map(|user| [cell(organization.as_str()), cell(user.as_str())]).collect();
    let mut newest = HashMap::new();
    for row in ACCEPTED.fetch(db, &rows).await? {
        let invitation = invitation(&row, organization)?;
        if let Some(user_id) = invitation.user_id.clone() {
            newest.insert(user_id, Box::new(invitation));
        }
    }
    for entry in entries {
        if let Entry::Member(member, accepted) = entry {
            *accepted = newest.remove(&member.user.id);
        }
    }
    Ok(())
}

fn invitation(row: &Row, organization: &OrganizationId) -> Result<Invitation, StoreError> {
    let user_id = row.try_get::<Option<&str>, _>("user_id")?.map(UserId::parse).transpose();
    Ok(Invitation {
        id: InvitationId::parse(row.try_get::<&str, _>("id")?)
            .map_err(|_| StoreError::InvalidData("invitation id"))?,
        organization_id: Some(organization.clone()),
        user_id: user_id.map_err(|_| StoreError::InvalidData("user id"))?,
        email: row.try_get("email")?,
        role: Some(Role::new(row.try_get::<Option<&str>, _>("role")?.unwrap_or(Role::UNNAMED))),
        status: InvitationStatus::parse(row.try_get("status")?)
            .ok_or(StoreError::InvalidData("invitation status"))?,
        public_metadata: Metadata::from_stored(row.try_get("public_metadata")?),
        created_at_ms: row.try_get("created_at_ms")?,
        expires_at_ms: row.try_get("expires_at_ms")?,
    })
}
